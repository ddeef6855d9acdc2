// A classifier that reads a text and a picture together, and answers where one of them is missing.
import type { Tensor } from '../../autograd/index.ts';
import { evalMode } from '../../models/index.ts';
import type { AnyTokenizer, FusionForClassification } from '../../models/index.ts';
import { chunks, compiledFor } from '../../models/pipelines/rows.ts';
import { accuracy, f1Score, majorityBaseline } from '../metrics/index.ts';
import type { TrainingTask } from '../objectives/task.ts';
import type { Evaluation } from '../trainer/evaluate.ts';
import { picturedBatches, rowsOnDevice } from './batch.ts';
import type { BatchSizes, PicturedBatchOptions } from './batch.ts';
import type { PicturedText } from './data.ts';

/** What a model is given of each row. */
export const modalities = ['both', 'text', 'image'] as const;
export type Modalities = (typeof modalities)[number];

export interface FusedOptions extends PicturedBatchOptions {
  readonly modalities: Modalities;
  /** Probability that a row that has both lacks its text, and the same of its picture. */
  readonly modalityDropout: number;
}

/**
 * Classes of pictures with texts as a training task. With modality dropout p, a share p of the rows lacks its
 * text and another share p its picture, none both, so that the model learns to answer by either.
 */
export function fusedTask(
  model: FusionForClassification,
  tokenizer: AnyTokenizer,
  rows: readonly PicturedText[],
  { modalities: given, modalityDropout, ...options }: FusedOptions,
): TrainingTask {
  return {
    name: 'classes of texts with pictures',
    ...picturedBatches(rows, tokenizer, options, (members, random) => {
      const drawn = members.map(() => random.uniform());
      const flags = (lacks: (value: number) => boolean) => ({
        data: Int32Array.from(drawn, (value) => (given === 'both' && lacks(value) ? 0 : 1)),
        shape: [members.length],
      });
      return {
        hasText: flags((value) => value < modalityDropout),
        hasImage: flags((value) => value >= 1 - modalityDropout),
        labels: { data: Int32Array.from(members, ({ label }) => label!), shape: [members.length] },
      };
    }),
    losses: (batch) => ({ loss: model.forward({ ...only(batch, given), labels: batch['labels']! }).loss! }),
  };
}

/** Of a batch what is given to the model. */
function only(batch: Readonly<Record<string, Tensor>>, given: Modalities) {
  const { inputIds, attentionMask, pixelValues, hasText, hasImage } = batch;
  return {
    ...(given === 'image' ? {} : { inputIds, attentionMask, hasText }),
    ...(given === 'text' ? {} : { pixelValues, hasImage }),
  };
}

type Batch = Readonly<Record<string, Tensor>>;
const logitsOf = Object.fromEntries(
  modalities.map((given) => [
    given,
    compiledFor(
      `classes by ${given}`,
      (model: FusionForClassification, batch: Batch) => model.forward(only(batch, given)).logits,
    ),
  ]),
) as Record<Modalities, ReturnType<typeof compiledFor<FusionForClassification, Batch, Tensor>>>;

/** Accuracy and macro F1 of the rows, the model being given both sides or one of them. */
export async function scoreFused(
  model: FusionForClassification,
  tokenizer: AnyTokenizer,
  rows: readonly PicturedText[],
  given: Modalities,
  sizes: BatchSizes,
): Promise<Evaluation> {
  const found: number[] = [];
  using _mode = evalMode(model);
  for (const part of chunks(rows, sizes.batchSize)) {
    const logits = logitsOf[given](model)(rowsOnDevice(part, tokenizer, sizes));
    const values = Array.from((await logits.data()) as Float32Array);
    found.push(...chunks(values, model.config.numLabels).map((row) => row.indexOf(Math.max(...row))));
  }
  const right = rows.map(({ label }) => label!);
  const options = { average: 'macro', numLabels: model.config.numLabels } as const;
  return { accuracy: accuracy(right, found), 'macro F1': f1Score(right, found, options) };
}

/** What the most frequent class of the training part gives for every row. */
export function mostFrequent(
  train: readonly PicturedText[],
  rows: readonly PicturedText[],
  numLabels: number,
): Evaluation {
  const [seen, right] = [train, rows].map((part) => part.map(({ label }) => label!));
  const usual = majorityBaseline(seen!, right, { average: 'macro', numLabels });
  return { accuracy: usual.accuracy, 'macro F1': usual.f1 };
}
