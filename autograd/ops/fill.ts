import { scalar } from '../../kernels/map/expr.ts';
import type { Dtype } from '../../kernels/kernel.ts';
import { emitMap } from '../blocks/emit-map.ts';
import { elementwise } from '../elementwise.ts';
import { defineOp } from '../op.ts';
import type { Emitter } from '../op.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';

/** Writes one value into every element of a freshly made tensor. */
export function fillInto(lowering: Emitter, y: Tensor, value: number): void {
  const { shape, dtype } = y;
  const outputs = [{ expr: scalar(0), dtype, fresh: true }];
  emitMap(lowering, { name: 'fill', shape, operands: [], outputs, scalars: [value], compute: dtype }, [y]);
}

interface FillAttrs {
  readonly shape: readonly number[];
  readonly dtype: Dtype;
  readonly value: number;
}

const fillOp = defineOp<FillAttrs>({
  ...elementwise<FillAttrs>('full', (_, { dtype, value }) => ({
    expr: scalar(0),
    kinds: [],
    scalars: [value],
    draws: [],
    compute: dtype,
  })),
  infer: (_, { shape, dtype }) => [{ shape, dtype }],
  vjp: 'none',
});

/** A tensor of one value. */
export function fill(shape: readonly number[], dtype: Dtype, value: number): Tensor {
  return apply(fillOp, [], { shape, dtype, value })[0]!;
}
