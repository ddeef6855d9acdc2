import { cumsumCarry, cumsumRuns } from '../../kernels/cumsum.ts';
import { computeType } from '../../kernels/kernel.ts';
import { sizeOf } from '../../kernels/layout.ts';
import { leadingBlocks } from '../blocks/leading.ts';
import { normaliseAxis, promote } from '../dtypes.ts';
import { defineOp } from '../op.ts';
import type { Lowering, Op } from '../op.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { flip } from './movement.ts';

interface CumsumAttrs {
  readonly axis: number;
}

const cumsumOp: Op<CumsumAttrs> = defineOp<CumsumAttrs>({
  name: 'cumsum',
  infer: ([x]) => [{ shape: x!.shape, dtype: promote(x!.dtype, 'i32') }],
  lower(lowering, [x], [y], { axis }) {
    const [outer, length, inner] = [
      sizeOf(x!.shape.slice(0, axis)),
      x!.shape[axis] ?? 1,
      sizeOf(x!.shape.slice(axis + 1)),
    ];
    scan(lowering, lowering.contiguous(x!), y!, outer, length, inner);
  },
  blocks: leadingBlocks((_, { axis }) => axis),
  vjp: ({ g, attrs: { axis } }) => [flip(cumsum(flip(g, axis), axis), axis)],
});

/** Lines shorter than this are one run: a second pass over them costs more than it wins. */
const longLine = 256;

/**
 * Running sums of x [outer, length, inner], row-major, into y. A long line is cut into runs, whose totals are
 * summed up in turn.
 */
function scan(lowering: Lowering, x: Tensor, y: Tensor, outer: number, length: number, inner: number): void {
  const run = length <= longLine ? length : Math.ceil(Math.sqrt(length));
  const runs = Math.ceil(length / run);
  const params = { outer, length, inner, run, dtype: x.dtype, output: y.dtype, offset: x.offset };
  const totals = lowering.temporary([outer, runs, inner], computeType(y.dtype));
  lowering.emit(cumsumRuns(params), [x, y, totals]);
  if (runs === 1) return;
  const sums = lowering.temporary(totals.shape, totals.dtype);
  scan(lowering, totals, sums, outer, runs, inner);
  lowering.emit(cumsumCarry(params), [sums, y]);
}

/**
 * Running sums along an axis: y[..., i, ...] = x[..., 0, ...] + ... + x[..., i, ...], of the shape of x; the
 * same bits on every run. Booleans and u32 give i32.
 */
export function cumsum(x: Tensor, axis: number): Tensor {
  return apply(cumsumOp, [x], { axis: normaliseAxis('cumsum', axis, x.ndim) })[0]!;
}
