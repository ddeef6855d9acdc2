import { cast, knownRange, maskValue, mul, ne, reshape, sub } from '../../autograd/index.ts';
import type { Dtype, Tensor } from '../../autograd/index.ts';
import { showShape } from '../names.ts';

/**
 * A mask of keys [B, Tk], or of queries and keys [B, Tq, Tk] (true or nonzero: attend), as what is added to
 * attention scores [B, H, Tq, Tk]: 0 or a large negative number, so that its gradient costs nothing. Made
 * once for all layers; undefined where the host knows that nothing is masked.
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
