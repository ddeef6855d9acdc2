import { checkWeights, pairwiseSum } from './rows.ts';

export interface Scores {
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
}

/** What precision and recall of one class, label or row follow from; sums of weights where rows have them. */
export interface Counts {
  readonly label: number;
  readonly truePositives: number;
  readonly predicted: number;
  readonly support: number;
}

export interface ScoreRules {
  /** The score where its denominator is 0; under NaN such classes are left out of averages. Default 0. */
  readonly zeroDivision?: number;
  /** How much more recall counts than precision in `f1`; default 1. */
  readonly beta?: number;
}

/** Scores of the pooled counts. */
export function scoresOf(counts: readonly Counts[], { zeroDivision = 0, beta = 1 }: ScoreRules = {}): Scores {
  const sum = (of: (c: Counts) => number): number => counts.reduce((total, c) => total + of(c), 0);
  const truePositives = sum((c) => c.truePositives);
  const predicted = sum((c) => c.predicted);
  const support = sum((c) => c.support);
  const ratio = (a: number, b: number): number => (b === 0 ? zeroDivision : a / b);
  const [precision, recall] = [ratio(truePositives, predicted), ratio(truePositives, support)];
  if (beta === Infinity) return { precision, recall, f1: recall };
  // (1 + b^2) P R / (b^2 P + R) in counts, so that it is defined wherever the class occurs at all.
  const f1 = ratio((1 + beta ** 2) * truePositives, beta ** 2 * support + predicted);
  return { precision, recall, f1 };
}

/** The mean of the scores of each, weighted by `weights`; NaN ones are left out, with their weights. */
export function meanScores(counts: readonly Counts[], rules: ScoreRules, weights?: ArrayLike<number>): Scores {
  const each = counts.map((c) => scoresOf([c], rules));
  const mean = (of: (s: Scores) => number): number => {
    const defined = each.map((s, i) => [of(s), weights?.[i] ?? 1] as const).filter(([value]) => !Number.isNaN(value));
    const weight = defined.reduce((sum, [, w]) => sum + w, 0);
    if (weights && weight > 0) return pairwiseSum(defined.map(([value, w]) => value * w)) / weight;
    // Without weights, and where all that has a score weighs 0, all weigh the same.
    return pairwiseSum(each.map((s) => of(s) || 0)) / defined.length;
  };
  return { precision: mean((s) => s.precision), recall: mean((s) => s.recall), f1: mean((s) => s.f1) };
}

/** The counts of each class, by ascending label: of 0 to numLabels - 1, or else of those that occur. */
export function countClasses(
  op: string,
  yTrue: ArrayLike<number>,
  yPred: ArrayLike<number>,
  { numLabels, sampleWeight }: { readonly numLabels?: number; readonly sampleWeight?: ArrayLike<number> } = {},
): Counts[] {
  checkLabels(op, yTrue, yPred, numLabels);
  checkWeights(op, sampleWeight, yTrue.length);
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
    const weight = sampleWeight ? sampleWeight[i]! : 1;
    of(yTrue[i]!).support += weight;
    of(yPred[i]!).predicted += weight;
    if (yTrue[i] === yPred[i]) of(yTrue[i]!).truePositives += weight;
  }
  return [...classes.values()].sort((a, b) => a.label - b.label);
}

/** Checks lengths and labels; returns the largest label that occurs. */
export function checkLabels(
  op: string,
  yTrue: ArrayLike<number>,
  yPred: ArrayLike<number>,
  numLabels?: number,
): number {
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

/** Refuses a beta that is no weight. */
export function checkBeta(op: string, beta: number): void {
  if (!(beta >= 0)) throw new Error(`${op}: beta must be a number from 0 up, got ${beta}`);
}

/** The error of an average that is not among those of a function. */
export function unknownAverage(op: string, average: unknown, known: string): Error {
  return new Error(`${op}: unknown average "${String(average)}"; use ${known}`);
}
