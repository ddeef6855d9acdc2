import { join } from 'node:path';
import { alignTable } from '../../common/text-table.ts';
import type { ModelConfig, PreTrainedModel } from '../../models/index.ts';
import type { TokenCorpus } from '../data/token-corpus.ts';
import { unigramLosses } from '../objectives/index.ts';
import type { TrainingTask } from '../objectives/task.ts';
import { evaluator } from '../trainer/evaluate.ts';
import type { Evaluation } from '../trainer/evaluate.ts';
import { resumeCommand, resumeOf } from '../trainer/run-state.ts';
import { trainerSettings } from '../trainer/settings.ts';
import { train } from '../trainer/trainer.ts';
import type { PretrainingCorpus } from './corpus.ts';

const millions = (count: number): string => `${(count / 1e6).toFixed(count < 1e6 ? 2 : 1)} M`;

/** Says, before a run, which model is about to be trained on which data. */
export function describePretraining(
  corpus: PretrainingCorpus,
  model: PreTrainedModel<ModelConfig>,
  task: TrainingTask,
  shape: string,
): string {
  const part = (name: string, { tokens, offsets }: TokenCorpus): string =>
    `${millions(tokens)} tokens in ${offsets.length - 1} ${offsets.length === 2 ? 'text' : 'texts'} to ${name}`;
  const parts = [part('train', corpus.train), ...(corpus.validation ? [part('validate', corpus.validation)] : [])];
  return [
    `data   ${parts.join(', ')}; vocabulary of ${corpus.tokenizer.vocabSize}`,
    `model  ${model.constructor.name}, ${shape}, ${millions(model.numParameters())} parameters`,
    `task   ${task.name}`,
  ].join('\n');
}

/** Held-out losses beside those of guessing by frequency alone. */
async function reportLosses(
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

type Values = Parameters<typeof trainerSettings>[0] & {
  readonly batchSize: number;
  readonly context: number;
  readonly evaluationBatches: number;
  readonly output: string;
  readonly resume: boolean;
  readonly resumeAnyway: boolean;
};

export interface Pretraining {
  readonly model: PreTrainedModel<ModelConfig>;
  readonly corpus: PretrainingCorpus;
  readonly task: TrainingTask;
  /** The same on texts that are not trained on. */
  readonly heldOut: TrainingTask | undefined;
  /** The model in a few words. */
  readonly shape: string;
  /** Further facts that the run depends on, besides settings, model, data, batch size and context. */
  readonly identity: Readonly<Record<string, unknown>>;
  /** How the script is started. */
  readonly usage: string;
}

/**
 * The part that pretraining scripts share: says what is trained on what, trains, and sets held-out losses
 * beside those of guessing by frequency.
 */
export async function pretrain(values: Values, run: Pretraining): Promise<void> {
  const { model, corpus, task, heldOut, shape, identity, usage } = run;
  const { batchSize, context, evaluationBatches, output } = values;
  console.log(describePretraining(corpus, model, task, `${shape}, rows of ${context} tokens`));
  const batches = Math.min(evaluationBatches || Infinity, heldOut?.batchesPerEpoch ?? 0);
  const { evaluations } = await train({
    model,
    tokenizer: corpus.tokenizer,
    task,
    options: trainerSettings(values),
    ...(heldOut ? { evaluate: evaluator(model, heldOut, batches) } : {}),
    identity: { data: corpus.train.hash, validation: corpus.validation?.hash, batchSize, context, ...identity },
    output,
    resume: resumeOf(values),
    resumeCommand: resumeCommand(usage),
  });
  const last = evaluations.at(-1);
  if (heldOut && last)
    console.log(`\n${await reportLosses(last.evaluation, task, heldOut, corpus.tokenizer.vocabSize)}`);
  console.log(`saved  ${output} (loads in Transformers too), report in ${join(output, 'report.html')}`);
  corpus.close();
}
