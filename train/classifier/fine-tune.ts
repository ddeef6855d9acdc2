import type { Tensor } from '../../autograd/index.ts';
import { adaptersOf, paddingOf, rowLimits } from '../../models/index.ts';
import type { AnyTokenizer, SequenceClassificationModel } from '../../models/index.ts';
import { endlessBatches } from '../data/batches.ts';
import type { Target } from '../data/read-table.ts';
import { collateOnHost, hashOfExamples } from '../data/tokenised.ts';
import type { ClassificationBatch, TokenisedExample } from '../data/tokenised.ts';
import type { DeviceBatch, HostArray, TrainingTask } from '../objectives/task.ts';
import type { Callback } from '../trainer/callback.ts';
import type { Evaluation } from '../trainer/evaluate.ts';
import { trainEpochs } from '../trainer/epochs.ts';
import type { FineTuneOptions } from '../trainer/epochs.ts';
import type { Resume } from '../trainer/run-state.ts';
import type { TrainingResult } from '../trainer/trainer.ts';
import { lossOf, samplerOf } from './imbalance.ts';
import type { ImbalanceOptions } from './imbalance.ts';
import { kindOf } from './kinds.ts';
import { withExtra } from './model.ts';
import { scoreExamples } from './predict.ts';
import type { Scored } from './predict.ts';
import { bestThresholds } from './thresholds.ts';

/** The arrays that a classifier reads. */
export type ClassifierInputs = Omit<ClassificationBatch, 'labels'>;

/** What is learnt instead of the labels' own loss. */
export interface Objective {
  /** Names of the loss's parts, all of them means over the rows. */
  readonly parts: readonly string[];
  /** Quantity and unit of their sum. */
  readonly lossLabel: string;
  /** What batches have besides texts and labels, of the examples of these numbers. */
  arrays(examples: readonly number[]): Readonly<Record<string, HostArray>>;
  /** The parts, of tensors alone. */
  losses(inputs: ClassifierInputs, labels: Tensor, batch: DeviceBatch): Readonly<Record<string, Tensor>>;
  /** Facts that the run depends on. */
  readonly identity: Readonly<Record<string, unknown>>;
}

export interface FineTuneTask {
  readonly model: SequenceClassificationModel;
  readonly tokenizer: AnyTokenizer;
  readonly train: readonly TokenisedExample<Target>[];
  readonly validation: readonly TokenisedExample<Target>[];
  readonly options: FineTuneOptions;
  /** Folder for the model, its curves and its checkpoints. */
  readonly output: string;
  /** Makes rare classes count; default none. */
  readonly balance?: ImbalanceOptions;
  /**
   * Tunes the threshold of each of several labels on the validation part, for F1, after each epoch; they are
   * saved in config.json as `thresholds`.
   */
  readonly tuneThresholds?: boolean;
  /** Default the labels' own loss. */
  readonly objective?: Objective;
  /** Go on from the checkpoint in `output`. */
  readonly resume?: Resume;
  /** Further facts that the run depends on, besides options, texts and model. */
  readonly identity?: Readonly<Record<string, unknown>>;
  /** The command that goes on after Ctrl-C. */
  readonly resumeCommand?: string;
  readonly callbacks?: readonly Callback[];
  /** Draws no progress bar. */
  readonly quiet?: boolean;
}

const plain: ImbalanceOptions = { imbalance: 'none', focalGamma: 2 };

/**
 * Fine-tunes a classifier, validates after each epoch, and saves model, tokenizer, log, curves and report to
 * the output folder; see `train` of trainer/. `config.problemType` tells classes (also where it is null), a
 * score, and several labels apart.
 *
 * @example
 * const { model, tokenizer } = await pipeline('text-classification');
 * const rows = tokenise(tokenizer, [{ text: 'Win a prize', label: 1 }], 64);
 * const steps = { epochs: 1, batchSize: 1, saveEvery: 0, seed: 0, maxGradNorm: 1 };
 * const rates = { learningRate: 1e-5, schedule: 'linear', warmupRatio: 0, weightDecay: 0 } as const;
 * const options = { ...steps, ...rates };
 * await fineTune({ model, tokenizer, train: rows, validation: rows, options, output: 'runs/spam' });
 */
