// Tokens that leave a classifier on the way, so that its later layers have less to read.
import {
  add,
  argsort,
  arange,
  cast,
  ceil,
  eq,
  lt,
  maskValue,
  maximum,
  mul,
  reshape,
  slice,
  sub,
  sum,
  where,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { brief } from '../../common/printable.ts';
import type { ModelConfig } from '../config.ts';
import { showShape } from '../names.ts';
import { additiveMask } from '../nn/attend.ts';
import type { Attended } from '../nn/attend.ts';
import { rowsAt } from '../nn/rows-at.ts';

/**
 * The share of a text's tokens that goes on behind each layer, `token_retention` of config.json; undefined:
 * all do. Errors, each one line: no list of a share for each layer; a share that is not above 0, at most 1,
 * or above the one before it; off-ramps, too.
 */
export function tokenRetentionOf(config: ModelConfig, layers: number): readonly number[] | undefined {
  const { token_retention: shares, early_exit_entropy: exits } = config.extra;
  if (shares === undefined) return undefined;
  const fail = (what: string): Error => new Error(`token_retention of the config ${what}`);
  if (!Array.isArray(shares) || shares.length !== layers)
    throw fail(`is ${brief(shares)}; give a list of ${layers}, a share of the tokens for each layer`);
  const odd = (shares as unknown[]).findIndex(
    (share, i) => !(typeof share === 'number' && share > 0 && share <= (i === 0 ? 1 : (shares[i - 1] as number))),
  );
  if (odd >= 0)
    throw fail(
      `has ${brief(shares[odd])} for layer ${odd}; give numbers above 0, at most 1, none above the one before`,
    );
  if (exits !== undefined) throw fail('does not go with early_exit_entropy; leave one of them out');
  return shares as number[];
}

/** So many of `count` tokens are a share of them. On the device the same, in f32. */
const kept = (share: number, count: number): number => Math.max(1, Math.ceil(share * count - slack));
/** More than what a product in f32 is too large by, of 8192 tokens at most. */
const slack = 1e-3;

/**
 * The tokens of B texts that are left between layers. Behind the attention of each layer those go that got
 * least of it, summed over heads and tokens (PoWER-BERT, Goyal et al. 2020): of a text of n tokens ceil(share
 * n) go on, however much padding stands behind it. The first token is always among them, padding is not.
 *
 * Errors, each one line: a mask for each query, [B, T, T].
 */
export class TokensLeft {
  readonly #shares: readonly number[];
  readonly #length: number;
  /** What is added to the scores of all tokens, (B, 1, 1, T). */
  readonly #mask: Tensor | undefined;
  /** Tokens of each text as it was, (B, 1); undefined: all T are. */
  readonly #lengths: Tensor | undefined;

  constructor(shares: readonly number[], length: number, mask: Tensor | undefined) {
    if (mask && mask.shape[2] !== 1)
      throw new Error(
        `token_retention: a mask for each query, ${showShape(mask.shape)}, does not say which tokens are padding; ` +
          'give an attentionMask [batch, tokens]',
      );
    this.#shares = shares;
    this.#length = length;
    this.#mask = mask;
    this.#lengths = mask && sum(reshape(isToken(mask), [-1, length]), 1, { keepDims: true });
  }

  /**
   * What is added to the scores of a layer, (B, 1, 1, T'): of what is left in front of it a text's own tokens
   * come first. The layer may run twice, so that this follows from its number alone.
   */
  maskOf(layer: number): Tensor | undefined {
    const [mask, share] = [this.#mask, this.#shareBefore(layer)];
    if (!mask || share === 1) return mask;
    const count = maximum(ceil(sub(mul(this.#lengths!, share), slack)), 1); // (B, 1)
    const stays = lt(arange(0, kept(share, this.#length)), count); // (B, T')
    return additiveMask(cast(stays, 'i32'), mask.dtype);
  }

  /** Whether tokens of some text go behind a layer; if not, it may run as ever. */
  goBehind(layer: number): boolean {
    const [share, before] = [this.#shares[layer]!, this.#shareBefore(layer)];
    return this.#mask ? share < before : kept(share, this.#length) < kept(before, this.#length);
  }

  #shareBefore(layer: number): number {
    return layer === 0 ? 1 : this.#shares[layer - 1]!;
  }

  /**
   * What goes on of hidden (B, T, D), by the attention weights (B, H, T, T) that made it: (B, T', D), the
   * first token, then the others by what they got. `mask`: that of the layer.
   */
  prune(layer: number, mask: Tensor | undefined, { hidden, weights }: Attended): Tensor {
    const [batch, tokens] = hidden.shape as [number, number, number];
    const byQuery = sum(cast(weights!.detach(), 'f32'), 1); // (B, T, T)
    const asks = mask && reshape(isToken(mask), [batch, tokens, 1]);
    const got = sum(asks ? mul(byQuery, asks) : byQuery, 1); // (B, T), at most H T
    const place = arange(0, tokens, 1, { dtype: 'i32' });
    const ranked = where(eq(place, 0), -maskValue, mask ? add(got, reshape(cast(mask, 'f32'), [batch, tokens])) : got);
    const left = kept(this.#shares[layer]!, this.#length);
    const order = slice(argsort(ranked, -1, { descending: true }), null, [0, left]); // (B, T')
    return rowsAt(hidden, order);
  }
}

/** 1 where an additive mask lets tokens be read, else 0. */
const isToken = (mask: Tensor): Tensor => cast(eq(mask, 0), 'f32');
