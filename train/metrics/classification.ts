import { fixed, padText, printable, textWidth } from '../../common/printable.ts';

/** How scores of several classes become one; as in scikit-learn. */
export type Average = 'binary' | 'micro' | 'macro' | 'weighted';

export interface ScoreOptions {
  /** `binary` (default) scores `positiveLabel` alone and refuses more than two classes. */
  readonly average?: Average;
  /** The class that counts as positive under `binary`; default 1. */
  readonly positiveLabel?: number;
  /** Classes are 0..numLabels-1. Without it, the classes are those that occur in yTrue or yPred. */
  readonly numLabels?: number;
  /** The score where its denominator is 0; under NaN such classes are left out of averages. Default 0. */
  readonly zeroDivision?: number;
}

export interface Scores {
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
}

export interface ClassScores extends Scores {
  readonly label: number;
  /** How many examples have this true label. */
  readonly support: number;
}

interface Counts {
  readonly label: number;
  readonly truePositives: number;
  readonly predicted: number;
  readonly support: number;
}

/** Share of positions at which yPred equals yTrue. Both: class indices, same length, not empty. */
export function accuracy(yTrue: ArrayLike<number>, yPred: ArrayLike<number>): number {
  checkLabels('accuracy', yTrue, yPred);
  let right = 0;
  for (let i = 0; i < yTrue.length; i++) if (yTrue[i] === yPred[i]) right++;
  return right / yTrue.length;
}

/** Precision, recall, F1 and support of each class, by ascending label; scikit-learn's `average=None`. */
export function perClassScores(
  yTrue: ArrayLike<number>,
  yPred: ArrayLike<number>,
  options: Pick<ScoreOptions, 'numLabels' | 'zeroDivision'> = {},
): ClassScores[] {
  const counts = countClasses('perClassScores', yTrue, yPred, options.numLabels);
  return counts.map((c) => ({ label: c.label, ...scoresOf([c], options.zeroDivision), support: c.support }));
}

/**
 * Precision, recall and F1 by the rules of scikit-learn's `precision_recall_fscore_support`; micro pools the
 * counts, macro takes the mean over classes, weighted the mean weighted by support.
 */
export function precisionRecallF1(
  yTrue: ArrayLike<number>,
  yPred: ArrayLike<number>,
  options: ScoreOptions = {},
): Scores {
  const { average = 'binary', positiveLabel = 1, numLabels, zeroDivision = 0 } = options;
  const counts = countClasses('precisionRecallF1', yTrue, yPred, numLabels);
  if (average === 'binary') return binaryScores(counts, positiveLabel, zeroDivision);
  if (average === 'micro') return scoresOf(counts, zeroDivision);
  if (average !== 'macro' && average !== 'weighted') {
    throw new Error(`precisionRecallF1: unknown average "${String(average)}"; use binary, micro, macro or weighted`);
  }
  return averageScores(counts, average, zeroDivision);
}

export function precision(yTrue: ArrayLike<number>, yPred: ArrayLike<number>, options: ScoreOptions = {}): number {
  return precisionRecallF1(yTrue, yPred, options).precision;
}

export function recall(yTrue: ArrayLike<number>, yPred: ArrayLike<number>, options: ScoreOptions = {}): number {
  return precisionRecallF1(yTrue, yPred, options).recall;
}

export function f1Score(yTrue: ArrayLike<number>, yPred: ArrayLike<number>, options: ScoreOptions = {}): number {
  return precisionRecallF1(yTrue, yPred, options).f1;
}

/** Counts [true][predicted], numLabels x numLabels; without numLabels up to the largest label that occurs. */
export function confusionMatrix(
  yTrue: ArrayLike<number>,
  yPred: ArrayLike<number>,
  options: { readonly numLabels?: number } = {},
): number[][] {
  const largest = checkLabels('confusionMatrix', yTrue, yPred, options.numLabels);
  const size = options.numLabels ?? largest + 1;
  const matrix = Array.from({ length: size }, () => new Array<number>(size).fill(0));
  for (let i = 0; i < yTrue.length; i++) matrix[yTrue[i]!]![yPred[i]!]!++;
  return matrix;
}

