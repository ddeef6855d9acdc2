import {
  attentionWeights,
  cast,
  flatten,
  knownRange,
  maskValue,
  matmul,
  mul,
  ne,
  packedAttention,
  permute,
  repeatHeads,
  reshape,
  scaledDotProductAttention,
  slice,
  sub,
} from '../../autograd/index.ts';
import type { Dtype, Tensor } from '../../autograd/index.ts';
import { hookHeads, hookPoint, isPointWanted } from '../hooks/points.ts';
import { showShape } from '../names.ts';
import type { Dropout } from './dropout.ts';

/**
 * (B, T, H * D) -> (B, H, T, D). No copy.
 *
 * @example
 * splitHeads(zeros(1, 5, 16), 2).shape; // [1, 2, 5, 8]
 */
export function splitHeads(x: Tensor, heads: number): Tensor {
  const [batch, length, dim] = x.shape as [number, number, number];
  return permute(reshape(x, [batch, length, heads, dim / heads]), [0, 2, 1, 3]);
}

/**
 * Queries, keys and values that lie side by side, (B, T, 3 * H * D), as three (B, H, T, D). No copy.
 *
 * @example
 * const [q, k, v] = splitPacked(zeros(1, 5, 48), 2);
 * q.shape; // [1, 2, 5, 8]
 */
export function splitPacked(qkv: Tensor, heads: number): [q: Tensor, k: Tensor, v: Tensor] {
  const dim = qkv.shape[2]! / 3;
  const part = (i: number): Tensor => splitHeads(slice(qkv, null, null, [i * dim, (i + 1) * dim]), heads);
  return [part(0), part(1), part(2)];
}

/**
 * Queries, keys and values that lie side by side, (B, T, 3 * H * D) -> (B, T, 3, H, D), as packedAttention
 * takes them. No copy.
 */
export function packedHeads(qkv: Tensor, heads: number): Tensor {
  const [batch, length, dim] = qkv.shape as [number, number, number];
  return reshape(qkv, [batch, length, 3, heads, dim / 3 / heads]);
}

/**
 * (B, H, T, D) -> (B, T, H * D).
 *
 * @example
 * mergeHeads(zeros(1, 2, 5, 8)).shape; // [1, 5, 16]
 */
export function mergeHeads(x: Tensor): Tensor {
  const [batch, heads, length, dim] = x.shape as [number, number, number, number];
  return reshape(permute(x, [0, 2, 1, 3]), [batch, length, heads * dim]);
}

/**
 * A mask of keys [B, Tk], or of queries and keys [B, Tq, Tk] (true or nonzero: attend), as what is added to
 * attention scores [B, H, Tq, Tk]: 0 or a large negative number, so that its gradient costs nothing. Made
 * once for all layers; undefined where the host knows that nothing is masked.
 *
 * @example
 * additiveMask(tensor([[1, 0]], { dtype: 'i32' }), 'f32')?.shape; // [1, 1, 1, 2]
 */
export function additiveMask(mask: Tensor, dtype: Dtype): Tensor | undefined {
  if (mask.ndim !== 2 && mask.ndim !== 3) {
    throw new Error(`an attention mask must be [batch, keys] or [batch, queries, keys], got ${showShape(mask.shape)}`);
  }
  const range = knownRange(mask);
  if (range && range[0] > 0) return undefined;
  const [batch, ...rest] = mask.shape as [number, ...number[]];
  const attend = cast(ne(mask, 0), dtype);
  const shape = rest.length === 1 ? [batch, 1, 1, ...rest] : [batch, 1, ...rest];
  return reshape(mul(sub(attend, 1), -maskValue), shape); // (B, 1, Tq or 1, Tk)
}

/** A part's output, with the attention weights (B, H, T, T) if they were asked for. */
export interface Attended {
  readonly hidden: Tensor;
  readonly weights?: Tensor;
}

