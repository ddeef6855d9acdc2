import { checkBeta, checkLabels, countClasses, meanScores, scoresOf, unknownAverage } from './counts.ts';
import type { Counts, ScoreRules, Scores } from './counts.ts';
import { checkWeights } from './rows.ts';
import type { WeightOptions } from './rows.ts';
import { scoreTable } from './score-table.ts';

export type { Scores } from './counts.ts';

/** How scores of several classes become one; as in scikit-learn. */
export type Average = 'binary' | 'micro' | 'macro' | 'weighted';

export interface ScoreOptions extends WeightOptions {
  /** `binary` (default) scores `positiveLabel` alone and refuses more than two classes. */
  readonly average?: Average;
  /** The class that counts as positive under `binary`; default 1. */
  readonly positiveLabel?: number;
  /** Classes are 0..numLabels-1. Without it, the classes are those that occur in yTrue or yPred. */
  readonly numLabels?: number;
  /** The score where its denominator is 0; under NaN such classes are left out of averages. Default 0. */
  readonly zeroDivision?: number;
}

export interface ClassScores extends Scores {
  readonly label: number;
  /** How many examples have this true label; the sum of their weights, where they have some. */
  readonly support: number;
}

/**
 * Share of rows at which yPred equals yTrue. Both: class indices, same length, not empty.
 *
 * @example
 * accuracy([0, 1, 1, 0], [0, 1, 0, 0]); // 0.75
 */
export function accuracy(
  yTrue: ArrayLike<number>,
  yPred: ArrayLike<number>,
  { sampleWeight }: WeightOptions = {},
): number {
  checkLabels('accuracy', yTrue, yPred);
  checkWeights('accuracy', sampleWeight, yTrue.length);
  let [right, total] = [0, 0];
  for (let i = 0; i < yTrue.length; i++) {
    const weight = sampleWeight ? sampleWeight[i]! : 1;
    total += weight;
    if (yTrue[i] === yPred[i]) right += weight;
  }
  return right / total;
}

/**
 * Precision, recall, F1 and support of each class, by ascending label; scikit-learn's `average=None`.
 *
 * @example
 * perClassScores([0, 1, 1, 0], [0, 1, 0, 0]).map(({ recall }) => recall); // [1, 0.5]
 */
export function perClassScores(
  yTrue: ArrayLike<number>,
  yPred: ArrayLike<number>,
  options: Pick<ScoreOptions, 'numLabels' | 'zeroDivision' | 'sampleWeight'> = {},
): ClassScores[] {
  const counts = countClasses('perClassScores', yTrue, yPred, options);
  return counts.map((c) => ({ label: c.label, ...scoresOf([c], options), support: c.support }));
}

/**
 * Precision, recall and F1 by the rules of scikit-learn's `precision_recall_fscore_support`; micro pools the
 * counts, macro takes the mean over classes, weighted the mean weighted by support.
 *
 * @example
 * precisionRecallF1([0, 1, 1, 0], [0, 1, 0, 0]).f1; // 0.6667
 */
export function precisionRecallF1(
  yTrue: ArrayLike<number>,
  yPred: ArrayLike<number>,
  options: ScoreOptions = {},
): Scores {
  return averageScores('precisionRecallF1', yTrue, yPred, options);
}

/**
 * @example
 * precision([0, 1, 1, 0], [0, 1, 0, 0], { average: 'binary' }); // 1
 */
export function precision(yTrue: ArrayLike<number>, yPred: ArrayLike<number>, options: ScoreOptions = {}): number {
  return precisionRecallF1(yTrue, yPred, options).precision;
}

/**
 * @example
 * recall([0, 1, 1, 0], [0, 1, 0, 0], { average: 'binary' }); // 0.5
 */
export function recall(yTrue: ArrayLike<number>, yPred: ArrayLike<number>, options: ScoreOptions = {}): number {
  return precisionRecallF1(yTrue, yPred, options).recall;
}

/**
 * @example
 * f1Score([0, 1, 1, 0], [0, 1, 0, 0], { average: 'binary' }); // 0.6667
 */
export function f1Score(yTrue: ArrayLike<number>, yPred: ArrayLike<number>, options: ScoreOptions = {}): number {
  return precisionRecallF1(yTrue, yPred, options).f1;
}

/**
 * (1 + b^2) P R / (b^2 P + R): `beta` 2 counts recall more, 0.5 precision; scikit-learn's `fbeta_score`.
 *
 * @example
 * fBetaScore([0, 1, 1, 0], [0, 1, 0, 0], { average: 'binary', beta: 2 }); // 0.5556
 */
export function fBetaScore(
  yTrue: ArrayLike<number>,
  yPred: ArrayLike<number>,
  options: ScoreOptions & { readonly beta: number },
): number {
  checkBeta('fBetaScore', options.beta);
  return averageScores('fBetaScore', yTrue, yPred, options).f1;
}

/**
 * Counts [true][predicted], numLabels x numLabels; without numLabels up to the largest label that occurs.
 * `normalize` divides by the sums of the rows (`true`), of the columns (`pred`) or of `all`; 0 / 0 is 0.
 *
 * @example
 * confusionMatrix([0, 1, 1, 0], [0, 1, 0, 0]); // [[2, 0], [1, 1]]
 */
