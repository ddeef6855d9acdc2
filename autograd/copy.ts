import type { Layout } from '../kernels/layout.ts';
import { input } from '../kernels/map/expr.ts';
import { emitMap } from './blocks/emit-map.ts';
import type { Emitter } from './op.ts';
import type { Tensor } from './tensor.ts';

const identity = input(0);

/**
 * Copies a strided tensor into a freshly made row-major one of the same shape, converting it to that one's
 * type.
 */
export function copyTo(lowering: Emitter, x: Tensor, y: Tensor): void {
  copy(lowering, x, x, y, y, true);
}

/** Copies elements of x, addressed by `source`, to a place inside another storage y. */
export function copyInto(lowering: Emitter, x: Tensor, source: Layout, y: Tensor, place: Layout): void {
  copy(lowering, x, source, y, place, false);
}

function copy(lowering: Emitter, x: Tensor, source: Layout, y: Tensor, layout: Layout, fresh: boolean): void {
  const { dtype } = x;
  const params = {
    name: 'copy',
    shape: layout.shape,
    operands: [{ dtype, kind: 'v' as const, layout: source }],
    outputs: [{ expr: identity, dtype: y.dtype, layout, fresh }],
    scalars: [],
    compute: dtype,
  };
  emitMap(lowering, params, [x, y]);
}
