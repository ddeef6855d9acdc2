import { compile, crossEntropy, noGrad, scope, softmax } from '../../autograd/index.ts';
import type { Compiled, Tensor } from '../../autograd/index.ts';
import type { BertForSequenceClassification } from '../../models/index.ts';
import { evaluationBatches } from '../data/batches.ts';
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

type Forward = Compiled<[batch: ClassificationBatch], { probabilities: Tensor; loss: Tensor }>;

/** One for each model, so that its programs serve every call. */
const forwards = new WeakMap<BertForSequenceClassification, Forward>();

function forwardOf(model: BertForSequenceClassification): Forward {
  let forward = forwards.get(model);
  if (!forward) {
    forward = compile(
      (batch: ClassificationBatch) => {
        const { logits } = noGrad(() => model.forward(batch));
        return { probabilities: softmax(logits), loss: crossEntropy(logits, batch.labels, { reduction: 'sum' }) };
      },
      { name: 'prediction', maxPrograms: 32, log: () => undefined },
    );
    forwards.set(model, forward);
  }
  return forward;
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
        model.config.maxPositionEmbeddings,
      );
      const { probabilities: each, loss: sum } = forwardOf(model)(batch);
      const [rows, total] = await Promise.all([each.tolist() as Promise<number[][]>, sum.item()]);
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
