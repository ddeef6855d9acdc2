import { join } from 'node:path';
import { compile, manualSeed, scope } from '../autograd/index.ts';
import type { Compiled, Tensor } from '../autograd/index.ts';
import type { BertForSequenceClassification, BertTokenizer } from '../models/index.ts';
import { writeFileAtomic } from '../models/io/atomic.ts';
import { epochBatches } from './data/batches.ts';
import { collate } from './data/tokenised.ts';
import type { ClassificationBatch, TokenisedExample } from './data/tokenised.ts';
import { Interrupted, InterruptWatch } from './interrupt.ts';
import { accuracy, f1Score, usualAverage } from './metrics.ts';
import { AdamW, decayGroups } from './optim/index.ts';
import { smooth, writeCurves } from './plot.ts';
import { predict } from './predict.ts';
import { progress } from './progress.ts';
import { schedule } from './schedules.ts';
import type { ScheduleName } from './schedules.ts';
import { readTrainingState, restoreTraining, saveTraining } from './training-checkpoint.ts';
import type { TrainingState } from './training-checkpoint.ts';

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
}

export interface FineTuneTask {
  readonly model: BertForSequenceClassification;
  readonly tokenizer: BertTokenizer;
  readonly train: readonly TokenisedExample[];
  readonly validation: readonly TokenisedExample[];
  readonly options: FineTuneOptions;
  /** Folder for the model, its curves and its checkpoints. */
  readonly output: string;
  /** Checkpoint folder to go on from; `model` was loaded from it. */
  readonly resumeFrom?: string;
  /** The command that goes on after Ctrl-C. */
  readonly resumeCommand: string;
}

/**
 * Fine-tunes a classifier with AdamW, validates after each epoch, and saves model, tokenizer and curves to the output folder. A run stopped by Ctrl-C writes a
 * checkpoint and throws Interrupted; resumed, it goes on with the same batches, random numbers and moments, so its losses are those of a run never stopped.
 */
export async function fineTune(task: FineTuneTask): Promise<TrainingState> {
  const { model, tokenizer, train, validation, options, output, resumeFrom } = task;
  const { epochs, batchSize, seed, maxGradNorm, saveEvery } = options;
  const { padTokenId } = tokenizer;
  const lengths = train.map(({ inputIds }) => inputIds.length);
  const perEpoch = Math.ceil(train.length / batchSize);
  const totalSteps = epochs * perEpoch;
  const rate = schedule(options.schedule, { warmupSteps: Math.round(options.warmupRatio * totalSteps), totalSteps });
  const optimizer = new AdamW(decayGroups(model.namedParameters(), options.weightDecay), { lr: options.learningRate });

  let state: TrainingState = {
    step: 0,
    epoch: 0,
    index: 0,
    losses: [],
    validation: [],
    options: runIdentity(options, train.length),
  };
  manualSeed(seed);
  if (resumeFrom) {
    const saved = await readTrainingState(resumeFrom);
    checkSame(saved.options, state.options, resumeFrom);
    await restoreTraining(resumeFrom, saved, optimizer);
    state = saved;
  }
  const saveModel = (folder: string): Promise<void> => model.savePretrained(folder, { tokenizer });

  const update = updateOf(model, optimizer, maxGradNorm);
  const watch = new InterruptWatch();
  const bar = progress({ total: totalSteps, initial: state.step });
  model.train();
  try {
    for (; state.epoch < epochs; state = { ...state, epoch: state.epoch + 1, index: 0 }) {
      const batches = epochBatches(lengths, { batchSize, seed, epoch: state.epoch });
      while (state.index < batches.length) {
        const examples = batches[state.index]!.map((i) => train[i]!);
        optimizer.lr = options.learningRate * rate(state.step);
        const batch = () => collate(examples, padTokenId, model.config.maxPositionEmbeddings);
        const loss = await trainStep(update, batch, optimizer.lr);
        state.losses.push(loss);
        state = { ...state, step: state.step + 1, index: state.index + 1 };
        bar.update(state.step, {
          label: `epoch ${state.epoch + 1}/${epochs}`,
          loss,
          lr: optimizer.lr,
          tokens: examples.reduce((sum, { inputIds }) => sum + inputIds.length, 0),
        });
        if (watch.requested || (saveEvery > 0 && state.step % saveEvery === 0)) {
          const folder = await saveTraining(output, state, optimizer, saveModel);
          if (watch.requested)
            throw new Interrupted(
              `stopped at step ${state.step} of ${totalSteps}, saved in ${folder}; go on with: ${task.resumeCommand}`,
            );
        }
      }
      if (validation.length > 0)
        state.validation.push(await validate(model, validation, state.step, options, padTokenId));
    }
  } finally {
    watch.dispose();
    bar.stop();
  }
  await saveModel(output);
  await writeFileAtomic(join(output, 'trainer_state.json'), `${JSON.stringify(state)}\n`);
  await writeCurves(join(output, 'curves.svg'), panels(state));
  return state;
}

