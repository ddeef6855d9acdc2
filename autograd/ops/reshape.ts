import { reshapeLayout, sizeOf } from '../../kernels/layout.ts';
import { input } from '../../kernels/map/expr.ts';
import { listOf, normaliseAxis, sameShape, show } from '../shapes.ts';
import type { Numbers } from '../shapes.ts';
import { elementwise } from '../lower/elementwise.ts';
import { defineOp, defineView, ShapeError } from '../op.ts';
import { apply, applyView } from '../tape.ts';
import type { Tensor } from '../tensor.ts';

const same = input(0);

const copyOp = defineOp<{ x: Tensor }, { y: Tensor }, null>({
  ...elementwise<{ x: Tensor }, null>('clone', ([x]) => ({
    expr: same,
    kinds: ['v'],
    scalars: [],
    draws: [],
    compute: x!.dtype,
  })),
  infer: ({ x }) => ({ y: { shape: x.shape, dtype: x.dtype } }),
  vjp: ({ g }) => ({ x: g }),
});

/**
 * Copies x into memory of its own, in row-major order. The gradient passes through.
 *
 * @example
 * const x = tensor([1, 2]);
 * clone(x).add_(1);
 * x; // [1, 2]
 */
export function clone(x: Tensor): Tensor {
  return apply(copyOp, { x }, null).y;
}

/**
 * Returns x if its elements lie in row-major order, else a copy in which they do.
 *
 * @example
 * contiguous(transpose(tensor([[1, 2], [3, 4]]))).strides; // [2, 1]
 */
export function contiguous(x: Tensor): Tensor {
  return x.isContiguous ? x : clone(x);
}

const reshapeOp = defineView<{ shape: readonly number[] }>({
  name: 'reshape',
  view: (layout, { shape }) => reshapeLayout(layout, shape)!,
  vjp: ({ g, spec }) => reshape(g, spec.shape),
});

/**
 * Returns the same elements, in row-major order, under another shape: `x.reshape(3, 2)`, `x.reshape([3,
 * -1])`. One length may be -1. Copies only where strides cannot express the result.
 *
 * @example
 * reshape(tensor([1, 2, 3, 4]), 2, -1); // [[1, 2], [3, 4]]
 */
export function reshape(x: Tensor, ...lengths: Numbers): Tensor {
  const shape = listOf(lengths);
  const full = completeShape(x, shape);
  if (sameShape(full, x.shape)) return x;
  return applyView(reshapeOp, reshapeLayout(x, full) ? x : clone(x), { shape: full });
}

function completeShape(x: Tensor, shape: readonly number[]): number[] {
  const known = sizeOf(shape.filter((length) => length !== -1));
  const unknown = shape.filter((length) => length === -1).length;
  const full = shape.map((length) => (length === -1 ? x.size / Math.max(known, 1) : length));
  const whole = full.every((length) => Number.isInteger(length) && length >= 0);
  if (unknown === 1 && known === 0 && x.size === 0)
    throw new ShapeError(
      `reshape: ${show(x.shape)} to ${show(shape)} leaves open what -1 stands for, since 0 elements fit any length; ` +
        'give the length',
    );
  if (unknown > 1 || !whole || sizeOf(full) !== x.size) {
    throw new ShapeError(
      `reshape: ${show(x.shape)} (${x.size} elements) does not fit ${show(shape)}; ` +
        `lengths must multiply to ${x.size}, and at most one may be -1`,
    );
  }
  return full;
}

/**
 * Drops axes of length 1: all of them, or the one given.
 *
 * @example
 * squeeze(zeros(1, 3, 1)).shape; // [3]
 */
export function squeeze(x: Tensor, axis?: number): Tensor {
  const at = axis === undefined ? undefined : normaliseAxis('squeeze', axis, x.ndim);
  return reshape(
    x,
    x.shape.filter((length, i) => length !== 1 || (at !== undefined && i !== at)),
  );
}

/**
 * Inserts an axis of length 1 before `axis`; -1 appends one.
 *
 * @example
 * unsqueeze(zeros(3), -1).shape; // [3, 1]
 */
export function unsqueeze(x: Tensor, axis: number): Tensor {
  const at = normaliseAxis('unsqueeze', axis, x.ndim + 1);
  return reshape(x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)]);
}

/**
 * Merges the axes from start to end, both included, into one.
 *
 * @example
 * flatten(zeros(2, 3, 4), 1).shape; // [2, 12]
 */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  const from = normaliseAxis('flatten', start, x.ndim);
  const to = normaliseAxis('flatten', end, x.ndim);
  if (x.ndim === 0) return reshape(x, [1]);
  return reshape(x, [...x.shape.slice(0, from), sizeOf(x.shape.slice(from, to + 1)), ...x.shape.slice(to + 1)]);
}
