import { tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';

/**
 * A whole number for each query and key of `length` tokens, i32 [T, T], that depends on their distance alone:
 * `of` gets the key's place less the query's, and is asked once for each of the 2 T - 1 distances.
 */
export function byDistance(length: number, of: (distance: number) => number): Tensor {
  const own = Int32Array.from({ length: 2 * length - 1 }, (_, i) => of(i - (length - 1)));
  const rows = new Int32Array(length * length);
  for (let query = 0; query < length; query++)
    rows.set(own.subarray(length - 1 - query, 2 * length - 1 - query), query * length);
  return tensor(rows, { shape: [length, length] });
}