type Update = Compiled<[batch: ClassificationBatch], Tensor>;

/** One update, compiled: forward, backward, clipping and the optimizer's step as one list of dispatches for each shape of batch. Returns the loss. */
function updateOf(model: BertForSequenceClassification, optimizer: AdamW, maxGradNorm: number): Update {
  return compile(
    (batch: ClassificationBatch) => {
      const { loss } = model.forward(batch);
      loss!.backward();
      optimizer.step({ maxNorm: maxGradNorm > 0 ? maxGradNorm : undefined });
      optimizer.zeroGrad();
      return loss!.detach();
    },
    // Batches come in a few lengths, and the last one of an epoch is smaller.
    { name: 'training step', maxPrograms: 32, log: () => undefined },
  );
}

/** Everything made on the way is freed at the end of the step. */
async function trainStep(update: Update, batch: () => ClassificationBatch, learningRate: number): Promise<number> {
  using _ = scope();
  const value = await update(batch()).item();
  if (!Number.isFinite(value)) {
    throw new Error(
      `the loss became ${value}; lower the learning rate (now ${learningRate}) or clip the gradients, and look with detectAnomaly`,
    );
  }
  return value;
}

async function validate(
  model: BertForSequenceClassification,
  examples: readonly TokenisedExample[],
  step: number,
  { batchSize }: FineTuneOptions,
  padTokenId: number,
): Promise<TrainingState['validation'][number]> {
  const { labels, loss } = await predict(model, examples, { batchSize, padTokenId });
  const truth = examples.map(({ label }) => label);
  return {
    step,
    loss,
    accuracy: accuracy(truth, labels),
    f1: f1Score(truth, labels, usualAverage(model.config.numLabels)),
  };
}

/** What a resumed run must share with the one before; how often it saves is its own affair. */
function runIdentity({ saveEvery: _, ...options }: FineTuneOptions, examples: number): Record<string, unknown> {
  return { ...options, examples };
}

/** A run resumed on other data or with other options would not be the same run. */
function checkSame(saved: Record<string, unknown>, now: Record<string, unknown>, folder: string): void {
  const changed = Object.keys(now).filter((key) => JSON.stringify(saved[key]) !== JSON.stringify(now[key]));
  if (changed.length === 0) return;
  const list = changed.map((key) => `${key} ${JSON.stringify(saved[key])} -> ${JSON.stringify(now[key])}`).join(', ');
  throw new Error(
    `${folder} belongs to a run with other options (${list}); resume with the same, or remove the folder to start again`,
  );
}

function panels({ losses, validation }: TrainingState) {
  const points = losses.flatMap((loss, i): [number, number][] => (loss === null ? [] : [[i + 1, loss]]));
  const series = [
    { name: 'training, each step', points, faint: true },
    { name: 'training, smoothed', points: smooth(points) },
  ];
  const held = validation.map(({ step, loss }): [number, number] => [step, loss]);
  return {
    title: 'Loss',
    xLabel: 'step',
    yLabel: 'cross-entropy',
    series: held.length > 0 ? [...series, { name: 'validation', points: held, dots: true }] : series,
  };
}