export interface PackedAttentionOptions {
  readonly heads: number;
  /** bool (true: attend) or numbers added to the scores; broadcasts to [B, H, T, T]. */
  readonly mask?: Tensor;
  /** Let position i attend to positions 0..i only. */
  readonly causal?: boolean;
  /** Sequences of packed rows, i32 [B, T]; see `scaledDotProductAttention`. */
  readonly documents?: Tensor | undefined;
  /** Factor of the scores. Default: 1 / sqrt(D / H). */
  readonly scale?: number;
  /** Drops attention weights. */
  readonly dropout: Dropout;
  /** Return the weights, as Transformers gives them: after dropout. */
  readonly outputWeights?: boolean;
  /** What the names of its hook points begin with; default attn. */
  readonly part?: AttentionPart | undefined;
}

/** Attention of tokens to themselves, or to an encoder's output. */
export type AttentionPart = 'attn' | 'cross_attn';

/** Queries, keys and values (B, H, T, D) at their hook points. */
export function headPoints(
  [q, k, v]: readonly [q: Tensor, k: Tensor, v: Tensor],
  part: AttentionPart = 'attn',
): [q: Tensor, k: Tensor, v: Tensor] {
  return [hookHeads(`${part}.hook_q`, q), hookHeads(`${part}.hook_k`, k), hookHeads(`${part}.hook_v`, v)];
}

/**
 * Attention of queries (B, H, Tq, D) to keys and values (B, Hkv, Tk, D), whose heads H / Hkv neighbouring
 * query heads share (Ainslie et al. 2023), with the heads merged: (B, Tq, H D).
 *
 * @example
 * const [q, k, v] = [randn(1, 2, 3, 8), randn(1, 2, 5, 8), randn(1, 2, 5, 8)];
 * attend(q, k, v, { dropout: new Dropout(0) }).hidden.shape; // [1, 3, 16]
 */
export function attend(q: Tensor, k: Tensor, v: Tensor, options: Omit<PackedAttentionOptions, 'heads'>): Attended {
  const { dropout, outputWeights = false, part = 'attn', ...scoring } = options;
  const merged = (heads: Tensor): Tensor => mergeHeads(hookHeads(`${part}.hook_z`, heads));
  const pattern = `${part}.hook_pattern`;
  if (outputWeights || isPointWanted(pattern)) {
    const [keys, values] = [repeatHeads(k, q.shape[1]!), repeatHeads(v, q.shape[1]!)]; // (B, H, Tk, D)
    const weights = dropout.forward(hookPoint(pattern, attentionWeights(q, keys, scoring))); // (B, H, Tq, Tk)
    return { hidden: merged(matmul(weights, values)), ...(outputWeights ? { weights } : {}) };
  }
  const { p, training } = dropout;
  return { hidden: merged(scaledDotProductAttention(q, k, v, { ...scoring, dropout: p, training })) };
}

/**
 * Self-attention on queries, keys and values that lie side by side, the output of one projection: qkv (B, T,
 * 3 D) -> (B, T, D).
 *
 * @example
 * const { hidden } = attendPacked(randn(1, 5, 48), { heads: 2, causal: true, dropout: new Dropout(0) });
 * hidden.shape; // [1, 5, 16]
 */
export function attendPacked(qkv: Tensor, options: PackedAttentionOptions): Attended {
  const { heads, ...rest } = options;
  const isApart = isPointWanted('attn.hook_q', 'attn.hook_k', 'attn.hook_v', 'attn.hook_pattern');
  if (rest.outputWeights || isApart) return attend(...headPoints(splitPacked(qkv, heads)), rest);
  const { dropout, outputWeights: _, part: __, ...scoring } = rest;
  const { p, training } = dropout;
  const y = packedAttention(packedHeads(qkv, heads), { ...scoring, dropout: p, training }); // (B, T, H, D/H)
  return { hidden: flatten(hookPoint('attn.hook_z', y), 2) };
}
