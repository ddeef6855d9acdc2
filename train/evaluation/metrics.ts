import { sampleDeviation } from '../../common/statistics.ts';
import { corpusBleu } from '../metrics/bleu.ts';
import { corpusChrf } from '../metrics/chrf.ts';
import type { ChrfOptions } from '../metrics/chrf.ts';
import { f1Score } from '../metrics/classification.ts';
import { matthewsCorrcoef } from '../metrics/agreement.ts';
import { corpusTer } from '../metrics/ter.ts';
import { pythonPattern } from './python-pattern.ts';
import { PythonRandom } from './python-random.ts';

/** What a metric keeps of one row: a score; a sum and its weight; what is right and what was given. */
export type Item =
  | number
  | readonly [sum: number, weight: number]
  | readonly [target: number, choice: number]
  | readonly [reference: string, text: string];

interface Aggregation {
  readonly of: (items: readonly Item[]) => number;
  /** How the standard error is had; undefined: not at all. */
  readonly stderr?: 'mean' | 'bootstrap';
  /** Resamplings at most, where one takes long. */
  readonly mostBootstraps?: number;
}

const mean = (items: readonly Item[]): number =>
  items.reduce<number>((sum, x) => sum + (x as number), 0) / items.length;
const weightedMean = (items: readonly Item[]): number => {
  const [sums, weights] = [0, 1].map((side) =>
    items.reduce<number>((sum, x) => sum + (x as readonly [number, number])[side]!, 0),
  );
  return sums! / weights!;
};

/** Both sides of all rows: what is right, and what was given. */
const sides = <T>(items: readonly Item[]): [T[], T[]] => {
  const pairs = items as readonly unknown[] as readonly (readonly [T, T])[];
  return [pairs.map(([right]) => right), pairs.map(([, given]) => given)];
};
const ofTexts = (score: (texts: string[], references: string[]) => { readonly score: number }) =>
  ({
    of: (items) => {
      const [references, texts] = sides<string>(items);
      return score(texts, references).score;
    },
    stderr: 'bootstrap',
    mostBootstraps: 100,
  }) as const satisfies Aggregation;
const chrf = (options: ChrfOptions) => ofTexts((texts, references) => corpusChrf(texts, references, options));

const aggregations = {
  mean: { of: mean, stderr: 'mean' },
  perplexity: { of: (items) => Math.exp(-mean(items)), stderr: 'bootstrap' },
  weighted_perplexity: { of: (items) => Math.exp(-weightedMean(items)) },
  bits_per_byte: { of: (items) => -weightedMean(items) / Math.LN2 },
  brier_score: { of: mean },
  f1: { of: (items) => f1Score(...sides<number>(items)), stderr: 'bootstrap' },
  matthews_corrcoef: { of: (items) => matthewsCorrcoef(...sides<number>(items)), stderr: 'bootstrap' },
  bleu: ofTexts(corpusBleu),
  chrf: chrf({}),
  'chrf++': chrf({ wordOrder: 2 }),
  ter: ofTexts(corpusTer),
} as const satisfies Record<string, Aggregation>;

/** The metrics by name: how rows become one number, and whether more of it is better. */
const metrics = {
  acc: { aggregation: 'mean', higherIsBetter: true },
  acc_norm: { aggregation: 'mean', higherIsBetter: true },
  acc_bytes: { aggregation: 'mean', higherIsBetter: true },
  acc_mutual_info: { aggregation: 'mean', higherIsBetter: true },
  exact_match: { aggregation: 'mean', higherIsBetter: true },
  brier_score: { aggregation: 'brier_score', higherIsBetter: false },
  f1: { aggregation: 'f1', higherIsBetter: true },
  mcc: { aggregation: 'matthews_corrcoef', higherIsBetter: true },
  bleu: { aggregation: 'bleu', higherIsBetter: true },
  chrf: { aggregation: 'chrf', higherIsBetter: true },
  'chrf++': { aggregation: 'chrf++', higherIsBetter: true },
  ter: { aggregation: 'ter', higherIsBetter: false },
  perplexity: { aggregation: 'perplexity', higherIsBetter: false },
  word_perplexity: { aggregation: 'weighted_perplexity', higherIsBetter: false },
  byte_perplexity: { aggregation: 'weighted_perplexity', higherIsBetter: false },
  bits_per_byte: { aggregation: 'bits_per_byte', higherIsBetter: false },
} as const satisfies Record<string, { aggregation: keyof typeof aggregations; higherIsBetter: boolean }>;

export type MetricName = keyof typeof metrics;
export const metricNames = Object.keys(metrics) as MetricName[];

