import { argsortMerge } from '../../kernels/argsort.ts';
import { contiguousLayout, linesOf } from '../../kernels/layout.ts';
import { leadingAxes } from '../lower/split.ts';
import { viewOf } from '../lower/window.ts';
import { defineOp } from '../op.ts';
import type { Op } from '../op.ts';
import { checkOptions, normaliseAxis } from '../shapes.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { gather } from './gather.ts';
import { reshape } from './reshape.ts';

type Argsort = Op<{ x: Tensor }, { y: Tensor }, { readonly axis: number; readonly descending: boolean }>;

const argsortOp: Argsort = defineOp<Argsort>({
  name: 'argsort',
  infer: ({ x }) => ({ y: { shape: x.shape, dtype: 'i32' } }),
  lower(lowering, { x }, { y }, { axis, descending }) {
    const { outer, length, inner } = linesOf(x.shape, axis);
    const lines = (t: Tensor): Tensor => viewOf(t, contiguousLayout([outer, length, inner], t.offset));
    const values = lines(lowering.contiguous(x));
    let before: Tensor | undefined;
    for (let width = 1; width === 1 || width < length; width *= 2) {
      const to = 2 * width >= length ? lines(y) : lowering.temporary([outer, length, inner], 'i32');
      lowering.emit(argsortMerge, before ? { x: values, before, to } : { x: values, to }, { width, descending });
      before = to;
    }
  },
  axes: ({ x }, { axis }) => leadingAxes(axis, { x, y: x }),
  vjp: 'none',
});

export interface SortOptions {
  /** The largest first; default false. */
  readonly descending?: boolean;
}

/**
 * Places (i32) along an axis that put x in order (torch.argsort with `stable`): of equal elements the first
 * comes first, and NaN counts as the largest. A merge sort: log2 of the length passes over x.
 *
 * @example
 * argsort(tensor([3, 1, 2])); // [1, 2, 0]
 */
export function argsort(x: Tensor, axis = -1, options: SortOptions = {}): Tensor {
  checkOptions('argsort', options, ['descending']);
  const at = normaliseAxis('argsort', axis, x.ndim);
  const { descending = false } = options;
  if (x.ndim === 0) return reshape(argsort(reshape(x, [1]), 0, options), []);
  return apply(argsortOp, { x: x.detach() }, { axis: at, descending }).y;
}

/**
 * Returns [values, indices (i32)] of x in order along an axis (torch.sort with `stable`), see `argsort`. The
 * gradient goes to where the values came from.
 *
 * @example
 * sort(tensor([3, 1, 2]), -1, { descending: true }); // [[3, 2, 1], [0, 2, 1]]
 */
export function sort(x: Tensor, axis = -1, options: SortOptions = {}): [values: Tensor, indices: Tensor] {
  checkOptions('sort', options, ['descending']);
  const at = normaliseAxis('sort', axis, x.ndim);
  if (x.ndim === 0) return sort(reshape(x, [1]), 0, options).map((y) => reshape(y, [])) as [Tensor, Tensor];
  const indices = argsort(x, at, options);
  return [gather(x, at, indices), indices];
}
