import type { Layout } from '../../kernels/layout.ts';
import { axisToCut, show } from '../shapes.ts';
import { ShapeError } from '../op.ts';
import { applySplit } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { concat, stack } from './concat.ts';

/** The layout of entries `start` to `start + length` along an axis. */
const partOf = ({ shape, strides, offset }: Tensor, axis: number, start: number, length: number): Layout => ({
  shape: shape.map((own, i) => (i === axis ? length : own)),
  strides,
  offset: offset + start * strides[axis]!,
});

/**
 * Cuts an axis into parts of `sizes` entries each, the last maybe shorter, or of the given sizes. No copy.
 * Gradients of all parts are joined at once: a loop over parts costs no more than a product with the whole.
 *
 * @example
 * split(tensor([1, 2, 3]), 2); // [[1, 2], [3]]
 */
export function split(x: Tensor, sizes: number | readonly number[], axis = 0): Tensor[] {
  const at = axisToCut('split', axis, x);
  const length = x.shape[at]!;
  if (typeof sizes === 'number' && !(Number.isInteger(sizes) && sizes > 0))
    throw new ShapeError(`split: size ${sizes} must be a positive integer`);
  const parts =
    typeof sizes === 'number'
      ? Array.from({ length: Math.max(1, Math.ceil(length / sizes)) }, (_, i) => Math.min(sizes, length - i * sizes))
      : sizes;
  if (parts.some((size) => size < 0) || parts.reduce((a, b) => a + b, 0) !== length) {
    throw new ShapeError(
      `split: sizes [${parts.join(', ')}] must add up to ${length}, the length of axis ${at} of ${show(x.shape)}`,
    );
  }
  if (parts.length === 1) return [x];
  let start = 0;
  const layouts = parts.map((size) => {
    start += size;
    return partOf(x, at, start - size, size);
  });
  return applySplit('split', x, layouts, { axis: at }, ({ grads, attrs }) => ({ x: concat(grads.y, attrs.axis) }));
}

/**
 * Cuts an axis into at most `count` about equal parts. No copy.
 *
 * @example
 * chunk(tensor([1, 2, 3, 4]), 2); // [[1, 2], [3, 4]]
 */
export function chunk(x: Tensor, count: number, axis = 0): Tensor[] {
  if (!(Number.isInteger(count) && count > 0)) throw new ShapeError(`chunk: count ${count} must be a positive integer`);
  const at = axisToCut('chunk', axis, x);
  return split(x, Math.max(1, Math.ceil(x.shape[at]! / count)), at);
}

/**
 * Returns all entries along an axis, which is dropped. No copy. Gradients are joined as those of `split`.
 *
 * @example
 * unbind(tensor([[1, 2], [3, 4]]), 1); // [[1, 3], [2, 4]]
 */
export function unbind(x: Tensor, axis = 0): Tensor[] {
  const at = axisToCut('unbind', axis, x);
  const layouts = Array.from({ length: x.shape[at]! }, (_, i): Layout => {
    const { shape, strides, offset } = partOf(x, at, i, 1);
    const others = (list: readonly number[]): number[] => list.filter((_, k) => k !== at);
    return { shape: others(shape), strides: others(strides), offset };
  });
  return applySplit('unbind', x, layouts, { axis: at }, ({ grads, attrs }) => ({ x: stack(grads.y, attrs.axis) }));
}
