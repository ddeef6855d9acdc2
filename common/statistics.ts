export const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** The middle one of the sorted values, the upper of two; NaN of none. */
export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN;

/** Standard deviation of a sample; NaN of fewer than two numbers. */
export function sampleDeviation(values: readonly number[]): number {
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, x) => sum + (x - middle) ** 2, 0) / (values.length - 1));
}

/**
 * Exponential moving average along the points, free of the pull to 0 at the start (as Adam corrects its
 * moments). `weight` is the share of the past, from 0 (no smoothing) to below 1; points that are not finite
 * are passed over.
 *
 * @example
 * smooth([[0, 1], [1, 4]], 0.5); // [[0, 1], [1, 3]]
 */
export function smooth(points: readonly (readonly [x: number, y: number])[], weight = 0.9): [number, number][] {
  if (!(weight >= 0 && weight < 1)) throw new Error(`smooth: weight must be from 0 to below 1, got ${weight}`);
  let average = 0;
  let mass = 0;
  return points
    .filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y))
    .map(([x, y]) => {
      average = weight * average + (1 - weight) * y;
      mass = weight * mass + (1 - weight);
      return [x, average / mass];
    });
}

/** How numbers are spread; those that are not finite do not count. */
export interface Histogram {
  readonly least: number;
  readonly most: number;
  readonly count: number;
  readonly sum: number;
  /** The sum of their squares. */
  readonly squares: number;
  /** How many lie in each of equal bins from the least to the most. */
  readonly bins: readonly number[];
}

export function histogram(values: ArrayLike<number>, binCount = 40): Histogram {
  let [least, most, count, sum, squares] = [Infinity, -Infinity, 0, 0, 0];
  for (let i = 0; i < values.length; i++) {
    const x = values[i]!;
    if (!Number.isFinite(x)) continue;
    least = Math.min(least, x);
    most = Math.max(most, x);
    count++;
    sum += x;
    squares += x * x;
  }
  const bins = new Array<number>(binCount).fill(0);
  if (count === 0) return { least: 0, most: 0, count, sum, squares, bins };
  const scale = most > least ? binCount / (most - least) : 0;
  for (let i = 0; i < values.length; i++)
    if (Number.isFinite(values[i]!)) bins[Math.min(binCount - 1, Math.floor((values[i]! - least) * scale))]!++;
  return { least, most, count, sum, squares, bins };
}

/** 97.5 % quantiles of Student's t, of 1, 2, ... degrees of freedom. */
const studentT = [
  12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.306, 2.2622, 2.2281, 2.201, 2.1788, 2.1604, 2.1448, 2.1314,
  2.1199, 2.1098, 2.1009, 2.093, 2.086, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
];

/**
 * The mean of a sample and half the width of its interval of 95 % by Student's t; of one number 0. Beyond 31
 * numbers t is the first terms of its expansion around the normal quantile, right to four digits.
 */
export function meanInterval(values: readonly number[]): { readonly middle: number; readonly half: number } {
  const freedom = values.length - 1;
  const middle = mean(values);
  if (freedom < 1) return { middle, half: 0 };
  const t = studentT[freedom - 1] ?? 1.95996 + 2.37227 / freedom + 2.8225 / freedom ** 2;
  return { middle, half: (t * sampleDeviation(values)) / Math.sqrt(values.length) };
}
