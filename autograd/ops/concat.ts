import { copyInto } from '../lower/elementwise.ts';
import { normaliseAxis, show } from '../shapes.ts';
import { defineOp, ShapeError } from '../op.ts';
import type { VjpContext } from '../op.ts';
import { apply, applyJoin } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { unsqueeze } from './reshape.ts';
import { narrow } from './slice.ts';

const concatOp = defineOp<{ x: readonly Tensor[] }, { y: Tensor }, { axis: number }>({
  name: 'concat',
  infer({ x }, { axis }) {
    const [first] = x;
    for (const { shape, dtype } of x) {
      const fits =
        shape.length === first!.shape.length && shape.every((length, i) => i === axis || length === first!.shape[i]);
      if (!fits || dtype !== first!.dtype) {
        const all = x.map((own) => `${own.dtype} ${show(own.shape)}`).join(', ');
        throw new ShapeError(`concat: ${all} must agree in dtype and in every axis but ${axis}`);
      }
    }
    const length = x.reduce((total, { shape }) => total + shape[axis]!, 0);
    return { y: { shape: first!.shape.map((own, i) => (i === axis ? length : own)), dtype: first!.dtype } };
  },
  lower(lowering, { x }, { y }, { axis }) {
    let start = 0;
    for (const part of x) {
      const place = { shape: part.shape, strides: y.strides, offset: y.offset + start * y.strides[axis]! };
      if (part.size > 0) copyInto(lowering, part, part, y, place);
      start += part.shape[axis]!;
    }
  },
  vjp: shareOut,
});

type Concat = VjpContext<{ x: readonly Tensor[] }, { y: Tensor }, { axis: number }>;

/** Returns the part of the gradient that belongs to each input, a view. */
function shareOut({ g, specs, needs, attrs: { axis } }: Concat): { x: (Tensor | null)[] } {
  let start = 0;
  const x = specs.x.map(({ shape }, i) => {
    const length = shape[axis]!;
    start += length;
    return needs('x', i) ? narrow(g, axis, start - length, length) : null;
  });
  return { x };
}

/**
 * Returns concat(tensors) along the first axis as a view, or undefined unless they lie one behind the other
 * in one storage. To write to the result is to write to them.
 *
 * @example
 * joined(split(tensor([1, 2, 3]), 2)); // [1, 2, 3]
 * joined([tensor([1]), tensor([2])]); // undefined
 */
export function joined(tensors: readonly Tensor[]): Tensor | undefined {
  const [first] = tensors;
  if (!first || first.ndim === 0) return undefined;
  const { storage, dtype, strides, offset, shape } = first;
  let rows = 0;
  for (const x of tensors) {
    const isNext = x.storage === storage && x.dtype === dtype && x.offset === offset + rows * strides[0]!;
    const isAlike = x.strides.join() === strides.join() && x.shape.slice(1).join() === shape.slice(1).join();
    if (!isNext || !isAlike) return undefined;
    rows += x.shape[0]!;
  }
  const layout = { shape: [rows, ...shape.slice(1)], strides, offset };
  return applyJoin('joined', tensors, layout, { axis: 0 }, shareOut);
}

/**
 * Joins tensors along an axis: [a, n] and [b, n] at axis 0 become [a + b, n].
 *
 * @example
 * concat([tensor([1, 2]), tensor([3])]); // [1, 2, 3]
 */
export function concat(tensors: readonly Tensor[], axis = 0): Tensor {
  if (tensors.length === 0) throw new ShapeError('concat: needs at least one tensor');
  if (tensors[0]!.ndim === 0)
    throw new ShapeError('concat: scalars [] have no axis to be joined along; stack() gives them one');
  const at = normaliseAxis('concat', axis, tensors[0]!.ndim);
  return tensors.length === 1 ? tensors[0]! : apply(concatOp, { x: tensors }, { axis: at }).y;
}

/**
 * Joins tensors of one shape along a new axis: two of [n] at axis 0 become [2, n].
 *
 * @example
 * stack([tensor([1, 2]), tensor([3, 4])]); // [[1, 2], [3, 4]]
 */
export function stack(tensors: readonly Tensor[], axis = 0): Tensor {
  if (tensors.length === 0) throw new ShapeError('stack: needs at least one tensor');
  const at = normaliseAxis('stack', axis, tensors[0]!.ndim + 1);
  return concat(
    tensors.map((x) => unsqueeze(x, at)),
    at,
  );
}

/**
 * Shifts the elements along an axis; those that leave at the end come back at the beginning (torch.roll).
 *
 * @example
 * roll(tensor([1, 2, 3]), 1); // [3, 1, 2]
 */
export function roll(x: Tensor, shift: number, axis = 0): Tensor {
  if (x.ndim === 0) throw new ShapeError('roll: needs at least one axis, got a scalar []');
  const at = normaliseAxis('roll', axis, x.ndim);
  const length = x.shape[at]!;
  const by = length === 0 ? 0 : ((shift % length) + length) % length;
  return by === 0 ? x : concat([narrow(x, at, length - by, by), narrow(x, at, 0, length - by)], at);
}
