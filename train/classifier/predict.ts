import { crossEntropy, softmax } from '../../autograd/index.ts';
import type { BertForSequenceClassification } from '../../models/index.ts';
import { compiledFor, forEachBatch } from '../../models/pipelines/rows.ts';
import { collate } from '../data/tokenised.ts';
import type { ClassificationBatch, TokenisedExample } from '../data/tokenised.ts';

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

const forwardOf = compiledFor('prediction', (model: BertForSequenceClassification, batch: ClassificationBatch) => {
  const { logits } = model.forward(batch);
  return { probabilities: softmax(logits), loss: crossEntropy(logits, batch.labels, { reduction: 'sum' }) };
});

/** Classifies examples with dropout off; the model's mode is put back afterwards. */
export async function predict(
  model: BertForSequenceClassification,
  examples: readonly TokenisedExample[],
  { batchSize, padTokenId }: PredictOptions,
): Promise<Predictions> {
  const labels = new Array<number>(examples.length);
  const probabilities = new Array<number[]>(examples.length);
  let loss = 0;
  await forEachBatch(model, examples, batchSize, async (indices) => {
    const batch = collate(
      indices.map((i) => examples[i]!),
      padTokenId,
      model.config.maxPositionEmbeddings,
    );
    const { probabilities: each, loss: sum } = forwardOf(model)(batch);
    const [rows, total] = await Promise.all([each.tolist() as Promise<number[][]>, sum.item()]);
    indices.forEach((i, row) => {
      probabilities[i] = rows[row]!;
      labels[i] = rows[row]!.indexOf(Math.max(...rows[row]!));
    });
    loss += total;
  });
  return { labels, probabilities, loss: loss / examples.length };
}
