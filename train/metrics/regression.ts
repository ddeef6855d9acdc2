import { checkFinite, checkLengths, checkWeights, eachRow, orderOf, pairwiseSum, weightedMean } from './rows.ts';
import type { WeightOptions } from './rows.ts';

/**
 * The mean of (yTrue - yPred)^2; scikit-learn's `mean_squared_error`. Both: finite numbers [rows].
 *
 * @example
 * meanSquaredError([1, 2], [2, 4]); // 2.5
 */
export function meanSquaredError(
  yTrue: ArrayLike<number>,
  yPred: ArrayLike<number>,
  { sampleWeight }: WeightOptions = {},
): number {
  const differences = differencesOf('meanSquaredError', yTrue, yPred, sampleWeight);
  return weightedMean(
    differences.map((x) => x ** 2),
    sampleWeight,
  );
}

/**
 * The mean of |yTrue - yPred|; scikit-learn's `mean_absolute_error`.
 *
 * @example
 * meanAbsoluteError([1, 2], [2, 4]); // 1.5
 */
export function meanAbsoluteError(
  yTrue: ArrayLike<number>,
  yPred: ArrayLike<number>,
  { sampleWeight }: WeightOptions = {},
): number {
  return weightedMean(differencesOf('meanAbsoluteError', yTrue, yPred, sampleWeight).map(Math.abs), sampleWeight);
}

/**
 * 1 - (squared error) / (squared error of the mean); scikit-learn's `r2_score`. Of a constant yTrue it is 1
 * where yPred equals it and 0 elsewhere; of a single row NaN, as there.
 *
 * @example
 * r2Score([1, 2, 3], [1, 2, 2]); // 0.5
 */
export function r2Score(
  yTrue: ArrayLike<number>,
  yPred: ArrayLike<number>,
  { sampleWeight }: WeightOptions = {},
): number {
  const differences = differencesOf('r2Score', yTrue, yPred, sampleWeight);
  if (yTrue.length < 2) return NaN;
  const squares = (values: Float64Array): number =>
    pairwiseSum(values.map((x, i) => (sampleWeight ? sampleWeight[i]! : 1) * x ** 2));
  const mean = weightedMean(yTrue, sampleWeight);
  const error = squares(differences);
  const spread = squares(eachRow(yTrue.length, (i) => yTrue[i]! - mean));
  if (spread === 0 || error === 0) return error === 0 ? 1 : 0;
  return 1 - error / spread;
}

/**
 * Pearson's correlation from -1 to 1; scipy's `pearsonr`. NaN where one of the two is constant. Error: fewer
 * than two rows.
 *
 * @example
 * pearson([1, 2, 3], [2, 4, 6]); // 1
 */
export function pearson(x: ArrayLike<number>, y: ArrayLike<number>): number {
  return correlation('pearson', x, y);
}

/**
 * Spearman's correlation, that of the ranks, equal values sharing the mean of theirs; scipy's `spearmanr`.
 * NaN where one of the two is constant. Error: fewer than two rows (scipy: NaN).
 *
 * @example
 * spearman([1, 2, 3], [1, 10, 100]); // 1
 */
export function spearman(x: ArrayLike<number>, y: ArrayLike<number>): number {
  checkPairs('spearman', x, y);
  return correlation('spearman', ranksOf(x), ranksOf(y));
}

/** Ranks from 1; equal values share the mean of theirs. ranksOf([5, 3, 3]) is [3, 1.5, 1.5]. */
function ranksOf(values: ArrayLike<number>): Float64Array {
  const order = orderOf(Float64Array.from(values));
  const ranks = new Float64Array(values.length);
  for (let start = 0; start < order.length;) {
    let end = start + 1;
    while (end < order.length && values[order[end]!] === values[order[start]!]) end++;
    for (let i = start; i < end; i++) ranks[order[i]!] = (start + 1 + end) / 2;
    start = end;
  }
  return ranks;
}

function correlation(op: string, x: ArrayLike<number>, y: ArrayLike<number>): number {
  checkPairs(op, x, y);
  const isConstant = (values: ArrayLike<number>): boolean =>
    Array.prototype.every.call(values, (value) => value === values[0]);
  if (isConstant(x) || isConstant(y)) return NaN;
  // Divided by the largest before squaring, so that numbers of 1e200 do not overflow.
  const unit = (values: ArrayLike<number>): Float64Array => {
    const mean = weightedMean(values);
    const centred = eachRow(values.length, (i) => values[i]! - mean);
    const largest = centred.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const norm = largest * Math.sqrt(pairwiseSum(centred.map((value) => (value / largest) ** 2)));
    return centred.map((value) => value / norm);
  };
  const [a, b] = [unit(x), unit(y)];
  const r = Math.min(1, Math.max(-1, pairwiseSum(a.map((value, i) => value * b[i]!))));
  return x.length === 2 ? Math.round(r) : r;
}

function checkPairs(op: string, x: ArrayLike<number>, y: ArrayLike<number>): void {
  if (checkLengths(op, { x, y }) < 2) throw new Error(`${op}: a correlation needs two rows at least, got 1`);
  checkFinite(op, 'x', x);
  checkFinite(op, 'y', y);
}

function differencesOf(
  op: string,
  yTrue: ArrayLike<number>,
  yPred: ArrayLike<number>,
  sampleWeight?: ArrayLike<number>,
): Float64Array {
  const rows = checkLengths(op, { yTrue, yPred });
  checkFinite(op, 'yTrue', yTrue);
  checkFinite(op, 'yPred', yPred);
  checkWeights(op, sampleWeight, rows);
  return eachRow(rows, (i) => yTrue[i]! - yPred[i]!);
}
