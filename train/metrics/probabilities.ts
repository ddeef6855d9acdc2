import {
  checkClasses,
  checkDistributions,
  checkFiniteRows,
  checkLengths,
  checkProbabilities,
  checkWeights,
  eachRow,
  threeOf,
  weightedMean,
} from './rows.ts';
import type { Matrix, WeightOptions } from './rows.ts';

/**
 * Share of rows whose true class is among the k highest scores; scikit-learn's `top_k_accuracy_score`. yTrue:
 * class indices [rows]; yScore: any numbers [rows, classes]. Of equal scores the class of the higher index
 * comes first, as there. 1 where k is the number of classes or more.
 *
 * @example
 * topKAccuracy([0, 2], [[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]], { k: 2 }); // 0.5
 */
export function topKAccuracy(
  yTrue: ArrayLike<number>,
  yScore: Matrix,
  options: WeightOptions & { readonly k: number },
): number {
  const { k, sampleWeight } = options;
  if (!Number.isInteger(k) || k < 1) throw new Error(`topKAccuracy: k must be a positive integer, got ${k}`);
  const rows = checkLengths('topKAccuracy', { yTrue, yScore });
  checkWeights('topKAccuracy', sampleWeight, rows);
  const classes = checkFiniteRows('topKAccuracy', 'yScore', yScore);
  checkClasses('topKAccuracy', yTrue, classes);
  const hits = eachRow(rows, (i) => {
    const [scores, label] = [yScore[i]!, yTrue[i]!];
    let before = 0;
    for (let j = 0; j < classes; j++) {
      if (scores[j]! > scores[label]! || (scores[j] === scores[label] && j > label)) before++;
    }
    return Number(before < k);
  });
  return weightedMean(hits, sampleWeight);
}

/**
 * The mean of -log(probability of the true class); scikit-learn's `log_loss`. yTrue: 0 or 1 and yProba: the
 * probability of 1 [rows]; or class indices and probabilities [rows, classes]. Probabilities are kept from 0
 * and 1 by the epsilon of their type, as there: 2^-52, or 2^-23 in a Float32Array. Error: rows that do not
 * sum to 1 (scikit-learn warns).
 *
 * @example
 * logLoss([1, 0], [0.5, 0.5]); // 0.6931
 */
export function logLoss(
  yTrue: ArrayLike<number>,
  yProba: ArrayLike<number> | Matrix,
  { sampleWeight }: WeightOptions = {},
): number {
  const rows = probabilitiesOf('logLoss', yTrue, yProba, sampleWeight);
  const epsilon = (isRows(yProba) ? yProba[0] : yProba) instanceof Float32Array ? 2 ** -23 : 2 ** -52;
  const losses = eachRow(yTrue.length, (i) => {
    const p = rows(i, yTrue[i]!);
    return -Math.log(Math.min(Math.max(p, epsilon), 1 - epsilon));
  });
  return weightedMean(losses, sampleWeight);
}

/**
 * The mean squared distance of the probabilities from 1 for the true class and 0 for others; scikit-learn's
 * `brier_score_loss`. Inputs as of `logLoss`. Of two classes it is halved, so that it is (p - y)^2; of more
 * it is a sum over the classes, from 0 to 2, unless `scaleByHalf`. Error: as of `logLoss`.
 *
 * @example
 * brierScore([1, 0], [0.8, 0.4]); // 0.1
 */
export function brierScore(
  yTrue: ArrayLike<number>,
  yProba: ArrayLike<number> | Matrix,
  options: WeightOptions & { readonly scaleByHalf?: boolean } = {},
): number {
  const { sampleWeight } = options;
  const at = probabilitiesOf('brierScore', yTrue, yProba, sampleWeight);
  const classes = isRows(yProba) ? yProba[0]!.length : 2;
  const squares = eachRow(yTrue.length, (i) => {
    let sum = 0;
    for (let j = 0; j < classes; j++) sum += (Number(yTrue[i] === j) - at(i, j)) ** 2;
    return sum;
  });
  return weightedMean(squares, sampleWeight) * ((options.scaleByHalf ?? classes < 3) ? 0.5 : 1);
}

export interface CalibrationOptions {
  /** Bins of equal width; default 15. */
  readonly numBins?: number;
  /**
   * How the gaps of the bins become one: `l1` (default) their mean weighted by rows, the expected calibration
   * error; `l2` the root of the mean square; `max` the largest.
   */
  readonly norm?: 'l1' | 'l2' | 'max';
}

/** The rows whose confidence lies in one range. */
export interface CalibrationBin {
  readonly count: number;
  /** Mean confidence. */
  readonly confidence: number;
  /** Share of the rows that are right. */
  readonly accuracy: number;
}