export function confusionMatrix(
  yTrue: ArrayLike<number>,
  yPred: ArrayLike<number>,
  options: WeightOptions & { readonly numLabels?: number; readonly normalize?: 'true' | 'pred' | 'all' } = {},
): number[][] {
  const { sampleWeight, normalize } = options;
  const largest = checkLabels('confusionMatrix', yTrue, yPred, options.numLabels);
  checkWeights('confusionMatrix', sampleWeight, yTrue.length);
  const size = options.numLabels ?? largest + 1;
  const matrix = Array.from({ length: size }, () => new Array<number>(size).fill(0));
  for (let i = 0; i < yTrue.length; i++) matrix[yTrue[i]!]![yPred[i]!]! += sampleWeight ? sampleWeight[i]! : 1;
  if (normalize === undefined) return matrix;
  const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);
  const rows = matrix.map(total);
  const columns = matrix.map((_, j) => total(matrix.map((row) => row[j]!)));
  const divisor = (i: number, j: number): number =>
    normalize === 'true' ? rows[i]! : normalize === 'pred' ? columns[j]! : total(rows);
  return matrix.map((row, i) => row.map((count, j) => count / divisor(i, j) || 0));
}

/**
 * How a classifier of that many classes is scored by one number: two by the scores of class 1, more by their
 * mean over the classes.
 *
 * @example
 * usualAverage(2); // { average: 'binary', numLabels: 2 }
 */
export function usualAverage(numLabels: number): { readonly average: Average; readonly numLabels: number } {
  return { average: numLabels === 2 ? 'binary' : 'macro', numLabels };
}

/**
 * Scores, on yTest, to answer always with yTrain's most frequent label (of several, the smallest).
 *
 * @example
 * majorityBaseline([0, 0, 1], [0, 1]).accuracy; // 0.5
 */
export function majorityBaseline(
  yTrain: ArrayLike<number>,
  yTest: ArrayLike<number> = yTrain,
  options: ScoreOptions = {},
): Scores & { readonly label: number; readonly accuracy: number } {
  const counts = countClasses('majorityBaseline', yTrain, yTrain);
  const { label } = counts.reduce((best, c) => (c.support > best.support ? c : best));
  const yPred = new Array<number>(yTest.length).fill(label);
  return { label, accuracy: accuracy(yTest, yPred), ...precisionRecallF1(yTest, yPred, options) };
}

/**
 * Scores of each class, accuracy and averages as an aligned table, line by line as scikit-learn's
 * `classification_report`. `labels` names the classes 0..n-1; control characters in a name are spelt out.
 * Error: `digits` is not a whole number from 0 to 50.
 *
 * @example
 * console.log(classificationReport([0, 1, 1, 0], [0, 1, 0, 0], { labels: ['ham', 'spam'] }));
 */
export function classificationReport(
  yTrue: ArrayLike<number>,
  yPred: ArrayLike<number>,
  options: { readonly labels: readonly string[]; readonly digits?: number; readonly zeroDivision?: number },
): string {
  const { labels, digits = 2, zeroDivision = 0 } = options;
  const counts = countClasses('classificationReport', yTrue, yPred, { numLabels: labels.length });
  const supports = counts.map((c) => c.support);
  const total = yTrue.length;
  const lines = [
    ...counts.map((c) => ({ name: labels[c.label]!, scores: scoresOf([c], { zeroDivision }), support: c.support })),
    null,
    { name: 'accuracy', scores: { f1: accuracy(yTrue, yPred) }, support: total },
    { name: 'macro avg', scores: meanScores(counts, { zeroDivision }), support: total },
    { name: 'weighted avg', scores: meanScores(counts, { zeroDivision }, supports), support: total },
  ];
  return scoreTable('classificationReport', lines, digits);
}

function averageScores(
  op: string,
  yTrue: ArrayLike<number>,
  yPred: ArrayLike<number>,
  options: ScoreOptions & ScoreRules,
): Scores {
  const { average = 'binary', positiveLabel = 1 } = options;
  const counts = countClasses(op, yTrue, yPred, options);
  if (average === 'binary') return scoresOf([positiveCounts(op, counts, positiveLabel)], options);
  if (average === 'micro') return scoresOf(counts, options);
  if (average === 'macro') return meanScores(counts, options);
  if (average !== 'weighted') throw unknownAverage(op, average, 'binary, micro, macro or weighted');
  return meanScores(
    counts,
    options,
    counts.map((c) => c.support),
  );
}

/** The counts of the positive class, among two; zeros where only another one occurs. */
function positiveCounts(op: string, counts: readonly Counts[], positiveLabel: number): Counts {
  if (counts.length > 2) {
    throw new Error(
      `${op}: average "binary" needs two classes, got ${counts.length}; use average micro, macro or weighted`,
    );
  }
  const positive = counts.find((c) => c.label === positiveLabel);
  const seen = counts.filter((c) => c.support + c.predicted > 0).map((c) => c.label);
  if (!positive && seen.length === 2)
    throw new Error(`${op}: positiveLabel ${positiveLabel} does not occur; the labels are ${seen.join(' and ')}`);
  return positive ?? { label: positiveLabel, truePositives: 0, predicted: 0, support: 0 };
}
