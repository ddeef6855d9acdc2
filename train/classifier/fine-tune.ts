import type { BertForSequenceClassification, BertTokenizer } from '../../models/index.ts';
import { endlessBatches } from '../data/batches.ts';
import { collateOnHost, hashOfExamples } from '../data/tokenised.ts';
import type { TokenisedExample } from '../data/tokenised.ts';
import { accuracy, f1Score, usualAverage } from '../metrics/classification.ts';
import { predict } from './predict.ts';
import type { TrainingTask } from '../objectives/task.ts';
import type { Evaluation } from '../trainer/evaluate.ts';
import { trainEpochs } from '../trainer/epochs.ts';
import type { FineTuneOptions } from '../trainer/epochs.ts';
import type { Resume } from '../trainer/run-state.ts';
import type { TrainingResult } from '../trainer/trainer.ts';

export interface FineTuneTask {
  readonly model: BertForSequenceClassification;
  readonly tokenizer: BertTokenizer;
  readonly train: readonly TokenisedExample[];
  readonly validation: readonly TokenisedExample[];
  readonly options: FineTuneOptions;
  /** Folder for the model, its curves and its checkpoints. */
  readonly output: string;
  /** Go on from the checkpoint in `output`. */
  readonly resume?: Resume;
  /** Further facts that the run depends on, besides options, texts and model. */
  readonly identity?: Readonly<Record<string, unknown>>;
  /** The command that goes on after Ctrl-C. */
  readonly resumeCommand?: string;
}

/**
 * Fine-tunes a classifier, validates after each epoch, and saves model, tokenizer, log, curves and report to
 * the output folder; see `train` of trainer/.
 */
export async function fineTune(run: FineTuneTask): Promise<TrainingResult> {
  const { model, tokenizer, train, validation, identity, ...rest } = run;
  const { batchSize } = rest.options;
  return trainEpochs({
    ...rest,
    model,
    tokenizer,
    task: classification(model, train, rest.options, tokenizer.padTokenId),
    ...(validation.length > 0 ? { evaluate: () => validate(model, validation, batchSize, tokenizer.padTokenId) } : {}),
    identity: { ...identity, data: hashOfExamples(train), validation: hashOfExamples(validation) },
  });
}

/** Classification of texts as a training task: every example once an epoch, in batches of like length. */
function classification(
  model: BertForSequenceClassification,
  examples: readonly TokenisedExample[],
  { batchSize, seed }: FineTuneOptions,
  padTokenId: number,
): TrainingTask {
  const lengths = examples.map(({ inputIds }) => inputIds.length);
  const { batchesPerEpoch, indices } = endlessBatches(lengths, { batchSize, seed });
  return {
    name: 'classification',
    batchesPerEpoch,
    batch(index) {
      const members = indices(index).map((i) => examples[i]!);
      return collateOnHost(members, padTokenId, model.config.maxPositionEmbeddings);
    },
    losses: ({ inputIds, attentionMask, tokenTypeIds, labels }) => ({
      loss: model.forward({ inputIds: inputIds!, attentionMask, tokenTypeIds, labels }).loss!,
    }),
  };
}

async function validate(
  model: BertForSequenceClassification,
  examples: readonly TokenisedExample[],
  batchSize: number,
  padTokenId: number,
): Promise<Evaluation> {
  const { labels, loss } = await predict(model, examples, { batchSize, padTokenId });
  const truth = examples.map(({ label }) => label);
  return {
    loss,
    accuracy: accuracy(truth, labels),
    f1: f1Score(truth, labels, usualAverage(model.config.numLabels)),
  };
}
