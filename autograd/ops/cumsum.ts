import { cumsumCarry, cumsumRuns } from '../../kernels/cumsum.ts';
import { computeType } from '../../kernels/kernel.ts';
import { contiguousLayout, linesOf } from '../../kernels/layout.ts';
import { viewOf } from '../lower/window.ts';
import { normaliseAxis, promote } from '../shapes.ts';
import { defineOp } from '../op.ts';
import type { Lowering, Op } from '../op.ts';
import { leadingAxes } from '../lower/split.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { flip } from './movement.ts';

type Cumsum = Op<{ x: Tensor }, { y: Tensor }, { readonly axis: number }>;

const cumsumOp: Cumsum = defineOp<Cumsum>({
  name: 'cumsum',
  infer: ({ x }) => ({ y: { shape: x.shape, dtype: promote(x.dtype, 'i32') } }),
  lower(lowering, { x }, { y }, { axis }) {
    const { outer, length, inner } = linesOf(x.shape, axis);
    const lines = (t: Tensor): Tensor => viewOf(t, contiguousLayout([outer, length, inner], t.offset));
    scan(lowering, lines(lowering.contiguous(x)), lines(y));
  },
  axes: ({ x }, { axis }) => leadingAxes(axis, { x, y: x }),
  autocast: 'f32',
  vjp: ({ g, attrs: { axis } }) => ({ x: flip(cumsum(flip(g, axis), axis), axis) }),
});

/** Axes shorter than this are one run: a second pass would cost more than it saves. */
const longLine = 256;

/**
 * Writes the running sums of x [outer, length, inner], row-major, to y. A long axis is cut into runs, whose
 * totals are summed in the same way.
 */
function scan(lowering: Lowering<{ x: Tensor }>, x: Tensor, y: Tensor): void {
  const [outer, length, inner] = x.shape as [number, number, number];
  const run = length <= longLine ? length : Math.ceil(Math.sqrt(length));
  const runs = Math.ceil(length / run);
  const totals = lowering.temporary([outer, runs, inner], computeType(y.dtype));
  lowering.emit(cumsumRuns, { x, y, totals }, { run });
  if (runs === 1) return;
  const sums = lowering.temporary(totals.shape, totals.dtype);
  scan(lowering, totals, sums);
  lowering.emit(cumsumCarry, { sums, y }, { run });
}

/**
 * Computes y[..., i, ...] = x[..., 0, ...] + ... + x[..., i, ...] along an axis, in the shape of x, with the
 * same bits on every run (torch.cumsum). Booleans and u32 give i32.
 *
 * @example
 * cumsum(tensor([1, 2, 3]), 0); // [1, 3, 6]
 */
export function cumsum(x: Tensor, axis: number): Tensor {
  return apply(cumsumOp, { x }, { axis: normaliseAxis('cumsum', axis, x.ndim) }).y;
}
