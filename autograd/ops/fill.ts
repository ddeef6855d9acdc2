import { scalar } from '../../kernels/map/expr.ts';
import type { Dtype } from '../../kernels/kernel.ts';
import { elementwise } from '../lower/elementwise.ts';
import { defineOp } from '../op.ts';
import { heldAs } from '../shapes.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';

const constant = scalar(0);

interface FillAttrs {
  readonly shape: readonly number[];
  readonly dtype: Dtype;
  readonly value: number;
}

type None = Record<string, never>;

const fillOp = defineOp<None, { y: Tensor }, FillAttrs>({
  ...elementwise<None, FillAttrs>('full', (_, { dtype, value }) => ({
    expr: constant,
    kinds: [],
    scalars: [value],
    draws: [],
    compute: dtype,
  })),
  infer: (_, { shape, dtype }) => ({ y: { shape, dtype } }),
  vjp: 'none',
});

/** A tensor of one value; `op` names the caller for errors. */
export function fill(op: string, shape: readonly number[], dtype: Dtype, value: number): Tensor {
  return apply(fillOp, {}, { shape, dtype, value: heldAs(op, dtype, value) }).y;
}
