import { unknownAverage } from './counts.ts';
import type { MultiLabelAverage } from './multi-label.ts';
import {
  binarize,
  checkClasses,
  checkDistributions,
  checkFinite,
  checkFiniteRows,
  checkIndicators,
  checkLengths,
  checkWeights,
  columnOf,
  eachRow,
  orderOf,
  pairwiseSum,
  threeOf,
  weightedMean,
} from './rows.ts';
import type { Matrix, WeightOptions } from './rows.ts';

export interface PositiveOptions extends WeightOptions {
  /** The label that the scores are for; all others are negative. Default 1, of at most two labels. */
  readonly positiveLabel?: number;
}

export interface CurveOptions extends PositiveOptions {
  /** Leaves out points that change nothing in a drawing: by default of the ROC curve, as in scikit-learn. */
  readonly dropIntermediate?: boolean;
}

export interface RocCurve {
  /** False and true positive rate where scores from the threshold up count as positive. */
  readonly fpr: Float64Array;
  readonly tpr: Float64Array;
  /** Falling; the first one is Infinity, where nothing is positive. */
  readonly thresholds: Float64Array;
}

export interface PrecisionRecallCurve {
  /** One longer than `thresholds`: the curve ends at precision 1 and recall 0. */
  readonly precision: Float64Array;
  readonly recall: Float64Array;
  /** Rising. */
  readonly thresholds: Float64Array;
}

/**
 * The receiver operating characteristic; scikit-learn's `roc_curve`. yTrue: labels [rows]; yScore: any
 * numbers [rows], higher where the positive label is likelier. A rate is NaN throughout where no row is of
 * its kind. Errors: scores that are NaN or infinite; more than two labels without `positiveLabel`.
 *
 * @example
 * const { fpr, tpr } = rocCurve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]);
 * fpr; // [0, 0, 0.5, 0.5, 1]
 * tpr; // [0, 0.5, 0.5, 1, 1]
 */
export function rocCurve(yTrue: ArrayLike<number>, yScore: ArrayLike<number>, options: CurveOptions = {}): RocCurve {
  const counts = countsAtThresholds('rocCurve', yTrue, yScore, options);
  const bends = (x: Float64Array, i: number): boolean => x[i + 1]! - x[i]! - (x[i]! - x[i - 1]!) !== 0;
  const { fps, tps, thresholds } =
    options.dropIntermediate === false
      ? counts
      : keepPoints(counts, ({ fps, tps }, i) => bends(fps, i) || bends(tps, i));
  const rate = (x: Float64Array): Float64Array => {
    const total = x.at(-1)!;
    return total > 0 ? prepend(0, x).map((value) => value / total) : new Float64Array(x.length + 1).fill(NaN);
  };
  return { fpr: rate(fps), tpr: rate(tps), thresholds: prepend(Infinity, thresholds) };
}

/**
 * Precision against recall; scikit-learn's `precision_recall_curve`. Inputs and errors as of `rocCurve`.
 * Without a positive row, recall is 1 throughout.
 *
 * @example
 * precisionRecallCurve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).recall; // [1, 1, 0.5, 0.5, 0]
 */
export function precisionRecallCurve(
  yTrue: ArrayLike<number>,
  yScore: ArrayLike<number>,
  options: CurveOptions = {},
): PrecisionRecallCurve {
  const counts = countsAtThresholds('precisionRecallCurve', yTrue, yScore, options);
  const changes = ({ tps }: ThresholdCounts, i: number): boolean => tps[i] !== tps[i - 1] || tps[i + 1] !== tps[i];
  return precisionRecallOf(options.dropIntermediate ? keepPoints(counts, changes) : counts);
}

function precisionRecallOf({ fps, tps, thresholds }: ThresholdCounts): PrecisionRecallCurve {
  const total = tps.at(-1)!;
  const precision = tps.map((count, i) => (count + fps[i]! === 0 ? 0 : count / (count + fps[i]!)));
  const recall = tps.map((count) => (total === 0 ? 1 : count / total));
  return {
    precision: prepend(1, precision).reverse(),
    recall: prepend(0, recall).reverse(),
    thresholds: thresholds.slice().reverse(),
  };
}

/**
 * The area under points by the trapezoidal rule; x rises or falls throughout. scikit-learn's `auc`.
 *
 * @example
 * areaUnderCurve([0, 1, 2], [0, 1, 1]); // 1.5
 */