/**
 * What a reliability diagram shows: bins of confidence that have rows, rising. Inputs as of `logLoss`: of one
 * probability a row, the confidence is that of class 1 and the accuracy the share of class 1; of rows, the
 * highest probability and the share of rows where that class is right.
 *
 * Binning as in torchmetrics: bin i of n is [i / n, (i + 1) / n), and a confidence of exactly 1 has a bin of
 * its own; confidences and edges are rounded to float32.
 *
 * @example
 * calibrationBins([1, 1], [0.9, 0.9], { numBins: 10 }); // [{ count: 2, confidence: 0.9, accuracy: 1 }]
 */
export function calibrationBins(
  yTrue: ArrayLike<number>,
  yProba: ArrayLike<number> | Matrix,
  { numBins = 15 }: Pick<CalibrationOptions, 'numBins'> = {},
): CalibrationBin[] {
  return binsOf('calibrationBins', yTrue, yProba, numBins);
}

/**
 * How far confidence is from accuracy (Guo et al. 2017); torchmetrics' `calibration_error`. Inputs and bins
 * as of `calibrationBins`.
 *
 * @example
 * calibrationError([1, 1], [0.9, 0.9]); // 0.1
 */
export function calibrationError(
  yTrue: ArrayLike<number>,
  yProba: ArrayLike<number> | Matrix,
  options: CalibrationOptions = {},
): number {
  const { numBins = 15, norm = 'l1' } = options;
  const bins = binsOf('calibrationError', yTrue, yProba, numBins);
  const gaps = bins.map(({ accuracy, confidence }) => Math.abs(accuracy - confidence));
  const counts = bins.map(({ count }) => count);
  if (norm === 'max') return Math.max(...gaps);
  if (norm === 'l1') return weightedMean(gaps, counts);
  if (norm === 'l2')
    return Math.sqrt(
      weightedMean(
        gaps.map((gap) => gap ** 2),
        counts,
      ),
    );
  throw new Error(`calibrationError: unknown norm "${String(norm)}"; use l1, l2 or max`);
}

function binsOf(
  op: string,
  yTrue: ArrayLike<number>,
  yProba: ArrayLike<number> | Matrix,
  numBins: number,
): CalibrationBin[] {
  if (!Number.isInteger(numBins) || numBins < 1)
    throw new Error(`${op}: numBins must be a positive integer, got ${numBins}`);
  const at = probabilitiesOf(op, yTrue, yProba);
  const classes = isRows(yProba) ? yProba[0]!.length : 0;
  const edges = binEdges(numBins);
  const [counts, confidences, hits] = threeOf(numBins + 1);
  for (let i = 0; i < yTrue.length; i++) {
    let best = 0;
    for (let j = 1; j < classes; j++) if (at(i, j) > at(i, best)) best = j;
    const confidence = Math.fround(at(i, classes ? best : 1));
    let bin = Math.min(numBins, Math.floor(confidence * numBins));
    while (edges[bin]! > confidence) bin--;
    while (bin < numBins && edges[bin + 1]! <= confidence) bin++;
    counts[bin]!++;
    confidences[bin]! += confidence;
    if (yTrue[i] === (classes ? best : 1)) hits[bin]!++;
  }
  return [...counts.keys()]
    .filter((bin) => counts[bin]! > 0)
    .map((bin) => {
      const count = counts[bin]!;
      return { count, confidence: confidences[bin]! / count, accuracy: hits[bin]! / count };
    });
}

/** 0, 1 / n, ..., 1 in float32, as torch.linspace computes them: from the nearer end. */
function binEdges(numBins: number): Float32Array {
  const step = Math.fround(1 / numBins);
  return Float32Array.from({ length: numBins + 1 }, (_, i) =>
    i < Math.floor((numBins + 1) / 2) ? step * i : 1 - step * (numBins - i),
  );
}

const isRows = (values: ArrayLike<number> | Matrix): values is Matrix => typeof values[0] === 'object';

/** Checks labels and probabilities; returns the probability of a class in a row. */
function probabilitiesOf(
  op: string,
  yTrue: ArrayLike<number>,
  yProba: ArrayLike<number> | Matrix,
  sampleWeight?: ArrayLike<number>,
): (row: number, label: number) => number {
  const rows = checkLengths(op, { yTrue, yProba });
  checkWeights(op, sampleWeight, rows);
  if (isRows(yProba)) {
    const classes = checkDistributions(op, 'yProba', yProba);
    if (classes < 2) throw new Error(`${op}: yProba[0] has 1 column; pass one probability a row, or all classes`);
    checkClasses(op, yTrue, classes);
    return (row, label) => yProba[row]![label]!;
  }
  checkProbabilities(op, 'yProba', yProba);
  checkClasses(op, yTrue, 2);
  return (row, label) => (label === 1 ? yProba[row]! : 1 - yProba[row]!);
}
