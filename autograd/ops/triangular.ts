import { triangular } from '../../kernels/triangular.ts';
import type { TriangularAttrs } from '../../kernels/triangular.ts';
import { defineOp, ShapeError } from '../op.ts';
import type { Op } from '../op.ts';
import { show } from '../shapes.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';

const triangularOp: Op<{ x: Tensor }, { y: Tensor }, TriangularAttrs> = defineOp<
  { x: Tensor },
  { y: Tensor },
  TriangularAttrs
>({
  name: ({ upper }) => (upper ? 'triu' : 'tril'),
  infer({ x }, { upper, diagonal }) {
    const name = upper ? 'triu' : 'tril';
    if (x.shape.length < 2) throw new ShapeError(`${name}: needs a matrix [..., rows, cols], got ${show(x.shape)}`);
    if (!Number.isInteger(diagonal))
      throw new ShapeError(`${name}: the diagonal must be a whole number, got ${diagonal}`);
    return { y: { shape: x.shape, dtype: x.dtype } };
  },
  lower({ emit, contiguous, part }, { x }, { y }, { upper, diagonal }) {
    const moved = (part('r')?.start ?? 0) - (part('c')?.start ?? 0);
    emit(triangular, { x: contiguous(x), y }, { upper, diagonal: diagonal + moved });
  },
  axes: () => ({ of: { x: '...rc', y: '...rc' } }),
  vjp: ({ g, attrs }) => ({ x: apply(triangularOp, { x: g }, attrs).y }),
});

/**
 * Zeroes matrices [..., rows, cols] above a diagonal: 0 is the main one, negative ones lie below it.
 *
 * @example
 * tril(ones(2, 2)); // [[1, 0], [1, 1]]
 */
export function tril(x: Tensor, diagonal = 0): Tensor {
  return apply(triangularOp, { x }, { upper: false, diagonal }).y;
}

/**
 * Zeroes matrices [..., rows, cols] below a diagonal: 0 is the main one, positive ones lie above it.
 *
 * @example
 * triu(ones(2, 2), 1); // [[0, 1], [0, 0]]
 */
export function triu(x: Tensor, diagonal = 0): Tensor {
  return apply(triangularOp, { x }, { upper: true, diagonal }).y;
}
