import { permute, reshape, slice } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';

/** (B, T, H * D) -> (B, H, T, D). No copy. */
export function splitHeads(x: Tensor, heads: number): Tensor {
  const [batch, length, dim] = x.shape as [number, number, number];
  return permute(reshape(x, [batch, length, heads, dim / heads]), [0, 2, 1, 3]);
}

/** Queries, keys and values that lie side by side, (B, T, 3 * H * D), as three (B, H, T, D). No copy. */
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

/** (B, H, T, D) -> (B, T, H * D). */
export function mergeHeads(x: Tensor): Tensor {
  const [batch, heads, length, dim] = x.shape as [number, number, number, number];
  return reshape(permute(x, [0, 2, 1, 3]), [batch, length, heads * dim]);
}