export function areaUnderCurve(x: ArrayLike<number>, y: ArrayLike<number>): number {
  const points = checkLengths('areaUnderCurve', { x, y });
  if (points < 2) throw new Error('areaUnderCurve: an area needs two points at least, got 1');
  const parts = new Float64Array(points - 1);
  let [rises, falls] = [false, false];
  for (let i = 0; i < parts.length; i++) {
    const step = x[i + 1]! - x[i]!;
    if (step > 0) rises = true;
    if (step < 0) falls = true;
    if (rises && falls) throw new Error(`areaUnderCurve: x[${i + 1}] turns back; x must rise or fall throughout`);
    parts[i] = (step * (y[i + 1]! + y[i]!)) / 2;
  }
  return pairwiseSum(parts) * (falls ? -1 : 1);
}

/**
 * The area under the ROC curve of one score a row: the chance that a positive row scores above a negative
 * one, ties half; scikit-learn's `roc_auc_score`. `maxFpr`: of the part up to that false positive rate,
 * scaled so that chance is 0.5 (McClish 1989). NaN where yTrue has one label only. O(n log n). Errors as of
 * `rocCurve`.
 *
 * @example
 * rocAuc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]); // 0.75
 */
export function rocAuc(
  yTrue: ArrayLike<number>,
  yScore: ArrayLike<number>,
  options: PositiveOptions & { readonly maxFpr?: number } = {},
): number {
  const { maxFpr = 1 } = options;
  if (!(maxFpr > 0 && maxFpr <= 1)) throw new Error(`rocAuc: maxFpr must be above 0 and at most 1, got ${maxFpr}`);
  const { fpr, tpr } = rocCurve(yTrue, yScore, options);
  if (maxFpr === 1 || Number.isNaN(fpr[0]) || Number.isNaN(tpr[0])) return areaUnderCurve(fpr, tpr);
  const stop = fpr.findIndex((rate) => rate > maxFpr);
  const share = (maxFpr - fpr[stop - 1]!) / (fpr[stop]! - fpr[stop - 1]!);
  const end = tpr[stop - 1]! + share * (tpr[stop]! - tpr[stop - 1]!);
  const area = areaUnderCurve([...fpr.subarray(0, stop), maxFpr], [...tpr.subarray(0, stop), end]);
  const chance = maxFpr ** 2 / 2;
  return (1 + (area - chance) / (maxFpr - chance)) / 2;
}

/**
 * The area under precision and recall as a sum of steps, without interpolation; scikit-learn's
 * `average_precision_score`. 0 where no row is positive. Errors as of `rocCurve`.
 *
 * @example
 * averagePrecision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]); // 0.8333
 */
export function averagePrecision(
  yTrue: ArrayLike<number>,
  yScore: ArrayLike<number>,
  options: PositiveOptions = {},
): number {
  const { precision, recall } = precisionRecallOf(countsAtThresholds('averagePrecision', yTrue, yScore, options));
  const steps = new Float64Array(precision.length - 1);
  for (let i = 0; i < steps.length; i++) steps[i] = (recall[i]! - recall[i + 1]!) * precision[i]!;
  return Math.max(0, pairwiseSum(steps));
}

/**
 * The area under the ROC curve of several classes; scikit-learn's `roc_auc_score` with `multi_class`. yTrue:
 * class indices [rows]; yScore: their probabilities [rows, classes]. `ovr`: each class against the rest, then
 * the average; `ovo`: each pair of classes, on their rows alone (Hand and Till 2001), weighted by how many
 * rows those are. NaN where a class does not occur, but for weighted, and for ovo, which leave it out.
 * Errors: probabilities that do not sum to 1; weights with ovo.
 *
 * @example
 * const probabilities = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]];
 * multiClassRocAuc([0, 1, 2], probabilities, { multiClass: 'ovr' }); // 1
 */
export function multiClassRocAuc(
  yTrue: ArrayLike<number>,
  yScore: Matrix,
  options: WeightOptions & {
    readonly multiClass: 'ovr' | 'ovo';
    readonly average?: 'micro' | 'macro' | 'weighted';
  },
): number {
  const op = 'multiClassRocAuc';
  const { multiClass, average = 'macro', sampleWeight } = options;
  checkLengths(op, { yTrue, yScore });
  const classes = checkDistributions(op, 'yScore', yScore);
  checkClasses(op, yTrue, classes);
  if (multiClass === 'ovr') {
    if (!['micro', 'macro', 'weighted'].includes(average))
      throw unknownAverage(op, average, 'micro, macro or weighted');
    return multiLabelRocAuc(binarize(yTrue, classes), yScore, { average, sampleWeight });
  }
  if (multiClass !== 'ovo') throw new Error(`${op}: unknown multiClass "${String(multiClass)}"; use ovr or ovo`);
  if (average !== 'macro' && average !== 'weighted') throw unknownAverage(op, average, 'macro or weighted with ovo');
  if (sampleWeight) throw new Error(`${op}: sampleWeight has no meaning with ovo; use ovr`);
  return onePerPair(yTrue, yScore, classes, average);
}