/**
 * How a classifier of that many classes is scored by one number: two by the scores of class 1, more by their
 * mean over the classes.
 */
export function usualAverage(numLabels: number): { readonly average: Average; readonly numLabels: number } {
  return { average: numLabels === 2 ? 'binary' : 'macro', numLabels };
}

/** Scores, on yTest, to answer always with yTrain's most frequent label (of several, the smallest). */
export function majorityBaseline(
  yTrain: ArrayLike<number>,
  yTest: ArrayLike<number> = yTrain,
  options: ScoreOptions = {},
): Scores & { readonly label: number; readonly accuracy: number } {
  const counts = countClasses('majorityBaseline', yTrain, yTrain, undefined);
  const { label } = counts.reduce((best, c) => (c.support > best.support ? c : best));
  const yPred = new Array<number>(yTest.length).fill(label);
  return { label, accuracy: accuracy(yTest, yPred), ...precisionRecallF1(yTest, yPred, options) };
}

/**
 * Scores of each class, accuracy and averages as an aligned table, line by line as scikit-learn's
 * `classification_report`. `labels` names the classes 0..n-1; control characters in a name are spelt out.
 * Error: `digits` is not a whole number from 0 to 50.
 */
export function classificationReport(
  yTrue: ArrayLike<number>,
  yPred: ArrayLike<number>,
  options: { readonly labels: readonly string[]; readonly digits?: number; readonly zeroDivision?: number },
): string {
  const { digits = 2, zeroDivision = 0 } = options;
  if (!Number.isInteger(digits) || digits < 0 || digits > 50)
    throw new Error(`classificationReport: digits must be a whole number from 0 to 50, got ${digits}`);
  const labels = options.labels.map(printable);
  const counts = countClasses('classificationReport', yTrue, yPred, labels.length);
  const total = yTrue.length;
  const width = labels.reduce((most, name) => Math.max(most, textWidth(name)), Math.max('weighted avg'.length, digits));
  const show = (value: number): string => (Number.isNaN(value) ? 'nan' : fixed(value, digits));
  const line = (name: string, cells: readonly string[]): string =>
    `${padText(name, width, 'right')} ${cells.map((cell) => ` ${cell.padStart(9)}`).join('')}`;
  const row = (name: string, s: Scores, support: number): string =>
    line(name, [show(s.precision), show(s.recall), show(s.f1), String(support)]);
  return [
    line('', ['precision', 'recall', 'f1-score', 'support']),
    '',
    ...counts.map((c) => row(labels[c.label]!, scoresOf([c], zeroDivision), c.support)),
    '',
    line('accuracy', ['', '', show(accuracy(yTrue, yPred)), String(total)]),
    row('macro avg', averageScores(counts, 'macro', zeroDivision), total),
    row('weighted avg', averageScores(counts, 'weighted', zeroDivision), total),
    '',
  ].join('\n');
}

function binaryScores(counts: readonly Counts[], positiveLabel: number, zeroDivision: number): Scores {
  const seen = counts.filter((c) => c.support + c.predicted > 0).map((c) => c.label);
  if (seen.length > 2 || counts.length > 2) {
    throw new Error(
      `precisionRecallF1: average "binary" needs two classes, got ${counts.length}; ` +
        'use average micro, macro or weighted',
    );
  }
  const positive = counts.find((c) => c.label === positiveLabel);
  if (!positive && seen.length === 2) {
    throw new Error(
      `precisionRecallF1: positiveLabel ${positiveLabel} does not occur; the labels are ${seen.join(' and ')}`,
    );
  }
  return scoresOf([positive ?? { label: positiveLabel, truePositives: 0, predicted: 0, support: 0 }], zeroDivision);
}

/** Scores of the pooled counts. */
function scoresOf(counts: readonly Counts[], zeroDivision = 0): Scores {
  const sum = (of: (c: Counts) => number): number => counts.reduce((total, c) => total + of(c), 0);
  const truePositives = sum((c) => c.truePositives);
  const predicted = sum((c) => c.predicted);
  const support = sum((c) => c.support);
  const ratio = (a: number, b: number): number => (b === 0 ? zeroDivision : a / b);
  return {
    precision: ratio(truePositives, predicted),
    recall: ratio(truePositives, support),
    // 2PR / (P + R) in counts, so that it is defined wherever the class occurs at all.
    f1: ratio(2 * truePositives, predicted + support),
  };
}

