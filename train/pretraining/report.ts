import { alignTable } from '../../common/text-table.ts';
import type { ModelConfig, PreTrainedModel } from '../../models/index.ts';
import type { TokenCorpus } from '../data/token-corpus.ts';
import { unigramLosses } from '../objectives/index.ts';
import type { TrainingTask } from '../task.ts';
import type { Evaluation } from '../trainer/evaluate.ts';
import type { PretrainingCorpus } from './corpus.ts';

const millions = (count: number): string => `${(count / 1e6).toFixed(count < 1e6 ? 2 : 1)} M`;

/** What is about to be trained on what. */
export function describePretraining(
  corpus: PretrainingCorpus,
  model: PreTrainedModel<ModelConfig>,
  task: TrainingTask,
  shape: string,
): string {
  const part = (name: string, { tokens, offsets }: TokenCorpus): string =>
    `${millions(tokens)} tokens in ${offsets.length - 1} ${offsets.length === 2 ? 'text' : 'texts'} to ${name}`;
  return [
    `data   ${[part('train', corpus.train), ...(corpus.validation ? [part('validate', corpus.validation)] : [])].join(', ')}; vocabulary of ${corpus.tokenizer.vocabSize}`,
    `model  ${model.constructor.name}, ${shape}, ${millions(model.numParameters())} parameters`,
    `task   ${task.name}`,
  ].join('\n');
}

/** Held-out losses beside those of guessing by frequency alone. */
export async function reportLosses(
  evaluation: Evaluation,
  train: TrainingTask,
  heldOut: TrainingTask,
  vocabSize: number,
): Promise<string> {
  const baselines = await unigramLosses(train, heldOut, { vocabSize });
  const names = Object.keys(baselines);
  const rows = names.map((name) => {
    const loss = evaluation[name] ?? evaluation['loss']!;
    return [name, loss.toFixed(4), Math.exp(loss).toFixed(2), baselines[name]!.toFixed(4)];
  });
  return alignTable(['held out', 'loss', 'perplexity', 'by frequency alone'], rows, new Set([1, 2, 3]));
}