function onePerPair(yTrue: ArrayLike<number>, yScore: Matrix, classes: number, average: 'macro' | 'weighted'): number {
  const rowsOfClass = Array.from({ length: classes }, () => [] as number[]);
  for (let i = 0; i < yTrue.length; i++) rowsOfClass[yTrue[i]!]!.push(i);
  const present = rowsOfClass.flatMap((rows, label) => (rows.length > 0 ? [label] : []));
  const [scores, weights]: [number[], number[]] = [[], []];
  present.forEach((a, at) => {
    for (const b of present.slice(at + 1)) {
      const rows = [...rowsOfClass[a]!, ...rowsOfClass[b]!];
      const areaOf = (label: number): number =>
        rocAuc(
          eachRow(rows.length, (i) => Number(yTrue[rows[i]!] === label)),
          eachRow(rows.length, (i) => yScore[rows[i]!]![label]!),
        );
      scores.push((areaOf(a) + areaOf(b)) / 2);
      weights.push(rows.length);
    }
  });
  return weightedMean(scores, average === 'weighted' ? weights : undefined);
}

export interface MultiLabelScoreOptions extends WeightOptions {
  /** Default macro. */
  readonly average?: MultiLabelAverage;
}

/**
 * The area under the ROC curve of several labels a row; scikit-learn's `roc_auc_score` of an indicator
 * matrix. yTrue [rows, labels] of 0 and 1; yScore: any numbers [rows, labels]. micro takes all cells as one
 * curve, samples one curve a row, weighted counts a label by its positive rows. NaN where one of those has
 * only 0s or only 1s; under weighted, labels without positive rows count nothing, and without any the result
 * is 0.
 *
 * @example
 * multiLabelRocAuc([[1, 0], [0, 1]], [[0.9, 0.2], [0.1, 0.8]]); // 1
 */
export function multiLabelRocAuc(yTrue: Matrix, yScore: Matrix, options: MultiLabelScoreOptions = {}): number {
  return averageOfCurves('multiLabelRocAuc', yTrue, yScore, options, rocAuc);
}

/**
 * As `multiLabelRocAuc`, of the average precision; of classes: of `binarize(yTrue, numLabels)`.
 *
 * @example
 * multiLabelAveragePrecision([[1, 0], [0, 1]], [[0.9, 0.2], [0.1, 0.8]]); // 1
 */
export function multiLabelAveragePrecision(
  yTrue: Matrix,
  yScore: Matrix,
  options: MultiLabelScoreOptions = {},
): number {
  return averageOfCurves('multiLabelAveragePrecision', yTrue, yScore, options, averagePrecision);
}

/**
 * The area under the ROC curve of each label, NaN where it has one kind of row only.
 *
 * @example
 * perLabelRocAuc([[1, 0], [0, 1]], [[0.9, 0.8], [0.1, 0.2]]); // [1, 0]
 */
export function perLabelRocAuc(yTrue: Matrix, yScore: Matrix, options: WeightOptions = {}): number[] {
  const labels = checkCurves('perLabelRocAuc', yTrue, yScore, options.sampleWeight);
  return perColumn(labels, yTrue, yScore, (truth, scores) => rocAuc(truth, scores, options));
}

/**
 * The average precision of each label.
 *
 * @example
 * perLabelAveragePrecision([[1, 0], [0, 1]], [[0.9, 0.8], [0.1, 0.2]]); // [1, 0.5]
 */
export function perLabelAveragePrecision(yTrue: Matrix, yScore: Matrix, options: WeightOptions = {}): number[] {
  const labels = checkCurves('perLabelAveragePrecision', yTrue, yScore, options.sampleWeight);
  return perColumn(labels, yTrue, yScore, (truth, scores) => averagePrecision(truth, scores, options));
}

type CurveScore = (yTrue: ArrayLike<number>, yScore: ArrayLike<number>, options: WeightOptions) => number;

function averageOfCurves(
  op: string,
  yTrue: Matrix,
  yScore: Matrix,
  { average = 'macro', sampleWeight }: MultiLabelScoreOptions,
  score: CurveScore,
): number {
  const labels = checkCurves(op, yTrue, yScore, sampleWeight);
  const columns = (weight?: ArrayLike<number>): number[] =>
    perColumn(labels, yTrue, yScore, (truth, scores) => score(truth, scores, { sampleWeight: weight }));
  if (average === 'macro') return weightedMean(columns(sampleWeight));
  if (average === 'micro') {
    const cells = (of: (row: number, label: number) => number): Float64Array =>
      eachRow(yTrue.length * labels, (i) => of(Math.floor(i / labels), i % labels));
    return score(
      cells((i, j) => yTrue[i]![j]!),
      cells((i, j) => yScore[i]![j]!),
      { sampleWeight: sampleWeight && cells((i) => sampleWeight[i]!) },
    );
  }
  if (average === 'samples') {
    const each = Array.from(yTrue, (row, i) => (sampleWeight?.[i] === 0 ? 0 : score(row, yScore[i]!, {})));
    return weightedMean(each, sampleWeight);
  }
  if (average !== 'weighted') throw unknownAverage(op, average, 'micro, macro, weighted or samples');
  const weights = Array.from({ length: labels }, (_, j) => {
    const truth = columnOf(yTrue, j);
    return pairwiseSum(sampleWeight ? truth.map((value, i) => value * sampleWeight[i]!) : truth);
  });
  if (pairwiseSum(weights) === 0) return 0;
  return weightedMean(
    columns(sampleWeight).map((value, j) => (weights[j] === 0 ? 0 : value)),
    weights,
  );
}

