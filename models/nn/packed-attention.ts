import { attentionWeights, flatten, matmul, packedAttention } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { Dropout } from './dropout.ts';
import { mergeHeads, packedHeads, splitPacked } from './heads.ts';

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
  /** Factor of the scores. Default: 1 / sqrt(D / H). */
  readonly scale?: number;
  /** Drops attention weights. */
  readonly dropout: Dropout;
  /** Return the weights, as Transformers gives them: after dropout. */
  readonly outputWeights?: boolean;
}

/**
 * Self-attention on queries, keys and values that lie side by side, the output of one projection: qkv (B, T,
 * 3 D) -> (B, T, D).
 */
export function attendPacked(qkv: Tensor, options: PackedAttentionOptions): Attended {
  const { heads, dropout, outputWeights = false, ...scoring } = options;
  if (outputWeights) {
    const [q, k, v] = splitPacked(qkv, heads); // (B, H, T, D/H)
    const weights = dropout.forward(attentionWeights(q, k, scoring)); // (B, H, T, T)
    return { hidden: mergeHeads(matmul(weights, v)), weights };
  }
  const { p, training } = dropout;
  const y = packedAttention(packedHeads(qkv, heads), { ...scoring, dropout: p, training }); // (B, T, H, D/H)
  return { hidden: flatten(y, 2) };
}
