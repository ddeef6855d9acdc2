import { scalar } from '../../kernels/map/expr.ts';
import { map } from '../../kernels/map/map.ts';
import type { Dtype } from '../../kernels/kernel.ts';
import { defineOp } from '../op.ts';
import type { Lowering } from '../op.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';

/** Writes one value into every element of a freshly made tensor. */
export function fillInto({ emit }: Lowering, y: Tensor, value: number): void {
  const output = { dtype: y.dtype, layout: y, fresh: true };
  emit(map({ name: 'fill', expr: scalar(0), operands: [], scalars: [value], compute: y.dtype, output }), [y]);
}

const fillOp = defineOp<{ shape: readonly number[]; dtype: Dtype; value: number }>({
  name: 'full',
  infer: (_, { shape, dtype }) => [{ shape, dtype }],
  lower: (lowering, _, [y], { value }) => fillInto(lowering, y!, value),
  vjp: 'none',
});

/** A tensor of one value. */
export function fill(shape: readonly number[], dtype: Dtype, value: number): Tensor {
  return apply(fillOp, [], { shape, dtype, value })[0]!;
}