export async function fineTune(run: FineTuneTask): Promise<TrainingResult> {
  const { model, tokenizer, train, validation, identity, balance = plain, tuneThresholds, objective, ...rest } = run;
  const { batchSize } = rest.options;
  const padTokenId = paddingOf({ model, tokenizer });
  const kind = kindOf(model.config);
  const score = (): Promise<Scored> => scoreExamples(model, validation, { batchSize, padTokenId });
  const truth = validation.map(({ label }) => label);
  const tunes = tuneThresholds === true && validation.length > 0 && kind.problemType === 'multi_label_classification';
  const tune = ({ scores }: Scored): void =>
    withExtra(model, { thresholds: bestThresholds(truth as readonly (readonly number[])[], scores) });
  const evaluate = async (): Promise<Evaluation> => {
    const scored = await score();
    if (tunes) tune(scored);
    return { loss: scored.loss, ...kind.evaluate(truth, scored.scores, model.config) };
  };
  const result = await trainEpochs({
    ...rest,
    model,
    tokenizer,
    promptTokenizer: tokenizer,
    task: classification(model, train, rest.options, padTokenId, balance, objective),
    ...(validation.length > 0 ? { evaluate } : {}),
    identity: {
      ...identity,
      ...(balance.imbalance === 'none' ? {} : balance),
      ...objective?.identity,
      data: hashOfExamples(train),
      validation: hashOfExamples(validation),
    },
  });
  // A run that was resumed after its last evaluation has none yet.
  if (tunes && !('thresholds' in model.config.extra)) {
    tune(await score());
    await (adaptersOf(model) ?? model).savePretrained(rest.output, { tokenizer });
  }
  return result;
}

/** Classification of texts as a training task: every example once an epoch, in batches of like length. */
function classification(
  model: SequenceClassificationModel,
  examples: readonly TokenisedExample<Target>[],
  { batchSize, seed }: FineTuneOptions,
  padTokenId: number,
  balance: ImbalanceOptions,
  objective?: Objective,
): TrainingTask {
  const lengths = examples.map(({ inputIds }) => inputIds.length);
  const labels = examples.map(({ label }) => label);
  const sampler = samplerOf(labels, balance, seed);
  const { batchesPerEpoch, indices } = endlessBatches(lengths, { batchSize, seed, sampler });
  const loss = lossOf(labels, model.config.numLabels, balance);
  const kind = kindOf(model.config);
  return {
    name: kind.taskName,
    lossLabel: objective?.lossLabel ?? (balance.imbalance === 'focal' ? 'focal loss, nats' : kind.lossLabel),
    batchesPerEpoch,
    // Weights of classes make the mean one over weights; an objective may have means over tokens.
    ...(objective || balance.imbalance === 'weights' ? {} : { examples: { labels: { loss: 'labels' } } }),
    batch(index) {
      const rows = indices(index);
      const batch = collateOnHost(
        rows.map((i) => examples[i]!),
        padTokenId,
        rowLimits(model),
      );
      if (!objective) return batch;
      const counts = Object.fromEntries(objective.parts.map((part) => [part, rows.length]));
      return { ...batch, arrays: { ...batch.arrays, ...objective.arrays(rows) }, counts };
    },
    losses: (batch) => {
      const { inputIds, attentionMask, tokenTypeIds, labels } = batch;
      const inputs = { inputIds: inputIds!, attentionMask: attentionMask!, tokenTypeIds };
      if (objective) return objective.losses(inputs, labels!, batch);
      if (!loss) return { loss: model.forward({ ...inputs, labels }).loss! };
      return { loss: loss(model.forward(inputs).logits, labels!) };
    },
  };
}
