import type { Reduction } from '../../kernels/reduce.ts';
import { add, input, max, min } from '../../kernels/map/expr.ts';
import type { Expr } from '../../kernels/map/expr.ts';
import { copyTo } from '../copy.ts';
import type { Blocks, Emitter } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { emitMap } from './emit-map.ts';
import { partsOf } from './parts.ts';

const combined: Record<Reduction, Expr> = {
  sum: add(input(0), input(1)),
  max: max(input(0), input(1)),
  min: min(input(0), input(1)),
};

/** y = y combined with x, in place: how results of parts of a reduced axis come together. */
export function accumulate(lowering: Emitter, kind: Reduction, y: Tensor, x: Tensor): void {
  const params = {
    name: `accumulate.${kind}`,
    shape: y.shape,
    operands: [
      { dtype: y.dtype, kind: 'v' as const, layout: y, output: 0 },
      { dtype: x.dtype, kind: 'v' as const, layout: x },
    ],
    outputs: [{ expr: combined[kind], dtype: y.dtype, layout: y }],
    scalars: [],
    compute: y.dtype,
  };
  emitMap(lowering, params, [x, y]);
}

/**
 * Blocks of reductions over `axes`: of kept axes where that suffices, else also of reduced ones, whose
 * results are combined in order. Sums of f16 are kept in f32 until the end.
 */
export function reduceBlocks<A extends { readonly axes: readonly number[] }>(kind: (attrs: A) => Reduction): Blocks<A> {
  return (lowering, [x], [y], attrs) => {
    const { name, target, temporary, scratch, part } = lowering;
    const kept = x!.shape.flatMap((_, axis) => (attrs.axes.includes(axis) ? [] : [axis]));
    const partsInto = (into: Tensor) => {
      const source = { tensor: x!, axes: x!.shape.map((_, axis) => axis) };
      return partsOf(name, target, x!.shape, [source, { tensor: into, axes: kept }], true);
    };
    let total = y!;
    let parts = partsInto(total);
    const splits = parts.some(({ starts }) => attrs.axes.some((axis) => starts[axis]! > 0));
    if (splits && y!.dtype === 'f16') {
      total = temporary(y!.shape, 'f32');
      parts = partsInto(total);
    }
    for (const { starts, tensors } of parts) {
      const [from, into] = tensors as [Tensor, Tensor];
      const first = attrs.axes.every((axis) => starts[axis] === 0);
      const result = first ? into : scratch(into.shape, into.dtype);
      part([from], [result], attrs);
      if (!first) accumulate(lowering, kind(attrs), into, result);
    }
    if (total !== y) copyTo(lowering, total, y!);
  };
}
