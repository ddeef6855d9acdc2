import { listOf, normaliseAxes, normaliseAxis, show } from '../shapes.ts';
import type { Numbers } from '../shapes.ts';
import { defineView, ShapeError } from '../op.ts';
import { applyView } from '../tape.ts';
import type { Tensor } from '../tensor.ts';

const permuteOp = defineView<{ axes: readonly number[] }>({
  name: 'permute',
  view: ({ shape, strides, offset }, { axes }) => ({
    shape: axes.map((axis) => shape[axis]!),
    strides: axes.map((axis) => strides[axis]!),
    offset,
  }),
  vjp: ({ g, attrs: { axes } }) =>
    permute(
      g,
      axes.map((_, i) => axes.indexOf(i)),
    ),
});

/**
 * Reorders axes, given as a list or one by one: axis i of the result is axis order[i] of x. No copy.
 *
 * @example
 * permute(zeros(2, 3, 4), 2, 0, 1).shape; // [4, 2, 3]
 */
export function permute(x: Tensor, ...order: Numbers): Tensor {
  const axes = listOf(order);
  const list = axes.map((axis) => normaliseAxis('permute', axis, x.ndim));
  if (list.length !== x.ndim || new Set(list).size !== x.ndim) {
    throw new ShapeError(
      `permute: axes [${axes.join(', ')}] must name each of the ${x.ndim} axes of ${show(x.shape)} once`,
    );
  }
  return list.every((axis, i) => axis === i) ? x : applyView(permuteOp, x, { axes: list });
}

/**
 * Swaps two axes. No copy.
 *
 * @example
 * transpose(tensor([[1, 2], [3, 4]])); // [[1, 3], [2, 4]]
 */
export function transpose(x: Tensor, a = -2, b = -1): Tensor {
  const [first, second] = [normaliseAxis('transpose', a, x.ndim), normaliseAxis('transpose', b, x.ndim)];
  const axes = x.shape.map((_, axis) => (axis === first ? second : axis === second ? first : axis));
  return permute(x, axes);
}

const flipOp = defineView<{ axes: readonly number[] }>({
  name: 'flip',
  view: ({ shape, strides, offset }, { axes }) => ({
    shape,
    strides: strides.map((s, axis) => (axes.includes(axis) ? -s : s)),
    offset: axes.reduce((at, axis) => at + Math.max(0, shape[axis]! - 1) * strides[axis]!, offset),
  }),
  vjp: ({ g, attrs: { axes } }) => flip(g, axes),
});

/**
 * Reverses the order of the elements along the axes. No copy.
 *
 * @example
 * flip(tensor([1, 2, 3]), 0); // [3, 2, 1]
 */
export function flip(x: Tensor, ...axes: Numbers): Tensor {
  const list = normaliseAxes('flip', listOf(axes), x.ndim);
  return applyView(flipOp, x, { axes: list });
}
