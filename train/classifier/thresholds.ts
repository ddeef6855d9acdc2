import { precisionRecallCurve } from '../metrics/curves.ts';
import { columnOf } from '../metrics/rows.ts';
import type { Matrix } from '../metrics/rows.ts';

/**
 * The threshold from which on scores count as positive, so that F1 is highest: half-way between the last
 * score that does and the next lower one; of several, the highest. 0.5 where no row is positive. yTrue [rows]
 * of 0 and 1, scores [rows] from 0 to 1.
 *
 *   bestThreshold([0, 1, 0, 1], [0.1, 0.3, 0.4, 0.9])   is 0.2: F1 is 0.8 there and 0.667 at 0.65
 */
export function bestThreshold(yTrue: ArrayLike<number>, scores: ArrayLike<number>): number {
  if (!Array.prototype.includes.call(yTrue, 1)) return 0.5;
  const { precision, recall, thresholds } = precisionRecallCurve(yTrue, scores);
  let [best, at] = [-1, 0];
  thresholds.forEach((_, i) => {
    const f1 = (2 * precision[i]! * recall[i]!) / (precision[i]! + recall[i]!) || 0;
    // Sums of equal counts may differ in their last digits.
    if (f1 >= best - 1e-12) [best, at] = [f1, i];
  });
  return (thresholds[at]! + (thresholds[at - 1] ?? 0)) / 2;
}

/** The best threshold of each label; yTrue and scores [rows, labels]. */
export function bestThresholds(yTrue: Matrix, scores: Matrix): number[] {
  return Array.from({ length: yTrue[0]!.length }, (_, j) => bestThreshold(columnOf(yTrue, j), columnOf(scores, j)));
}

/** 1 where a score reaches the threshold of its label, else 0. */
export function reached(scores: Matrix, thresholds: readonly number[]): number[][] {
  return Array.from(scores, (row) => thresholds.map((threshold, j) => Number(row[j]! >= threshold)));
}
