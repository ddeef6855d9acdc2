import { add, arange, embedding, reshape } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { checkRange } from '../transformer/inputs.ts';
import { showShape } from '../names.ts';

/**
 * The vectors at K places of each row: hidden (B, T, D), positions [B, K], from 0 up to T - 1 -> (B, K, D).
 * So that a head computes only what a loss needs, as the original BERT's does (`gather_indexes` in
 * run_pretraining.py). Errors: positions that are not [B, K]; one outside of its row.
 *
 * @example
 * rowsAt(tensor([[[1], [2], [3]]]), tensor([[2, 0]], { dtype: 'i32' })); // [[[3], [1]]]
 */
export function rowsAt(hidden: Tensor, positions: Tensor): Tensor {
  const [batch, length, dim] = hidden.shape as [number, number, number];
  if (positions.ndim !== 2 || positions.shape[0] !== batch)
    throw new Error(
      `maskedPositions is ${showShape(positions.shape)}; places of each of the ${batch} rows are needed, [${batch}, K]`,
    );
  checkRange('masked position', positions, length, 'the row', 'count places from 0 within each row');
  // Places counted through all rows.
  const first = arange(0, batch * length, length, { dtype: 'i32' }); // (B)
  const flat = add(positions, reshape(first, [batch, 1])); // (B, K)
  return embedding(reshape(hidden, [batch * length, dim]), flat); // (B, K, D)
}
