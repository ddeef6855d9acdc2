import { permute, reshape } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';

/** (B, T, H * D) -> (B, H, T, D). No copy. */
export function splitHeads(x: Tensor, heads: number): Tensor {
  const [batch, length, dim] = x.shape as [number, number, number];
  return permute(reshape(x, [batch, length, heads, dim / heads]), [0, 2, 1, 3]);
}

/** (B, H, T, D) -> (B, T, H * D). */
export function mergeHeads(x: Tensor): Tensor {
  const [batch, heads, length, dim] = x.shape as [number, number, number, number];
  return reshape(permute(x, [0, 2, 1, 3]), [batch, length, heads * dim]);
}
