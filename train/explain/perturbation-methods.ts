import { Random } from '../../common/random.ts';
import { jackknife } from './jackknife.ts';
import { leastSquares } from './least-squares.ts';
import { count } from './method.ts';
import type { AttributionMethod, MethodOptions } from './method.ts';

/**
 * The coefficients of a linear model of outputs by kept tokens, near the text: ridge regression with weight
 * 1, rows weighed by exp(-d^2 / 25^2) ^ 1/2 where d is 100 times the cosine distance to the whole text, as in
 * the package lime (Ribeiro et al. 2016).
 */
export function limeScores(kept: readonly Uint8Array[], outputs: ArrayLike<number>): Float64Array {
  const n = kept[0]!.length;
  const weights = kept.map((bits) => {
    const ones = bits.reduce((sum, bit) => sum + bit, 0);
    const distance = 100 * (1 - Math.sqrt(ones / n));
    return Math.sqrt(Math.exp(-((distance / 25) ** 2)));
  });
  // The last column is the intercept, which is not held down.
  const x = kept.map((bits) => Float64Array.of(...bits, 1));
  const ridge = Float64Array.from({ length: n + 1 }, (_, i) => (i < n ? 1 : 0));
  return leastSquares(x, outputs, weights, ridge).slice(0, n);
}

/** The whole text, then texts without 1 to n of their tokens, drawn as in lime. */
function limeSamples(n: number, size: number, random: Random): Uint8Array[] {
  return Array.from({ length: size }, (_, sample) => {
    const bits = new Uint8Array(n).fill(1);
    if (sample > 0) for (const i of random.permutation(n).slice(0, 1 + random.int(n))) bits[i] = 0;
    return bits;
  });
}

const windowOf = ({ window }: MethodOptions): number => count('window', window, 1);

export const perturbationMethods = {
  occlusion: {
    about: 'what changes when a token is taken away (Zeiler and Fergus 2014)',
    evaluations: (n, options) => Math.max(1, n - windowOf(options) + 1),
    async attribute({ features: { length: n }, values, output }, options) {
      const window = windowOf(options);
      if (window > n)
        throw new Error(
          `explain: a window of ${window} tokens is longer than the text, which has ${n}; use a smaller one`,
        );
      const outputs = await values(
        Array.from({ length: n - window + 1 }, (_, at) => new Uint8Array(n).fill(1).fill(0, at, at + window)),
      );
      // The mean over the windows that a token is in.
      const scores = Float64Array.from({ length: n }, (_, i) => {
        const [first, last] = [Math.max(0, i - window + 1), Math.min(i, n - window)];
        return outputs.slice(first, last + 1).reduce((sum, each) => sum + output - each, 0) / (last - first + 1);
      });
      return { scores };
    },
  },
  lime: {
    about: 'a linear model of the output near the text (Ribeiro et al. 2016)',
    evaluations: (_, { evaluations = 1000 }) => evaluations,
    async attribute({ features: { length: n }, values }, { evaluations, seed = 0 }) {
      const kept = limeSamples(n, count('evaluations', evaluations, 1000), new Random(seed));
      const outputs = await values(kept);
      return jackknife(kept.length, 1, (rows) =>
        limeScores(
          rows.map((i) => kept[i]!),
          rows.map((i) => outputs[i]!),
        ),
      );
    },
  },
} as const satisfies Record<string, AttributionMethod>;
