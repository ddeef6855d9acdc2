import { broadcastLayout } from '../kernels/layout.ts';
import type { Dtype } from '../kernels/kernel.ts';
import type { Expr, Kind } from '../kernels/map/expr.ts';
import type { Draw } from '../kernels/random.ts';
import { emitMap } from './blocks/emit-map.ts';
import { nameOf } from './op.ts';
import type { Op, Spec } from './op.ts';

/**
 * What an elementwise op computes, as data: input i of the expression is the op's input i, broadcast to the
 * output.
 */
export interface ElementwiseForm {
  readonly expr: Expr;
  readonly kinds: readonly Kind[];
  readonly scalars: readonly number[];
  readonly draws: readonly Draw[];
  /** Type the numbers are computed in. */
  readonly compute: Dtype;
}

/**
 * The parts of an elementwise op's record that follow from its form: its kernel, and the form itself, so that
 * fusion can compose it with others.
 */
export function elementwise<A>(
  name: Op<A>['name'],
  form: (inputs: readonly Spec[], attrs: A, output: Spec) => ElementwiseForm,
): Required<Pick<Op<A>, 'name' | 'lower' | 'elementwise'>> {
  return {
    name,
    elementwise: form,
    lower(lowering, inputs, [y], attrs) {
      const { expr, kinds, scalars, draws, compute } = form(inputs, attrs, y!);
      const { shape, dtype } = y!;
      const operands = inputs.map((x, i) => ({ dtype: x.dtype, kind: kinds[i]!, layout: broadcastLayout(x, shape) }));
      const outputs = [{ expr, dtype, fresh: true }];
      const params = { name: nameOf({ name }, attrs), shape, operands, outputs, scalars, draws, compute };
      emitMap(lowering, params, [...inputs, y!]);
    },
  };
}
