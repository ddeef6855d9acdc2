import { bceWithLogits, crossEntropy, focal, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { Target } from '../data/read-table.ts';
import type { AnswerKind } from '../data/read-targets.ts';
import { balancedWeights, weightedSampler } from '../data/samplers.ts';

/**
 * How the few are made to count beside the many: they are drawn more often, their losses are weighed, or what
 * is classified well already counts less.
 */
export const imbalances = ['none', 'resample', 'weights', 'focal'] as const;

export interface ImbalanceOptions {
  readonly imbalance: (typeof imbalances)[number];
  /** Exponent of the focal loss. */
  readonly focalGamma: number;
  /** Weight of the positives in the focal loss; 1 - alpha of the negatives. Default: all weigh 1. */
  readonly focalAlpha?: number;
}

/** Throws where a kind of labels, or their number, does not go with what is asked for. */
export function checkImbalance(kind: AnswerKind, labels: number, options: ImbalanceOptions): void {
  const { imbalance, focalAlpha } = options;
  const mend = {
    regression: 'scores have no classes to balance; leave it out',
    'multi-label': imbalance === 'resample' ? 'a row has no one class to draw by; use weights or focal' : undefined,
    classification: undefined,
  }[kind];
  if (imbalance !== 'none' && mend) throw new Error(`--imbalance ${imbalance}: ${mend}`);
  if (focalAlpha === undefined) return;
  if (imbalance !== 'focal') throw new Error('--focal-alpha goes with --imbalance focal');
  if (kind === 'classification' && labels !== 2)
    throw new Error(`--focal-alpha weighs the second of two classes, and there are ${labels}; leave it out`);
}

/**
 * scikit-learn's "balanced" weights [numClasses]: rows / (classes * rows of the class); 1 of one without
 * rows.
 */
export function balancedClassWeights(labels: readonly number[], numClasses: number): Float32Array {
  const counts = new Float64Array(numClasses);
  for (const label of labels) counts[label]!++;
  return Float32Array.from(counts, (count) => (count === 0 ? 1 : labels.length / (numClasses * count)));
}

/**
 * Negatives for each positive of each label [L], PyTorch's `pos_weight`; 1 of a label that no row or each
 * has.
 */
export function positiveWeights(rows: readonly (readonly number[])[]): Float32Array {
  return Float32Array.from(rows[0]!, (_, j) => {
    const positives = rows.reduce((sum, row) => sum + row[j]!, 0);
    return positives === 0 ? 1 : (rows.length - positives) / positives || 1;
  });
}

/** What draws the examples of an epoch, each class as often as any other; undefined: each comes once. */
export function samplerOf(labels: readonly Target[], { imbalance }: ImbalanceOptions, seed: number) {
  return imbalance === 'resample' ? weightedSampler(balancedWeights(classesOf(labels)), seed) : undefined;
}

/**
 * The mean loss of logits [B, L] against labels, [B] of classes or [B, L] of 0 and 1, where it is not the
 * model's own. `labels`: those of the training examples, which weights are made of.
 */
export function lossOf(
  labels: readonly Target[],
  numLabels: number,
  { imbalance, focalGamma: gamma, focalAlpha }: ImbalanceOptions,
): ((logits: Tensor, labels: Tensor) => Tensor) | undefined {
  const rows = labels.filter((label) => typeof label !== 'number');
  if (imbalance === 'focal') {
    const alpha = rows.length > 0 || focalAlpha === undefined ? focalAlpha : kept([1 - focalAlpha, focalAlpha]);
    return (logits, labels) => focal(logits, labels, { gamma, alpha });
  }
  if (imbalance !== 'weights') return undefined;
  if (rows.length > 0) {
    const posWeight = kept(positiveWeights(rows));
    return (logits, labels) => bceWithLogits(logits, labels, { posWeight });
  }
  const weight = kept(balancedClassWeights(classesOf(labels), numLabels));
  return (logits, labels) => crossEntropy(logits, labels, { weight });
}

const classesOf = (labels: readonly Target[]): number[] => labels.filter((label) => typeof label === 'number');

/** Compiled steps use it as long as the run lasts. */
const kept = (values: readonly number[] | Float32Array): Tensor => tensor(Float32Array.from(values)).keep();
