import { join } from 'node:path';
import type { ModelConfig, PreTrainedModel } from '../../models/index.ts';
import type { TrainingTask } from '../task.ts';
import { evaluator } from '../trainer/evaluate.ts';
import { trainerSettings } from '../trainer/flags.ts';
import { resumeCommand } from '../trainer/resume.ts';
import { train } from '../trainer/trainer.ts';
import type { PretrainingCorpus } from './corpus.ts';
import { describePretraining, reportLosses } from './report.ts';

type Values = Parameters<typeof trainerSettings>[0] & {
  readonly batchSize: number;
  readonly context: number;
  readonly evaluationBatches: number;
  readonly output: string;
  readonly resume: boolean;
};

export interface Pretraining {
  readonly model: PreTrainedModel<ModelConfig>;
  readonly corpus: PretrainingCorpus;
  readonly task: TrainingTask;
  /** The same on texts that are not trained on. */
  readonly heldOut: TrainingTask | undefined;
  /** The model in a few words. */
  readonly shape: string;
  /** What the run depends on besides the Trainer's options, model, data, batch size and context. */
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
  const { batchSize, context, evaluationBatches, output, resume } = values;
  console.log(describePretraining(corpus, model, task, `${shape}, rows of ${context} tokens`));
  const batches = Math.min(evaluationBatches || Infinity, heldOut?.batchesPerEpoch ?? 0);
  const { evaluations } = await train({
    model,
    tokenizer: corpus.tokenizer,
    task,
    options: trainerSettings(values),
    ...(heldOut ? { evaluate: evaluator(model, heldOut, batches) } : {}),
    identity: { data: corpus.train.hash, batchSize, context, ...identity },
    output,
    resume,
    resumeCommand: resumeCommand(usage),
  });
  const last = evaluations.at(-1);
  if (heldOut && last)
    console.log(`\n${await reportLosses(last.evaluation, task, heldOut, corpus.tokenizer.vocabSize)}`);
  console.log(`saved  ${output} (loads in Transformers too), report in ${join(output, 'report.html')}`);
  corpus.close();
}