function averageScores(counts: readonly Counts[], average: 'macro' | 'weighted', zeroDivision: number): Scores {
  const each = counts.map((c) => scoresOf([c], zeroDivision));
  const mean = (of: (s: Scores) => number): number => {
    const defined = each.map((s, i) => [of(s), counts[i]!.support] as const).filter(([value]) => !Number.isNaN(value));
    const weight = defined.reduce((sum, [, support]) => sum + support, 0);
    // Where no class that has a score has examples, all weigh the same.
    if (average === 'weighted' && weight > 0) return pairwiseSum(defined.map(([value, n]) => value * n)) / weight;
    return pairwiseSum(each.map((s) => of(s) || 0)) / defined.length;
  };
  return { precision: mean((s) => s.precision), recall: mean((s) => s.recall), f1: mean((s) => s.f1) };
}

/** The sum in the order in which NumPy adds, so that the last digit is its too. */
function pairwiseSum(values: readonly number[]): number {
  const { length } = values;
  if (length < 8) return values.reduce((sum, value) => sum + value, 0);
  if (length > 128) {
    const half = length / 2 - ((length / 2) % 8);
    return pairwiseSum(values.slice(0, half)) + pairwiseSum(values.slice(half));
  }
  const sums = values.slice(0, 8);
  const whole = length - (length % 8);
  for (let i = 8; i < whole; i++) sums[i % 8]! += values[i]!;
  const [a, b, c, d, e, f, g, h] = sums as [number, number, number, number, number, number, number, number];
  return values.slice(whole).reduce((sum, value) => sum + value, a + b + (c + d) + (e + f + (g + h)));
}

function countClasses(
  op: string,
  yTrue: ArrayLike<number>,
  yPred: ArrayLike<number>,
  numLabels: number | undefined,
): Counts[] {
  checkLabels(op, yTrue, yPred, numLabels);
  const classes = new Map<number, { label: number; truePositives: number; predicted: number; support: number }>();
  const of = (label: number) => {
    const known = classes.get(label);
    if (known) return known;
    const fresh = { label, truePositives: 0, predicted: 0, support: 0 };
    classes.set(label, fresh);
    return fresh;
  };
  for (let label = 0; label < (numLabels ?? 0); label++) of(label);
  for (let i = 0; i < yTrue.length; i++) {
    of(yTrue[i]!).support++;
    of(yPred[i]!).predicted++;
    if (yTrue[i] === yPred[i]) of(yTrue[i]!).truePositives++;
  }
  return [...classes.values()].sort((a, b) => a.label - b.label);
}

/** Checks lengths and labels; returns the largest label that occurs. */
function checkLabels(op: string, yTrue: ArrayLike<number>, yPred: ArrayLike<number>, numLabels?: number): number {
  if (yTrue.length !== yPred.length) {
    throw new Error(
      `${op}: yTrue has ${yTrue.length} labels but yPred has ${yPred.length}; pass one prediction an example`,
    );
  }
  if (yTrue.length === 0) throw new Error(`${op}: yTrue and yPred are empty; pass at least one example`);
  if (numLabels !== undefined && (!Number.isInteger(numLabels) || numLabels < 1)) {
    throw new Error(`${op}: numLabels must be a positive integer, got ${numLabels}`);
  }
  const limit = numLabels ?? Infinity;
  let largest = 0;
  for (const [name, values] of [
    ['yTrue', yTrue],
    ['yPred', yPred],
  ] as const) {
    for (let i = 0; i < values.length; i++) {
      const label = values[i]!;
      if (!Number.isInteger(label) || label < 0 || label >= limit) {
        const range = numLabels === undefined ? 'an integer from 0 up' : `an integer from 0 to ${numLabels - 1}`;
        throw new Error(`${op}: ${name}[${i}] is ${label}; labels must be ${range}`);
      }
      if (label > largest) largest = label;
    }
  }
  return largest;
}
