import { checkBeta, meanScores, scoresOf, unknownAverage } from './counts.ts';
import type { Counts, Scores } from './counts.ts';
import type { ClassScores } from './classification.ts';
import { checkIndicators, checkLengths, checkWeights, threeOf } from './rows.ts';
import type { Matrix, WeightOptions } from './rows.ts';
import { scoreTable } from './score-table.ts';

/** How scores of several labels become one; `samples` is the mean over the rows, each scored alone. */
export type MultiLabelAverage = 'micro' | 'macro' | 'weighted' | 'samples';

export interface MultiLabelOptions extends WeightOptions {
  readonly average: MultiLabelAverage;
  /**
   * The score where its denominator is 0; under NaN such labels or rows are left out of averages. Default 0.
   */
  readonly zeroDivision?: number;
  /** How much more recall counts than precision in `f1`; default 1. */
  readonly beta?: number;
}

/**
 * Precision, recall and F1 of rows that may have several labels: yTrue and yPred [rows, labels] of 0 and 1.
 * scikit-learn's `precision_recall_fscore_support` of indicator matrices.
 *
 * @example
 * multiLabelScores([[1, 0], [1, 1]], [[1, 0], [0, 1]], { average: 'micro' }).recall; // 0.6667
 */
export function multiLabelScores(yTrue: Matrix, yPred: Matrix, options: MultiLabelOptions): Scores {
  const { average, beta = 1, sampleWeight } = options;
  checkBeta('multiLabelScores', beta);
  const labels = checkBoth('multiLabelScores', yTrue, yPred, sampleWeight);
  if (average === 'samples') return meanScores(countRows(yTrue, yPred, sampleWeight), options, sampleWeight);
  const counts = countLabels(yTrue, yPred, labels, sampleWeight);
  if (average === 'micro') return scoresOf(counts, options);
  if (average === 'macro') return meanScores(counts, options);
  if (average !== 'weighted') throw unknownAverage('multiLabelScores', average, 'micro, macro, weighted or samples');
  return meanScores(counts, options, supportsOf(counts));
}

/**
 * Precision, recall, F1 and support of each label; scikit-learn's `average=None`.
 *
 * @example
 * perLabelScores([[1, 0], [1, 1]], [[1, 0], [0, 1]]).map(({ recall }) => recall); // [0.5, 1]
 */
export function perLabelScores(
  yTrue: Matrix,
  yPred: Matrix,
  options: Omit<MultiLabelOptions, 'average'> = {},
): ClassScores[] {
  checkBeta('perLabelScores', options.beta ?? 1);
  const labels = checkBoth('perLabelScores', yTrue, yPred, options.sampleWeight);
  const counts = countLabels(yTrue, yPred, labels, options.sampleWeight);
  return counts.map((c) => ({ label: c.label, ...scoresOf([c], options), support: c.support }));
}

/**
 * Share of rows of which all labels are right; scikit-learn's `accuracy_score` of indicator matrices.
 *
 * @example
 * subsetAccuracy([[1, 0], [1, 1]], [[1, 0], [0, 1]]); // 0.5
 */
export function subsetAccuracy(yTrue: Matrix, yPred: Matrix, { sampleWeight }: WeightOptions = {}): number {
  const labels = checkBoth('subsetAccuracy', yTrue, yPred, sampleWeight);
  return rowMean(yTrue, yPred, labels, sampleWeight, (wrong) => Number(wrong === 0));
}

/**
 * Share of labels of all rows that are wrong; scikit-learn's `hamming_loss` of indicator matrices.
 *
 * @example
 * multiLabelHammingLoss([[1, 0], [1, 1]], [[1, 0], [0, 1]]); // 0.25
 */
export function multiLabelHammingLoss(yTrue: Matrix, yPred: Matrix, { sampleWeight }: WeightOptions = {}): number {
  const labels = checkBoth('multiLabelHammingLoss', yTrue, yPred, sampleWeight);
  return rowMean(yTrue, yPred, labels, sampleWeight, (wrong) => wrong / labels);
}

/**
 * A table [[true negatives, false positives], [false negatives, true positives]] for each label;
 * scikit-learn's `multilabel_confusion_matrix`.
 *
 * @example
 * multiLabelConfusionMatrix([[1, 0], [1, 1]], [[1, 0], [0, 1]]); // [[[0, 0], [1, 1]], [[1, 0], [0, 1]]]
 */
