import { erf } from '../../common/erf.ts';
import { Random } from '../../common/random.ts';
import { pairwiseSum, weightedMean } from './rows.ts';

/**
 * A metric of some rows, by their numbers, of which some may come twice: `(rows) => f1Score(takeRows(yTrue,
 * rows), takeRows(yPred, rows))`. Metrics of a corpus, such as BLEU, add up the counts of the rows.
 */
export type RowMetric = (rows: Int32Array) => number;

/**
 * The mean of one result a row, as a metric of rows.
 *
 * @example
 * meanOf([1, 2, 6])(Int32Array.of(0, 2)); // 3.5
 */
export function meanOf(values: ArrayLike<number>): RowMetric {
  return (rows) => {
    let sum = 0;
    for (const row of rows) sum += values[row]!;
    return sum / rows.length;
  };
}

export interface BootstrapOptions {
  /** `BCa` (default) corrects bias and skew, by one more metric a row; `percentile` takes the quantiles. */
  readonly method?: 'BCa' | 'percentile' | 'basic';
  /** Default 0.95. */
  readonly confidenceLevel?: number;
  /** Default 9999. */
  readonly resamples?: number;
  /** Equal seeds give equal intervals, on every machine. Default 0. */
  readonly seed?: number;
}

export interface ConfidenceInterval {
  /** The metric of all rows. */
  readonly estimate: number;
  readonly low: number;
  readonly high: number;
  /** Standard deviation of the metric over the resamples. */
  readonly standardError: number;
  /** In how many resamples the metric was NaN; then so are low and high. */
  readonly undefinedResamples: number;
}

/**
 * How far a metric would vary with other rows of the same kind: its confidence interval by resampling the
 * rows with replacement (Efron and Tibshirani 1993); of the same resamples, equal to scipy's
 * `stats.bootstrap`. Where all resamples give one value, BCa is NaN, as there; `percentile` is that value.
 * Example: `bootstrap(yTrue.length, (rows) => accuracy(takeRows(yTrue, rows), takeRows(yPred, rows)))`.
 * Error: fewer than two rows.
 *
 * @example
 * const { estimate, low, high } = bootstrap(4, meanOf([1, 2, 3, 4]), { seed: 0 });
 * estimate; // 2.5
 * low < estimate && estimate < high; // true
 */
export function bootstrap(rows: number, metric: RowMetric, options: BootstrapOptions = {}): ConfidenceInterval {
  const { method = 'BCa', confidenceLevel = 0.95, resamples = 9999, seed = 0 } = options;
  checkCounts('bootstrap', rows, resamples);
  if (!(confidenceLevel > 0 && confidenceLevel < 1))
    throw new Error(`bootstrap: confidenceLevel must be between 0 and 1, got ${confidenceLevel}`);
  if (method !== 'BCa' && method !== 'percentile' && method !== 'basic')
    throw new Error(`bootstrap: unknown method "${String(method)}"; use BCa, percentile or basic`);
  const all = Int32Array.from({ length: rows }, (_, row) => row);
  const estimate = metric(all);
  const values = Float64Array.from({ length: resamples }, (_, i) => metric(drawRows(rows, seed, i)));
  const undefinedResamples = values.filter(Number.isNaN).length;
  const tail = (1 - confidenceLevel) / 2;
  const [from, to] = method === 'BCa' ? bcaTails(metric, all, estimate, values, tail) : [tail, 1 - tail];
  const sorted = values.slice().sort();
  const [low, high] = undefinedResamples > 0 ? [NaN, NaN] : [quantile(sorted, from), quantile(sorted, to)];
  const mean = weightedMean(values);
  const standardError = Math.sqrt(pairwiseSum(values.map((value) => (value - mean) ** 2)) / (resamples - 1));
  const bounds = method === 'basic' ? { low: 2 * estimate - high, high: 2 * estimate - low } : { low, high };
  return { estimate, ...bounds, standardError, undefinedResamples };
}

/** Where the quantiles of the BCa interval are: the tails, moved by bias and acceleration (Efron 1987). */
function bcaTails(
  metric: RowMetric,
  all: Int32Array,
  estimate: number,
  values: Float64Array,
  tail: number,
): [number, number] {
  const below = values.reduce((count, value) => count + Number(value < estimate) + Number(value <= estimate), 0);
  const bias = normalQuantile(below / (2 * values.length));
  const without = new Int32Array(all.length - 1);
  const jackknife = Float64Array.from(all, (row) => {
    without.set(all.subarray(0, row));
    without.set(all.subarray(row + 1), row);
    return metric(without);
  });
  const mean = weightedMean(jackknife);
  const influence = jackknife.map((value) => (all.length - 1) * (mean - value));
  const moment = (power: number): number => pairwiseSum(influence.map((x) => x ** power)) / all.length ** power;
  const acceleration = moment(3) / 6 / moment(2) ** 1.5;
  const moved = (z: number): number => normalCdf(bias + (bias + z) / (1 - acceleration * (bias + z)));
  const z = normalQuantile(tail);
  return [moved(z), moved(-z)];
}

