import { manualSeed } from '../../autograd/index.ts';
import type { Module } from '../../models/index.ts';
import { unigramLosses } from '../objectives/index.ts';
import { schedule } from '../optim/schedules.ts';
import type { TrainingTask } from '../objectives/task.ts';
import { evaluator } from '../trainer/evaluate.ts';
import { trainerOptions } from '../trainer/settings.ts';
import type { TrainerSettings } from '../trainer/settings.ts';
import { TrainingStep } from '../trainer/step.ts';
import type { Contender } from './contenders.ts';

export interface Outcome {
  /** Held-out loss of each part. */
  readonly losses: Readonly<Record<string, number>>;
  /** The same losses of guessing by frequency alone. */
  readonly baselines: Readonly<Record<string, number>>;
  /** Tokens read in training. */
  readonly tokens: number;
}

/** Trains without a run's folder; what is wanted is the model and the numbers. */
export async function steps(
  model: Module,
  task: TrainingTask,
  settings: TrainerSettings,
  onStep: (loss: number, tokens: number) => void,
): Promise<void> {
  const options = trainerOptions(settings);
  manualSeed(options.seed);
  const step = new TrainingStep(model, task, options);
  const rate = schedule(options.schedule, { warmupSteps: options.warmupSteps, totalSteps: options.steps });
  model.train();
  for (let index = 0; index < options.steps; index++) {
    step.optimizer.lr = options.learningRate * rate(index);
    const batch = await task.batch(index);
    const { losses } = await step.run([batch])();
    const loss = Object.values(losses).reduce((a, b) => a + b, 0);
    if (!Number.isFinite(loss))
      throw new Error(`${task.name}: the loss became ${loss} at step ${index + 1}; lower the learning rate`);
    onStep(loss, batch.tokens);
  }
}

/** Trains a contender and measures it on all held-out text, or on its first `evaluationBatches`. */
export async function pretrain(
  { model, task, heldOut, vocabSize }: Contender,
  settings: TrainerSettings,
  evaluationBatches: number,
  onStep: (loss: number, tokens: number) => void,
): Promise<Outcome> {
  let tokens = 0;
  await steps(model, task, settings, (loss, count) => {
    tokens += count;
    onStep(loss, count);
  });
  const batches = Math.min(heldOut.batchesPerEpoch, evaluationBatches);
  const measured = { ...heldOut, batchesPerEpoch: batches };
  const { loss, ...parts } = await evaluator(model, measured, batches)();
  const baselines = await unigramLosses(task, measured, { vocabSize });
  const names = Object.keys(baselines);
  return { losses: Object.fromEntries(names.map((name) => [name, parts[name] ?? loss!])), baselines, tokens };
}
