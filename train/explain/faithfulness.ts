// Whether scores of tokens say what the model does: measured by what happens without the tokens.
import { assign, clone, noGrad, scope, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { highest } from '../../common/collections.ts';
import { Random } from '../../common/random.ts';
import { mean } from '../../common/statistics.ts';
import { Embedding } from '../../models/index.ts';
import type { Module } from '../../models/index.ts';
import { areaUnderCurve } from '../metrics/curves.ts';
import { spearman } from '../metrics/regression.ts';
import type { Subject } from './subject.ts';

/** What is asked of scores; each tells more of the same wish, that they are the model's own reasons. */
export interface Faithfulness {
  /**
   * What is lost without the tokens that count most: the mean of f(text) - f(text without them) over 10, 20,
   * 30, 40 and 50% of the tokens (DeYoung et al. 2020, eq. 1). High is good.
   */
  readonly comprehensiveness: number;
  /** What is lost with these tokens alone: the mean of f(text) - f(them) (eq. 2). Low is good. */
  readonly sufficiency: number;
  /**
   * Area under f while tokens are taken away, those that count most first (Petsiuk et al. 2018). Low is good.
   */
  readonly deletion: number;
  /** Area under f while they are put back into the baseline. High is good. */
  readonly insertion: number;
  /**
   * Mean of (sum of the scores of some tokens - f(text) + f(text without them))^2 over random sets of tokens
   * (Yeh et al. 2019, definition 2.1). Low is good; of scores that are no shares of f it says nothing.
   */
  readonly infidelity: number;
}

const shares = [0.1, 0.2, 0.3, 0.4, 0.5];

/** How faithful the scores of a subject's features are, one a feature. */
export async function faithfulness(
  { features: { length: n }, values, output }: Pick<Subject, 'features' | 'values' | 'output'>,
  scores: ArrayLike<number>,
  { samples = 50, seed = 0 }: { readonly samples?: number; readonly seed?: number } = {},
): Promise<Faithfulness> {
  const order = highest(scores, n);
  /** The first k of the order with `bit`, the others with the other. */
  const first = (k: number, bit: number): Uint8Array => {
    const bits = new Uint8Array(n).fill(1 - bit);
    for (const i of order.slice(0, k)) bits[i] = bit;
    return bits;
  };
  const sizes = shares.map((share) => Math.max(1, Math.round(share * n)));
  const steps = Array.from({ length: n + 1 }, (_, k) => k);
  const taken = steps.map((k) => k / n);
  const random = new Random(seed);
  const sets = Array.from({ length: samples }, () => Uint8Array.from({ length: n }, () => random.int(2)));
  const deleted = await values(steps.map((k) => first(k, 0)));
  const inserted = await values(steps.map((k) => first(k, 1)));
  const outputs = await values(sets);
  const errors = sets.map((kept, i) => {
    const claimed = kept.reduce((sum, bit, feature) => sum + (bit ? 0 : scores[feature]!), 0);
    return (claimed - (output - outputs[i]!)) ** 2;
  });
  return {
    comprehensiveness: mean(sizes.map((k) => output - deleted[k]!)),
    sufficiency: mean(sizes.map((k) => output - inserted[k]!)),
    deletion: areaUnderCurve(taken, deleted),
    insertion: areaUnderCurve(taken, inserted),
    infidelity: mean(errors),
  };
}

/** Runs with other values in some parameters, which get their own back, to the bit. */
async function withValues<T>(
  parameters: readonly Tensor[],
  change: (values: Float32Array, random: Random) => void,
  seed: number,
  run: () => Promise<T>,
): Promise<T> {
  const kept = parameters.map((parameter) => noGrad(() => clone(parameter)));
  const random = new Random(seed);
  try {
    for (const parameter of parameters) {
      using _ = scope();
      const values = Float32Array.from(await parameter.data(), Number);
      change(values, random);
      noGrad(() => assign(parameter, tensor(values, { shape: parameter.shape }).to(parameter.dtype)));
    }
    return await run();
  } finally {
    noGrad(() => parameters.forEach((parameter, i) => assign(parameter, kept[i]!)));
  }
}

/**
 * How much scores change, relative to their length, where the embeddings are moved a little: the largest of
 * `samples` draws of uniform noise, of at most `radius` of the table's deviation (max-sensitivity, Yeh et al.
 * 2019, definition 4.1). Low is good.
 */
export async function sensitivity(
  model: Module,
  scoresOf: () => Promise<readonly number[]>,
  { samples = 5, radius = 0.02, seed = 0 } = {},
): Promise<number> {
  const own = await scoresOf();
  const tables = model.modules().flatMap((module) => (module instanceof Embedding ? [module.weight] : []));
  const noisy = (values: Float32Array, random: Random): void => {
    const deviation = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
    for (let i = 0; i < values.length; i++) values[i]! += radius * deviation * (2 * random.uniform() - 1);
  };
  let largest = 0;
  for (let sample = 0; sample < samples; sample++) {
    const moved = await withValues([...new Set(tables)], noisy, seed + sample, scoresOf);
    largest = Math.max(largest, Math.hypot(...moved.map((x, i) => x - own[i]!)) / Math.hypot(...own));
  }
  return largest;
}

/**
 * Spearman's correlation of the scores with those of the same model with its weights shuffled, each parameter
 * within itself (Adebayo et al. 2018). Scores that stay the same without what was learnt do not explain it:
 * near 0 is good.
 */
export async function randomisedCorrelation(
  model: Module,
  scoresOf: () => Promise<readonly number[]>,
  { seed = 0 } = {},
): Promise<number> {
  const own = await scoresOf();
  const shuffled = await withValues(
    model.parameters(),
    (values, random) => void random.shuffle(values),
    seed,
    scoresOf,
  );
  return own.length < 2 ? NaN : spearman(own, shuffled);
}
