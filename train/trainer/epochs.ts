import type { ScheduleName } from '../optim/schedules.ts';
import { initAdapter } from '../../models/index.ts';
import type { AdapterConfig, LoadAdapterOptions, SavableModel } from '../../models/index.ts';
import type { TrainerOptions } from './settings.ts';
import { train } from './trainer.ts';
import type { TrainingResult, TrainingRun } from './trainer.ts';

/** How a model is fine-tuned, told in epochs. */
export interface FineTuneOptions {
  readonly epochs: number;
  readonly batchSize: number;
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly schedule: ScheduleName;
  /** Share of all steps over which the learning rate rises. */
  readonly warmupRatio: number;
  /** Largest norm of the gradients together; 0 leaves them as they are. */
  readonly maxGradNorm: number;
  readonly seed: number;
  /** Steps between checkpoints; 0 saves at Ctrl-C only. */
  readonly saveEvery: number;
  /** Steps between histograms, see `TrainerOptions`; default 0, none. */
  readonly histogramEvery?: number;
  /** Default 1. */
  readonly evaluationsPerEpoch?: number;
  /** Batches added up for one step; default 1. */
  readonly accumulate?: number;
  /** mixed: products in f16; default f32. */
  readonly precision?: TrainerOptions['precision'];
  /** See `TrainerOptions`; default false. */
  readonly gradientCheckpointing?: boolean;
  /** Trains an adapter in the place of the weights; the run's folders then hold that. */
  readonly adapter?: AdapterConfig;
}

export interface FineTuneRun extends Omit<TrainingRun, 'options' | 'model'> {
  readonly model: TrainingRun['model'] & SavableModel;
  readonly options: FineTuneOptions;
  /** Turns the text that an adapter may begin with into tokens. */
  readonly promptTokenizer?: LoadAdapterOptions['tokenizer'];
}

/** `train` for so many passes over the task's data, with evaluations at equal distances and at the end. */
export async function trainEpochs({
  options: given,
  identity,
  promptTokenizer,
  ...run
}: FineTuneRun): Promise<TrainingResult> {
  const { epochs, batchSize, warmupRatio, adapter, evaluationsPerEpoch = 1, ...options } = given;
  const stepsPerEpoch = Math.ceil(run.task.batchesPerEpoch / (options.accumulate ?? 1));
  const steps = epochs * stepsPerEpoch;
  return train({
    ...run,
    model: adapter ? await initAdapter(run.model, adapter, { tokenizer: promptTokenizer }) : run.model,
    options: {
      ...options,
      steps,
      warmupSteps: Math.round(warmupRatio * steps),
      evaluateEvery: Math.ceil(stepsPerEpoch / evaluationsPerEpoch),
    },
    identity: { epochs, batchSize, ...identity },
  });
}
