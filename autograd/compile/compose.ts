import { computeType } from '../../kernels/kernel.ts';
import { broadcastLayout, reshapeLayout } from '../../kernels/layout.ts';
import type { Layout } from '../../kernels/layout.ts';
import { constant, input, ne, random, scalar, select, substitute } from '../../kernels/map/expr.ts';
import type { Expr, Kind } from '../../kernels/map/expr.ts';
import type { ElementOperand, ElementOutput } from '../../kernels/map/elements.ts';
import type { Draw } from '../../kernels/random.ts';
import type { Bound, ElementwiseForm, Entry } from '../op.ts';
import type { Storage } from '../storage.ts';
import { isFloat } from '../tensor.ts';
import type { Tensor } from '../tensor.ts';

/** Values that need no memory, such as those of `full`: they become scalars of expressions. */
export type Constants = ReadonlyMap<Storage, number>;

export function elementwiseOf({ op, inputs, outputs, attrs }: Entry): ElementwiseForm | undefined {
  return op.elementwise?.(inputs, attrs, outputs[0]!);
}

/**
 * Whether an entry may share a kernel with others: it is elementwise, computed in f32, and not an integer.
 */
export function composes(entry: Entry): boolean {
  const form = elementwiseOf(entry);
  const y = entry.outputs[0];
  return (
    !!form && !!y && computeType(form.compute) === 'f32' && (isFloat(y.dtype) || form.expr.kind === 'b') && y.size > 0
  );
}

/**
 * Returns the layout of an operand of `entry` over another shape of as many elements, or undefined where
 * strides cannot express it.
 */
export function layoutOver(x: Tensor, entry: Entry, shape: readonly number[]): Layout | undefined {
  const own = entry.outputs[0]!.shape;
  const layout = broadcastLayout(x, own);
  return own.length === shape.length && own.every((length, i) => length === shape[i])
    ? layout
    : reshapeLayout(layout, shape);
}

/** Whether a tensor's elements are those of a whole output, in its row-major order. */
export function isWhole(x: Tensor, size: number): boolean {
  return x.offset === 0 && x.size === size && x.isContiguous;
}

/**
 * Composes the expressions of several entries over one index space. Input 0 is `carried`, the value that the
 * kernel around them computes. `stored` are the results that are written, which may include the carried one.
 */
export function compose(
  entries: readonly Entry[],
  shape: readonly number[],
  carried: Tensor | undefined,
  stored: readonly Tensor[],
  constants: Constants,
): Bound {
  const operands: ElementOperand[] = [];
  const tensors: Tensor[] = [];
  const scalars: number[] = [];
  const draws: Draw[] = [];
  const made = new Map<Storage, Expr>();
  const first = carried ? 1 : 0;
  if (carried) made.set(carried.storage, input(0));

  const operand = (x: Tensor, entry: Entry, kind: Kind): Expr => {
    const layout = layoutOver(x, entry, shape)!;
    const same = (o: ElementOperand, k: number): boolean =>
      tensors[k]!.storage === x.storage &&
      o.kind === kind &&
      o.dtype === x.dtype &&
      o.layout.offset === layout.offset &&
      o.layout.strides.join() === layout.strides.join();
    let at = operands.findIndex(same);
    if (at < 0) {
      at = operands.push({ dtype: x.dtype, kind, layout }) - 1;
      tensors.push(x);
    }
    return input(at + first, kind);
  };
  const addScalar = (value: number): Expr => {
    const at = scalars.findIndex((known) => Object.is(known, value));
    return scalar(at >= 0 ? at : scalars.push(value) - 1);
  };

  for (const entry of entries) {
    const form = elementwiseOf(entry)!;
    const inputs = entry.inputs.map((x, i) => {
      const kind = form.kinds[i]!;
      const value = constants.get(x.storage);
      const expr = value !== undefined ? addScalar(value) : made.get(x.storage);
      return expr ? asKind(expr, kind) : operand(x, entry, kind);
    });
    const numbers = form.scalars.map(addScalar);
    const randoms = form.draws.map((draw) => random(draws.push(draw) - 1));
    const leaf = ({ op, value }: Expr): Expr =>
      ({ input: inputs, scalar: numbers, random: randoms })[op as 'input'][value!]!;
    made.set(entry.outputs[0]!.storage, substitute(form.expr, leaf));
  }
  const outputs = stored.map((y): ElementOutput => ({ expr: made.get(y.storage)!, dtype: y.dtype }));
  return { elements: { shape, operands, outputs, scalars, draws, compute: 'f32' }, operands: tensors, outputs: stored };
}

function asKind(expr: Expr, kind: Kind): Expr {
  if (expr.kind === kind) return expr;
  return kind === 'b' ? ne(expr, 0) : select(expr, constant(1), constant(0));
}
