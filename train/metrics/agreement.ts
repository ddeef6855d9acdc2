import { accuracy } from './classification.ts';
import { countClasses } from './counts.ts';
import type { WeightOptions } from './rows.ts';

/**
 * Matthews' correlation of true and predicted classes, from -1 to 1, for any number of classes; 0 where one
 * of the two is constant. scikit-learn's `matthews_corrcoef` (Gorodkin 2004).
 *
 * @example
 * matthewsCorrcoef([0, 0, 1, 1], [0, 1, 1, 1]); // 0.5774
 */
export function matthewsCorrcoef(
  yTrue: ArrayLike<number>,
  yPred: ArrayLike<number>,
  options: WeightOptions = {},
): number {
  const counts = countClasses('matthewsCorrcoef', yTrue, yPred, options);
  let [samples, correct, both, predicted, truth] = [0, 0, 0, 0, 0];
  for (const c of counts) {
    samples += c.support;
    correct += c.truePositives;
    both += c.support * c.predicted;
    predicted += c.predicted ** 2;
    truth += c.support ** 2;
  }
  const isConstant = (of: 'support' | 'predicted'): boolean => counts.filter((c) => c[of] > 0).length < 2;
  if (isConstant('support') || isConstant('predicted')) return 0;
  return (correct * samples - both) / Math.sqrt((samples ** 2 - predicted) * (samples ** 2 - truth));
}

export interface KappaOptions extends WeightOptions {
  /** How much a disagreement of classes i and j counts: `linear` |i - j|, `quadratic` (i - j)^2, else 1. */
  readonly weights?: 'linear' | 'quadratic';
  /**
   * Classes are 0..numLabels-1. Without it i and j of `weights` count only classes that occur, as in
   * scikit-learn: of 0 and 2, the distance is 1.
   */
  readonly numLabels?: number;
}

/**
 * Cohen's kappa of two annotators: 1 - (disagreement) / (disagreement by chance); scikit-learn's
 * `cohen_kappa_score`. NaN where both give one and the same class throughout.
 *
 * @example
 * cohenKappa([0, 0, 1, 1], [0, 1, 1, 1]); // 0.5
 */
export function cohenKappa(y1: ArrayLike<number>, y2: ArrayLike<number>, options: KappaOptions = {}): number {
  const counts = countClasses('cohenKappa', y1, y2, options);
  const { weights, sampleWeight } = options;
  if (weights !== undefined && weights !== 'linear' && weights !== 'quadratic')
    throw new Error(`cohenKappa: unknown weights "${String(weights)}"; use linear, quadratic or none`);
  const places = new Map(counts.map((c, i) => [c.label, i]));
  const distance = (i: number, j: number): number =>
    weights === 'linear' ? Math.abs(i - j) : weights === 'quadratic' ? (i - j) ** 2 : Number(i !== j);
  let [observed, total, expected] = [0, 0, 0];
  for (let row = 0; row < y1.length; row++) {
    const weight = sampleWeight ? sampleWeight[row]! : 1;
    observed += weight * distance(places.get(y1[row]!)!, places.get(y2[row]!)!);
    total += weight;
  }
  counts.forEach((a, i) => {
    if (a.support > 0) counts.forEach((b, j) => (expected += distance(i, j) * ((a.support * b.predicted) / total)));
  });
  return expected === 0 ? NaN : 1 - observed / expected;
}

/**
 * The mean of the recall of the classes that occur in yTrue; scikit-learn's `balanced_accuracy_score`.
 * `adjusted` moves chance to 0 and keeps 1; with one class only it is NaN or -Infinity, as there.
 *
 * @example
 * balancedAccuracy([0, 0, 0, 1], [0, 0, 0, 0]); // 0.5
 */
export function balancedAccuracy(
  yTrue: ArrayLike<number>,
  yPred: ArrayLike<number>,
  options: WeightOptions & { readonly adjusted?: boolean } = {},
): number {
  const classes = countClasses('balancedAccuracy', yTrue, yPred, options).filter((c) => c.support > 0);
  const score = classes.reduce((sum, c) => sum + c.truePositives / c.support, 0) / classes.length;
  const chance = 1 / classes.length;
  return options.adjusted ? (score - chance) / (1 - chance) : score;
}

/**
 * Share of rows that are wrong, 1 - accuracy; scikit-learn's `hamming_loss` of one label a row.
 *
 * @example
 * hammingLoss([0, 1, 1, 0], [0, 1, 0, 0]); // 0.25
 */
export function hammingLoss(yTrue: ArrayLike<number>, yPred: ArrayLike<number>, options: WeightOptions = {}): number {
  return 1 - accuracy(yTrue, yPred, options);
}
