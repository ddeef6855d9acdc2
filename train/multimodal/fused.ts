// A classifier that reads a text and a picture together, and answers where one of them is missing.
import type { Tensor } from '../../autograd/index.ts';
import { evalMode } from '../../models/index.ts';
import type { AnyTokenizer, FusionForClassification } from '../../models/index.ts';
import { chunks, compiledFor } from '../../models/pipelines/rows.ts';
import { accuracy, f1Score } from '../metrics/index.ts';
import { toDevice } from '../objectives/task.ts';
import type { TrainingTask } from '../objectives/task.ts';
import type { Evaluation } from '../trainer/evaluate.ts';
import { paddedTokens, picturedBatches, stackPictures, tokensOfTexts } from './batch.ts';
import type { PicturedBatchOptions } from './batch.ts';
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
  { maxLength, imageSize, batchSize }: Pick<PicturedBatchOptions, 'maxLength' | 'imageSize' | 'batchSize'>,
): Promise<Evaluation> {
  const found: number[] = [];
  using _mode = evalMode(model);
  for (const part of chunks(rows, batchSize)) {
    const texts = part.map(({ text }) => text);
    const pictures = part.map(({ pixels }) => pixels);
    const arrays = {
      ...paddedTokens(tokensOfTexts(tokenizer, texts, maxLength), tokenizer.padTokenId!, maxLength),
      pixelValues: stackPictures(pictures, imageSize),
    };
    const logits = logitsOf[given](model)(toDevice({ arrays, counts: {}, tokens: 0 }));
    const values = Array.from((await logits.data()) as Float32Array);
    found.push(...chunks(values, model.config.numLabels).map((row) => row.indexOf(Math.max(...row))));
  }
  return classScores(rows, found, model.config.numLabels);
}

/** The same of answers that are there already. */
export function classScores(rows: readonly PicturedText[], found: readonly number[], numLabels: number): Evaluation {
  const right = rows.map(({ label }) => label!);
  return { accuracy: accuracy(right, found), 'macro F1': f1Score(right, found, { average: 'macro', numLabels }) };
}

/** What the most frequent class of the training part gives for every row. */
export function mostFrequent(
  train: readonly PicturedText[],
  rows: readonly PicturedText[],
  labels: number,
): Evaluation {
  const counts = new Array<number>(labels).fill(0);
  for (const { label } of train) counts[label!]!++;
  return classScores(rows, new Array<number>(rows.length).fill(counts.indexOf(Math.max(...counts))), labels);
}