/** The metrics of each kind of task; the first ones are taken where a task names none. */
export const metricsOf = {
  multiple_choice: {
    default: ['acc', 'acc_norm'],
    more: ['acc_bytes', 'acc_mutual_info', 'exact_match', 'brier_score', 'f1', 'mcc'],
  },
  loglikelihood: { default: ['perplexity', 'acc'], more: [] },
  loglikelihood_rolling: { default: ['word_perplexity', 'byte_perplexity', 'bits_per_byte'], more: [] },
  generate_until: { default: ['exact_match'], more: ['bleu', 'chrf', 'chrf++', 'ter'] },
} as const satisfies Record<string, Readonly<Record<'default' | 'more', readonly MetricName[]>>>;

export const aggregationOf = (metric: MetricName): string => metrics[metric].aggregation;
export const higherIsBetter = (metric: MetricName): boolean => metrics[metric].higherIsBetter;

/** A figure of a task and its standard error, which lm-evaluation-harness calls "N/A" where there is none. */
export interface Figure {
  readonly value: number;
  readonly stderr: number | 'N/A';
}

/**
 * A metric over all rows. The standard error of a mean is s / sqrt(n); that of a perplexity is the standard
 * deviation of `bootstraps` resamplings, drawn as lm-evaluation-harness draws them.
 */
export function aggregate(metric: MetricName, items: readonly Item[], bootstraps: number): Figure {
  const { of, stderr, mostBootstraps = Infinity }: Aggregation = aggregations[metrics[metric].aggregation];
  const value = of(items);
  if (stderr === undefined || items.length < 2 || bootstraps <= 0) return { value, stderr: 'N/A' };
  if (stderr === 'mean')
    return { value, stderr: sampleDeviation(items as readonly number[]) / Math.sqrt(items.length) };
  return { value, stderr: bootstrap(of, items, Math.min(bootstraps, mostBootstraps)) };
}

function bootstrap(of: Aggregation['of'], items: readonly Item[], count: number): number {
  const chunk = Math.min(1000, count);
  const values: number[] = [];
  for (let seed = 0; seed < Math.floor(count / chunk); seed++) {
    const random = new PythonRandom(seed);
    const draw = (): Item => items[Math.floor(random.random() * items.length)]!;
    for (let i = 0; i < chunk; i++) values.push(of(Array.from(items, draw)));
  }
  return sampleDeviation(values);
}

/** A task's figure and how many rows it is of. */
export interface Part extends Figure {
  readonly size: number;
}

/**
 * The mean of tasks' figures, each weighted by its rows or not. Its standard error is pooled:
 * sqrt(sum (n - 1) n s^2 / (N - k) / N) with weights, sqrt(sum s^2) / k without.
 */
export function aggregateGroup(parts: readonly Part[], weightBySize: boolean): Figure {
  const weights = parts.map(({ size }) => (weightBySize ? size : 1));
  const total = weights.reduce((a, b) => a + b, 0);
  const value = parts.reduce((sum, part, i) => sum + part.value * weights[i]!, 0) / total;
  const errors = parts.map(({ stderr }) => stderr);
  if (errors.includes('N/A')) return { value, stderr: 'N/A' };
  const squares = (errors as number[]).map((error) => error ** 2);
  if (!weightBySize) return { value, stderr: Math.sqrt(squares.reduce((a, b) => a + b, 0)) / parts.length };
  const pooled = squares.reduce((sum, square, i) => sum + (parts[i]!.size - 1) * parts[i]!.size * square, 0);
  return { value, stderr: Math.sqrt(pooled / (total - parts.length) / total) };
}

export interface ExactMatchOptions {
  readonly ignore_case?: boolean | undefined;
  readonly ignore_punctuation?: boolean | undefined;
  readonly ignore_numbers?: boolean | undefined;
  readonly regexes_to_ignore?: readonly string[] | undefined;
}

/**
 * Whether two texts are equal once what is ignored is gone from both: first what patterns match, then the
 * rest.
 */
export function exactMatch(text: string, reference: string, options: ExactMatchOptions): boolean {
  const { regexes_to_ignore: patterns = [], ignore_case, ignore_punctuation, ignore_numbers } = options;
  const [a, b] = [text, reference].map((given) => {
    let left = patterns.reduce((rest, pattern) => rest.replace(pythonPattern(pattern), ''), given);
    if (ignore_case) left = left.toLowerCase();
    if (ignore_punctuation) left = left.replace(/[!-/:-@[-`{-~]/g, '');
    return ignore_numbers ? left.replace(/[0-9]/g, '') : left;
  });
  return a === b;
}