export interface SignificanceOptions {
  /**
   * `bootstrap` (default): rows drawn with replacement, the same ones for both; `randomisation`: the two
   * answers to a row change sides by the toss of a coin.
   */
  readonly method?: 'bootstrap' | 'randomisation';
  /** Default 1000 of bootstrap, 10000 of randomisation, as in sacrebleu. */
  readonly resamples?: number;
  /** Equal seeds give equal results, on every machine. Default 0. */
  readonly seed?: number;
}

export interface Significance {
  readonly first: number;
  readonly second: number;
  /** second - first. */
  readonly difference: number;
  /** How often chance alone makes a difference that large, either way. */
  readonly pValue: number;
}

/**
 * Whether two systems differ on the same rows, by the metric of each; of the same draws, equal to sacrebleu's
 * `--paired-bs` (Koehn 2004) and `--paired-ar` (Riezler and Maxwell 2005). The metric is of 2 x rows rows:
 * row i is the first system's answer to row i, row `rows` + i the second's. Example: with `truth = [...yTrue,
 * ...yTrue]` and `answers = [...first, ...second]`, `pairedSignificance(yTrue.length, (rows) =>
 * f1Score(takeRows(truth, rows), takeRows(answers, rows)))`. Errors: fewer than two rows; a metric that is
 * NaN, of all rows or of a resample.
 *
 * @example
 * const [first, second] = [meanOf([0, 1, 0, 1]), meanOf([1, 1, 1, 1])];
 */
export function pairedSignificance(rows: number, metric: RowMetric, options: SignificanceOptions = {}): Significance {
  const { method = 'bootstrap', seed = 0 } = options;
  if (method !== 'bootstrap' && method !== 'randomisation')
    throw new Error(`pairedSignificance: unknown method "${String(method)}"; use bootstrap or randomisation`);
  const { resamples = method === 'bootstrap' ? 1000 : 10_000 } = options;
  checkCounts('pairedSignificance', rows, resamples);
  const defined = (value: number, where: string): number => {
    if (Number.isNaN(value))
      throw new Error(`pairedSignificance: the metric of ${where} is NaN; take one that any rows define`);
    return value;
  };
  const [first, second] = [0, rows].map((offset) =>
    defined(metric(Int32Array.from({ length: rows }, (_, row) => row + offset)), 'all rows'),
  ) as [number, number];
  const differences = Float64Array.from({ length: resamples }, (_, i) => {
    const [a, b] = method === 'bootstrap' ? drawPairs(rows, seed, i) : swapRows(rows, seed, i);
    return Math.abs(defined(metric(b) - metric(a), `resample ${i}`));
  });
  // The resampled differences spread around the true one, the randomised ones around 0.
  const centre = method === 'bootstrap' ? weightedMean(differences) : 0;
  const larger = differences.filter((value) => value - centre > Math.abs(second - first)).length;
  return { first, second, difference: second - first, pValue: (larger + 1) / (resamples + 1) };
}

/** As many rows as there are, drawn with replacement; draw i of a seed is the same for every metric. */
function drawRows(rows: number, seed: number, i: number): Int32Array {
  const random = new Random(seed, i);
  const drawn = new Int32Array(rows);
  for (let at = 0; at < rows; at++) drawn[at] = random.int(rows);
  return drawn;
}

function drawPairs(rows: number, seed: number, i: number): [Int32Array, Int32Array] {
  const drawn = drawRows(rows, seed, i);
  return [drawn, drawn.map((row) => row + rows)];
}

function swapRows(rows: number, seed: number, i: number): [Int32Array, Int32Array] {
  const random = new Random(seed, i);
  const [a, b] = [new Int32Array(rows), new Int32Array(rows)];
  for (let row = 0; row < rows; row++) {
    const swapped = random.int(2);
    a[row] = row + swapped * rows;
    b[row] = row + (1 - swapped) * rows;
  }
  return [a, b];
}

/** Between the two values around place p (n - 1), by its fraction; numpy's `linear`. */
function quantile(sorted: Float64Array, p: number): number {
  const place = p * (sorted.length - 1);
  const [down, up] = [sorted[Math.floor(place)] ?? NaN, sorted[Math.ceil(place)] ?? NaN];
  return down + (up - down) * (place - Math.floor(place));
}

const normalCdf = (x: number): number => (1 + erf(x / Math.SQRT2)) / 2;

/** Where the normal distribution has p below, by halving an interval. */
function normalQuantile(p: number): number {
  if (p === 0 || p === 1) return p === 0 ? -Infinity : Infinity;
  if (!(p <= 0.5)) return -normalQuantile(1 - p);
  let [low, high] = [-9, 0];
  for (let i = 0; i < 64; i++) {
    const middle = (low + high) / 2;
    if (normalCdf(middle) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

function checkCounts(op: string, rows: number, resamples: number): void {
  if (!Number.isInteger(rows) || rows < 2) throw new Error(`${op}: rows must be an integer from 2 up, got ${rows}`);
  if (!Number.isInteger(resamples) || resamples < 2)
    throw new Error(`${op}: resamples must be an integer from 2 up, got ${resamples}`);
}
