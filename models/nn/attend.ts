import { attentionWeights, matmul, repeatHeads, scaledDotProductAttention } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { mergeHeads } from './heads.ts';
import type { Attended, PackedAttentionOptions } from './packed-attention.ts';

/**
 * Attention of queries (B, H, Tq, D) to keys and values (B, Hkv, Tk, D), whose heads H / Hkv neighbouring
 * query heads share (Ainslie et al. 2023), with the heads merged: (B, Tq, H D).
 */
export function attend(q: Tensor, k: Tensor, v: Tensor, options: Omit<PackedAttentionOptions, 'heads'>): Attended {
  const { dropout, outputWeights = false, ...scoring } = options;
  if (outputWeights) {
    const [keys, values] = [repeatHeads(k, q.shape[1]!), repeatHeads(v, q.shape[1]!)]; // (B, H, Tk, D)
    const weights = dropout.forward(attentionWeights(q, keys, scoring)); // (B, H, Tq, Tk)
    return { hidden: mergeHeads(matmul(weights, values)), weights };
  }
  const { p, training } = dropout;
  return { hidden: mergeHeads(scaledDotProductAttention(q, k, v, { ...scoring, dropout: p, training })) };
}
