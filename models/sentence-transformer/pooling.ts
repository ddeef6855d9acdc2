import {
  add,
  arange,
  cast,
  clamp,
  concat,
  div,
  max,
  mul,
  narrow,
  pad,
  reshape,
  select,
  sqrt,
  sub,
  sum,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';

/**
 * What stands for a text as a whole, by sentence-transformers' names: the first token's vector, the last
 * token's, the largest value of each feature, the mean of all tokens, their sum divided by the root of their
 * number, or their mean with the weights 1, 2, 3, ... Special tokens count.
 */
export const poolingModes = ['cls', 'max', 'mean', 'mean_sqrt_len_tokens', 'weightedmean', 'lasttoken'] as const;
export type PoolingMode = (typeof poolingModes)[number];

/** Below every value that a token's vector has. */
const lowest = -3e38;

/** Tokens' vectors (B, T, D), and what counts of them, f32 (B, T, 1): ones, then the zeros of the padding. */
type Pool = (hidden: Tensor, counts: Tensor, skipped: number) => Tensor;

const weighted = (hidden: Tensor, weights: Tensor): Tensor => sum(mul(hidden, weights), 1);
const total = (weights: Tensor): Tensor => clamp(sum(weights, 1), 1e-9);

const pools: Readonly<Record<PoolingMode, Pool>> = {
  cls: (hidden, _, skipped) => select(hidden, 1, skipped),
  max: (hidden, counts) => max(add(mul(hidden, counts), mul(sub(1, counts), lowest)), 1),
  mean: (hidden, counts) => div(weighted(hidden, counts), total(counts)),
  mean_sqrt_len_tokens: (hidden, counts) => div(weighted(hidden, counts), sqrt(total(counts))),
  weightedmean: (hidden, counts) => {
    const length = counts.shape[1]!;
    const places = mul(counts, reshape(arange(1, length + 1, 1), [1, length, 1]));
    return div(weighted(hidden, places), total(places));
  },
  lasttoken: (hidden, counts) => {
    const next = narrow(
      pad(counts, [
        [0, 0],
        [0, 1],
        [0, 0],
      ]),
      1,
      1,
      counts.shape[1]!,
    );
    return weighted(hidden, sub(counts, next));
  },
};

/**
 * One vector for each text, of its tokens' vectors: hidden (B, T, D), mask (B, T) with the padding behind the
 * tokens -> (B, modes x D), the modes one behind the other. The first `skipped` tokens of each text, a
 * prompt, do not count.
 */
export function pool(hidden: Tensor, mask: Tensor, modes: readonly PoolingMode[], skipped = 0): Tensor {
  const [batch, length] = mask.shape as [number, number];
  const whole = reshape(cast(mask, 'f32'), [batch, length, 1]);
  const rest =
    skipped === 0
      ? whole
      : pad(narrow(whole, 1, skipped, length - skipped), [
          [0, 0],
          [skipped, 0],
          [0, 0],
        ]);
  const pooled = modes.map((mode) => {
    // Padding may hold anything, but zeros times it must be zeros for sums, and the place of a token stays.
    return pools[mode](hidden, mode === 'lasttoken' ? whole : rest, skipped);
  });
  return pooled.length === 1 ? pooled[0]! : concat(pooled, -1);
}
