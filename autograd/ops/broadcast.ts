import { half, input, ne } from '../../kernels/map/expr.ts';
import { broadcastLayout, sizeOf } from '../../kernels/layout.ts';
import type { Dtype } from '../../kernels/kernel.ts';
import { checkDtype, checkOptions, listOf, normaliseAxes, promote, sameShape, show } from '../shapes.ts';
import type { Numbers } from '../shapes.ts';
import { lowerReduce, reduceAxes } from '../lower/reduce.ts';
import { elementwise, fill } from '../lower/elementwise.ts';
import { defineOp, defineView, ShapeError } from '../op.ts';
import { apply, applyView } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { permute } from './movement.ts';
import { reshape } from './reshape.ts';

type Unary = { x: Tensor };
type Result = { y: Tensor };

const same = input(0);
const truth = ne(same, 0);
/** Behind it, in one kernel, the number is what f16 holds. */
const rounded = half(same);

const castOp = defineOp<Unary, Result, { dtype: Dtype }>({
  ...elementwise<Unary, { dtype: Dtype }>('to', ([x], { dtype }) => ({
    expr: dtype === 'bool' ? truth : dtype === 'f16' && x!.dtype === 'f32' ? rounded : same,
    kinds: ['v'],
    scalars: [],
    draws: [],
    compute: x!.dtype,
  })),
  infer: ({ x }, { dtype }) => ({ y: { shape: x.shape, dtype } }),
  vjp: ({ g, specs }) => ({ x: castInOrder(g, specs.x.dtype) }),
});

/**
 * As cast, in the order in which the elements lie: the gradient of a weight that a product read transposed is
 * not copied into another order and back, and the product itself may write it in the other type.
 */
export function castInOrder(x: Tensor, dtype: Dtype): Tensor {
  if (x.isContiguous || x.dtype === dtype) return cast(x, dtype);
  const order = x.strides.map((_, axis) => axis).sort((a, b) => x.strides[b]! - x.strides[a]!);
  const lying = permute(x, order);
  if (!lying.isContiguous) return cast(x, dtype);
  return permute(
    cast(lying, dtype),
    order.map((_, axis) => order.indexOf(axis)),
  );
}

/**
 * Returns x if it has the type, else a converted copy. Floats truncate to integers; all but 0 become true.
 *
 * @example
 * cast(tensor([1.7, 0]), 'i32'); // [1, 0]
 */
export function cast(x: Tensor, dtype: Dtype): Tensor {
  if (x.dtype === dtype) return x;
  checkDtype('to', dtype);
  return apply(castOp, { x }, { dtype }).y;
}

/** y [kept axes] = sum of x over `axes`. */
export const sumOp = defineOp<Unary, Result, { axes: readonly number[]; dtype?: Dtype }>({
  name: 'sum',
  infer: ({ x }, { axes, dtype }) => ({
    y: { shape: x.shape.filter((_, axis) => !axes.includes(axis)), dtype: dtype ?? promote(x.dtype, 'i32') },
  }),
  lower(lowering, { x }, { y }, { axes }) {
    if (x.size === 0) fill(lowering, y, 0);
    else lowerReduce(lowering, 'sum', x, axes, y);
  },
  fuses: { epilogue: true, prologues: ['x'] },
  axes: ({ x }, { axes }) => reduceAxes(x.shape.length, axes, 'sum'),
  autocast: 'f32',
  vjp({ g, specs: { x }, attrs: { axes } }) {
    const kept = x.shape.map((length, axis) => (axes.includes(axis) ? 1 : length));
    return { x: expand(reshape(cast(g, x.dtype), kept), x.shape) };
  },
});

export interface ReduceOptions {
  /** Keeps reduced axes with length 1. */
  readonly keepDims?: boolean;
}

/**
 * Sums over the given axes (default all); the sum of no elements is 0. Booleans are summed as i32.
 *
 * @example
 * sum(tensor([[1, 2], [3, 4]])); // 10
 * sum(tensor([[1, 2], [3, 4]]), 0); // [4, 6]
 */
export function sum(x: Tensor, axes?: number | readonly number[], options: ReduceOptions = {}): Tensor {
  const list = normaliseAxes('sum', axes, x.ndim);
  const keepDims = keepsDims('sum', options);
  const { y } = apply(sumOp, { x }, { axes: list });
  return keepDims ? reshape(y, keptShape(x, list)) : y;
}

/** Returns `keepDims`; throws for options other than it and `names`. */
export function keepsDims(op: string, options: ReduceOptions, ...names: string[]): boolean {
  checkOptions(op, options, ['keepDims', ...names]);
  return options.keepDims ?? false;
}

/** The shape with the reduced axes at length 1. */
export function keptShape(x: Tensor, axes: readonly number[]): number[] {
  return x.shape.map((length, axis) => (axes.includes(axis) ? 1 : length));
}

const expandOp = defineView<{ shape: readonly number[] }>({
  name: 'expand',
  view: (layout, { shape }) => broadcastLayout(layout, shape),
  vjp: ({ g, spec }) => sumTo(g, spec.shape),
});

/**
 * Repeats axes of length 1, and adds leading axes, without copying: [3, 1] `expand(2, -1, 4)` is [2, 3, 4].
 *
 * @example
 * expand(tensor([[1], [2]]), -1, 3); // [[1, 1, 1], [2, 2, 2]]
 */
export function expand(x: Tensor, ...lengths: Numbers): Tensor {
  const shape = listOf(lengths);
  const missing = shape.length - x.ndim;
  const full = shape.map((length, axis) => (length === -1 ? (x.shape[axis - missing] ?? -1) : length));
  const fits =
    missing >= 0 &&
    Number.isSafeInteger(sizeOf(full)) &&
    full.every(
      (length, axis) =>
        Number.isInteger(length) && length >= 0 && [undefined, 1, length].includes(x.shape[axis - missing]),
    );
  if (!fits)
    throw new ShapeError(`expand: ${show(x.shape)} does not expand to ${show(shape)}; only axes of length 1 repeat`);
  return sameShape(full, x.shape) ? x : applyView(expandOp, x, { shape: full });
}

/** Sums g to `shape`, which was broadcast to g's: the adjoint of broadcasting. Rounds once, to `dtype`. */
export function sumTo(g: Tensor, shape: readonly number[], dtype = g.dtype): Tensor {
  if (sameShape(g.shape, shape)) return cast(g, dtype);
  const missing = g.ndim - shape.length;
  const axes = g.shape.flatMap((length, axis) =>
    axis < missing || (shape[axis - missing] === 1 && length !== 1) ? [axis] : [],
  );
  if (axes.length === 0) return reshape(cast(g, dtype), shape);
  const { y } = apply(sumOp, { x: g }, dtype === g.dtype ? { axes } : { axes, dtype });
  return reshape(y, shape);
}
