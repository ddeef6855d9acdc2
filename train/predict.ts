import { crossEntropy, noGrad, scope, softmax } from '../autograd/index.ts';
import type { BertForSequenceClassification } from '../models/index.ts';
import { evaluationBatches } from './data/batches.ts';
import { collate } from './data/tokenised.ts';
import type { TokenisedExample } from './data/tokenised.ts';

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

/** Classifies examples with dropout off; the model's mode is put back afterwards. */
export async function predict(
  model: BertForSequenceClassification,
  examples: readonly TokenisedExample[],
  { batchSize, padTokenId }: PredictOptions,
): Promise<Predictions> {
  const { training } = model;
  model.eval();
  const labels = new Array<number>(examples.length);
  const probabilities = new Array<number[]>(examples.length);
  let loss = 0;
  try {
    const lengths = examples.map(({ inputIds }) => inputIds.length);
    for (const indices of evaluationBatches(lengths, batchSize)) {
      using _ = scope();
      const batch = collate(
        indices.map((i) => examples[i]!),
        padTokenId,
      );
      const { logits } = noGrad(() => model.forward(batch));
      const [rows, total] = await Promise.all([
        noGrad(() => softmax(logits)).tolist() as Promise<number[][]>,
        noGrad(() => crossEntropy(logits, batch.labels, { reduction: 'sum' })).item(),
      ]);
      indices.forEach((i, row) => {
        probabilities[i] = rows[row]!;
        labels[i] = rows[row]!.indexOf(Math.max(...rows[row]!));
      });
      loss += total;
    }
  } finally {
    model.train(training);
  }
  return { labels, probabilities, loss: loss / examples.length };
}