export function multiLabelConfusionMatrix(
  yTrue: Matrix,
  yPred: Matrix,
  { sampleWeight }: WeightOptions = {},
): number[][][] {
  const labels = checkBoth('multiLabelConfusionMatrix', yTrue, yPred, sampleWeight);
  let total = 0;
  for (let i = 0; i < yTrue.length; i++) total += sampleWeight ? sampleWeight[i]! : 1;
  return countLabels(yTrue, yPred, labels, sampleWeight).map(({ truePositives, predicted, support }) => [
    [total - predicted - support + truePositives, predicted - truePositives],
    [support - truePositives, truePositives],
  ]);
}

/**
 * Scores of each label and the four averages as an aligned table, line by line as scikit-learn's
 * `classification_report` of indicator matrices. `labels` names the columns.
 *
 * @example
 * console.log(multiLabelReport([[1, 0], [1, 1]], [[1, 0], [0, 1]], { labels: ['news', 'sport'] }));
 */
export function multiLabelReport(
  yTrue: Matrix,
  yPred: Matrix,
  options: { readonly labels: readonly string[]; readonly digits?: number; readonly zeroDivision?: number },
): string {
  const { labels, digits = 2, zeroDivision } = options;
  const columns = checkBoth('multiLabelReport', yTrue, yPred);
  if (labels.length !== columns)
    throw new Error(`multiLabelReport: ${labels.length} names for ${columns} columns; name each column in labels`);
  const each = perLabelScores(yTrue, yPred, { zeroDivision });
  const support = each.reduce((sum, scores) => sum + scores.support, 0);
  const averages = (['micro', 'macro', 'weighted', 'samples'] as const).map((average) => ({
    name: `${average} avg`,
    scores: multiLabelScores(yTrue, yPred, { average, zeroDivision }),
    support,
  }));
  const lines = each.map((scores, i) => ({ name: labels[i]!, scores, support: scores.support }));
  return scoreTable('multiLabelReport', [...lines, null, ...averages], digits);
}

function checkBoth(op: string, yTrue: Matrix, yPred: Matrix, sampleWeight?: ArrayLike<number>): number {
  const rows = checkLengths(op, { yTrue, yPred });
  checkWeights(op, sampleWeight, rows);
  const labels = checkIndicators(op, 'yTrue', yTrue);
  const predicted = checkIndicators(op, 'yPred', yPred);
  if (labels !== predicted) throw new Error(`${op}: yTrue has ${labels} labels a row but yPred has ${predicted}`);
  return labels;
}

/** The counts of each label over the rows. */
function countLabels(yTrue: Matrix, yPred: Matrix, labels: number, sampleWeight?: ArrayLike<number>): Counts[] {
  const [truePositives, predicted, support] = threeOf(labels);
  for (let i = 0; i < yTrue.length; i++) {
    const [truth, prediction, weight] = [yTrue[i]!, yPred[i]!, sampleWeight ? sampleWeight[i]! : 1];
    for (let j = 0; j < labels; j++) {
      if (truth[j]) support[j]! += weight;
      if (prediction[j]) predicted[j]! += weight;
      if (truth[j] && prediction[j]) truePositives[j]! += weight;
    }
  }
  return Array.from(support, (count, label) => ({
    label,
    truePositives: truePositives[label]!,
    predicted: predicted[label]!,
    support: count,
  }));
}

/** The counts of each row over its labels, times its weight: a row of weight 0 has no score. */
function countRows(yTrue: Matrix, yPred: Matrix, sampleWeight?: ArrayLike<number>): Counts[] {
  return Array.from(yTrue, (truth, label) => {
    const [prediction, weight] = [yPred[label]!, sampleWeight ? sampleWeight[label]! : 1];
    const counts = { label, truePositives: 0, predicted: 0, support: 0 };
    for (let j = 0; j < truth.length; j++) {
      if (truth[j]) counts.support += weight;
      if (prediction[j]) counts.predicted += weight;
      if (truth[j] && prediction[j]) counts.truePositives += weight;
    }
    return counts;
  });
}

/** The mean over rows of a function of how many labels are wrong. */
function rowMean(
  yTrue: Matrix,
  yPred: Matrix,
  labels: number,
  sampleWeight: ArrayLike<number> | undefined,
  of: (wrong: number) => number,
): number {
  let [sum, total] = [0, 0];
  for (let i = 0; i < yTrue.length; i++) {
    const weight = sampleWeight ? sampleWeight[i]! : 1;
    let wrong = 0;
    for (let j = 0; j < labels; j++) if (yTrue[i]![j] !== yPred[i]![j]) wrong++;
    sum += weight * of(wrong);
    total += weight;
  }
  return sum / total;
}

const supportsOf = (counts: readonly Counts[]): number[] => counts.map((c) => c.support);
