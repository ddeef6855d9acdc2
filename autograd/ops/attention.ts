import { requireFloat, show } from '../dtypes.ts';
import { ShapeError } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { add, mul } from './arithmetic.ts';
import { where } from './comparison.ts';
import { matmul } from './matmul.ts';
import { transpose } from './movement.ts';
import { dropout as drop } from './random.ts';
import { softmax } from './softmax.ts';
import { tensor } from '../create.ts';

/** Stands for -infinity in masks: a row that may attend to nothing then gives even weights instead of NaN, and f16 can hold it. */
export const maskValue = -30000;

export interface AttentionOptions {
  /** bool (true: attend) or numbers added to the scores; broadcasts to [..., Tq, Tk]. */
  readonly mask?: Tensor;
  /** Let position i attend to positions 0..i only. */
  readonly causal?: boolean;
  /** Probability of dropping an attention weight. */
  readonly dropout?: number;
  readonly training?: boolean;
  /** Default 1 / sqrt(D). */
  readonly scale?: number;
}

/** The attention weights [..., Tq, Tk], each row a distribution, before dropout. */
export function attentionWeights(q: Tensor, k: Tensor, { mask, causal = false, scale }: AttentionOptions = {}): Tensor {
  requireFloat('scaledDotProductAttention', q);
  if (q.ndim < 2 || k.ndim !== q.ndim || q.shape.at(-1) !== k.shape.at(-1)) {
    throw new ShapeError(
      `scaledDotProductAttention: queries ${show(q.shape)} and keys ${show(k.shape)} must agree in their last axis and rank`,
    );
  }
  // Scaling the queries costs less than scaling the scores.
  let scores = matmul(mul(q, scale ?? 1 / Math.sqrt(q.shape.at(-1)!)), transpose(k)); // (..., Tq, Tk)
  if (mask) scores = mask.dtype === 'bool' ? where(mask, scores, maskValue) : add(scores, mask);
  if (causal) scores = where(causalMask(q.shape.at(-2)!, k.shape.at(-2)!), scores, maskValue);
  return softmax(scores);
}

/**
 * softmax(q k^T * scale + mask) v over [..., T, D] (Vaswani et al. 2017, eq. 1), with dropout on the weights.
 */
export function scaledDotProductAttention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor {
  if (v.shape.at(-2) !== k.shape.at(-2)) {
    throw new ShapeError(
      `scaledDotProductAttention: keys ${show(k.shape)} and values ${show(v.shape)} must be equally many`,
    );
  }
  const { dropout = 0, training = true } = options;
  return matmul(drop(attentionWeights(q, k, options), dropout, { training }), v); // (..., Tq, D)
}

/** true where query i may attend to key j: j <= i. */
function causalMask(queries: number, keys: number): Tensor {
  const allowed = new Uint8Array(queries * keys);
  for (let i = 0; i < queries; i++) allowed.fill(1, i * keys, i * keys + Math.min(i + 1, keys));
  return tensor(allowed, { shape: [queries, keys], dtype: 'bool' });
}
