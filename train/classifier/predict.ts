import { bceWithLogits, crossEntropy, mse, reshape, sigmoid, softmax, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { exitEarly, hasExits, rowLimits } from '../../models/index.ts';
import type { SequenceClassificationModel } from '../../models/index.ts';
import { compiledFor, forEachBatch } from '../../models/pipelines/rows.ts';
import type { Target } from '../data/read-table.ts';
import { collate } from '../data/tokenised.ts';
import type { ClassificationBatch, TokenisedExample } from '../data/tokenised.ts';

/** Scores of texts, in the order given. */
export interface Scored {
  /** [examples][labels]: probabilities, of one class among all or of each label by itself; or the score. */
  readonly scores: number[][];
  /** Mean loss against the examples' own labels. */
  readonly loss: number;
}

export interface Predictions {
  /** Class of each example, in the order given. */
  readonly labels: number[];
  /** Probability of each class, [examples][classes]. */
  readonly probabilities: number[][];
  /** Mean cross-entropy against the examples' own labels. */
  readonly loss: number;
}

export interface PredictOptions {
  readonly batchSize: number;
  readonly padTokenId: number;
}

/** Scores of logits, and the sum over the rows of their losses. */
const problems = {
  single_label_classification: (logits: Tensor, labels: Tensor) => ({
    scores: softmax(logits),
    loss: crossEntropy(logits, labels, { reduction: 'sum' }),
  }),
  multi_label_classification: (logits: Tensor, labels: Tensor) => ({
    scores: sigmoid(logits),
    loss: bceWithLogits(logits, labels, { reduction: 'sum' }).div(logits.shape[1]!),
  }),
  regression: (logits: Tensor, labels: Tensor) => ({
    scores: logits,
    loss: mse(logits, reshape(labels, logits.shape), { reduction: 'sum' }),
  }),
} as const;

const problemOf = ({ config }: SequenceClassificationModel) =>
  problems[config.problemType ?? 'single_label_classification'];

const wholeOf = compiledFor('prediction', (model: SequenceClassificationModel, batch: ClassificationBatch) => {
  const { labels, ...inputs } = batch;
  return problemOf(model)(model.forward(inputs).logits, labels);
});

/** Scores and the sum of losses; where the model has off-ramps, texts leave at them. */
async function scoresOf(model: SequenceClassificationModel, batch: ClassificationBatch) {
  if (!hasExits(model)) return wholeOf(model)(batch);
  const { labels, ...inputs } = batch;
  return problemOf(model)(tensor((await exitEarly(model, inputs)).logits), labels);
}

/** Scores examples with dropout off; the model's mode is put back afterwards. */
export async function scoreExamples(
  model: SequenceClassificationModel,
  examples: readonly TokenisedExample<Target>[],
  { batchSize, padTokenId }: PredictOptions,
): Promise<Scored> {
  const scores = new Array<number[]>(examples.length);
  let loss = 0;
  await forEachBatch(model, examples, batchSize, async (indices) => {
    const batch = collate(
      indices.map((i) => examples[i]!),
      padTokenId,
      rowLimits(model),
    );
    const { scores: each, loss: sum } = await scoresOf(model, batch);
    const [rows, total] = await Promise.all([each.tolist() as Promise<number[][]>, sum.item()]);
    indices.forEach((i, row) => (scores[i] = rows[row]!));
    loss += total;
  });
  return { scores, loss: loss / examples.length };
}

/**
 * Classifies examples with dropout off; the model's mode is put back afterwards.
 *
 * @example
 * const { model, tokenizer } = await pipeline('text-classification');
 * const rows = tokenise(tokenizer, [{ text: 'Win a prize now!!!', label: 1 }], 64);
 * const { labels } = await predict(model, rows, { batchSize: 8, padTokenId: 0 });
 * labels; // [1]
 */
export async function predict(
  model: SequenceClassificationModel,
  examples: readonly TokenisedExample[],
  options: PredictOptions,
): Promise<Predictions> {
  const { scores, loss } = await scoreExamples(model, examples, options);
  return { labels: mostProbable(scores), probabilities: scores, loss };
}

/** The class of the highest score of each row. */
export const mostProbable = (scores: readonly (readonly number[])[]): number[] =>
  scores.map((row) => row.indexOf(Math.max(...row)));
