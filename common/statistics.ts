export const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Standard deviation of a sample; NaN of fewer than two numbers. */
export function sampleDeviation(values: readonly number[]): number {
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, x) => sum + (x - middle) ** 2, 0) / (values.length - 1));
}

/**
 * Exponential moving average along the points, free of the pull to 0 at the start (as Adam corrects its
 * moments). `weight` is the share of the past, from 0 (no smoothing) to below 1; points that are not finite
 * are passed over.
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