function perColumn(
  labels: number,
  yTrue: Matrix,
  yScore: Matrix,
  score: (truth: Float64Array, scores: Float64Array) => number,
): number[] {
  return Array.from({ length: labels }, (_, j) => score(columnOf(yTrue, j), columnOf(yScore, j)));
}

function checkCurves(op: string, yTrue: Matrix, yScore: Matrix, sampleWeight?: ArrayLike<number>): number {
  const rows = checkLengths(op, { yTrue, yScore });
  checkWeights(op, sampleWeight, rows);
  const labels = checkIndicators(op, 'yTrue', yTrue);
  const scores = checkFiniteRows(op, 'yScore', yScore);
  if (labels !== scores) throw new Error(`${op}: yTrue has ${labels} labels a row but yScore has ${scores}`);
  return labels;
}

interface ThresholdCounts {
  /** False and true positives where scores from each threshold up count as positive. */
  readonly fps: Float64Array;
  readonly tps: Float64Array;
  /** The scores that occur, falling. */
  readonly thresholds: Float64Array;
}

/** Counts at each score that occurs, from the highest down; rows of weight 0 are left out. */
function countsAtThresholds(
  op: string,
  yTrue: ArrayLike<number>,
  yScore: ArrayLike<number>,
  { positiveLabel, sampleWeight }: PositiveOptions,
): ThresholdCounts {
  const rows = checkLengths(op, { yTrue, yScore });
  checkFinite(op, 'yScore', yScore);
  checkWeights(op, sampleWeight, rows);
  const positive = checkPositive(op, yTrue, positiveLabel);
  const sorted = orderOf(eachRow(rows, (i) => -yScore[i]!));
  const order = sampleWeight ? sorted.filter((i) => sampleWeight[i] !== 0) : sorted;
  const [fps, tps, thresholds] = threeOf(order.length);
  let [length, fp, tp] = [0, 0, 0];
  for (let at = 0; at < order.length; at++) {
    const row = order[at]!;
    const weight = sampleWeight ? sampleWeight[row]! : 1;
    if (yTrue[row] === positive) tp += weight;
    else fp += weight;
    const score = yScore[row]!;
    if (at + 1 < order.length && yScore[order[at + 1]!] === score) continue;
    fps[length] = fp;
    tps[length] = tp;
    thresholds[length++] = score;
  }
  return { fps: fps.subarray(0, length), tps: tps.subarray(0, length), thresholds: thresholds.subarray(0, length) };
}

/** Checks the labels; returns the positive one. */
function checkPositive(op: string, yTrue: ArrayLike<number>, positiveLabel: number | undefined): number {
  const seen = new Set<number>();
  for (let i = 0; i < yTrue.length; i++) {
    if (!Number.isInteger(yTrue[i])) throw new Error(`${op}: yTrue[${i}] is ${yTrue[i]}; labels must be integers`);
    seen.add(yTrue[i]!);
    if (seen.size > 2 && positiveLabel === undefined)
      throw new Error(
        `${op}: yTrue[${i}] is a third label, ${yTrue[i]}; say by positiveLabel which the scores are for`,
      );
  }
  const positive = positiveLabel ?? 1;
  if (seen.size > 1 && !seen.has(positive))
    throw new Error(
      `${op}: positiveLabel ${positive} does not occur; the labels are ${[...seen].sort().join(' and ')}`,
    );
  return positive;
}

/** The first point, the last one, and those between for which `isKept` holds. */
function keepPoints(counts: ThresholdCounts, isKept: (counts: ThresholdCounts, i: number) => boolean): ThresholdCounts {
  const last = counts.fps.length - 1;
  const pick = (x: Float64Array): Float64Array => x.filter((_, i) => i === 0 || i === last || isKept(counts, i));
  return { fps: pick(counts.fps), tps: pick(counts.tps), thresholds: pick(counts.thresholds) };
}

function prepend(first: number, rest: Float64Array): Float64Array {
  const values = new Float64Array(rest.length + 1);
  values[0] = first;
  values.set(rest, 1);
  return values;
}
