import { pad as padKernel } from '../../kernels/pad.ts';
import { copyInto, fill } from '../lower/elementwise.ts';
import { isBindable } from '../lower/window.ts';
import { axisToCut, heldAs, show } from '../shapes.ts';
import { defineOp, defineView, ShapeError } from '../op.ts';
import type { Op } from '../op.ts';
import { apply, applyView } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { reshape } from './reshape.ts';

interface SliceAttrs {
  readonly starts: readonly number[];
  readonly lengths: readonly number[];
  readonly steps: readonly number[];
}

const sliceOp = defineView<SliceAttrs>({
  name: 'slice',
  view: ({ strides, offset }, { starts, lengths, steps }) => ({
    shape: lengths,
    strides: strides.map((s, axis) => s * steps[axis]!),
    offset: starts.reduce((at, start, axis) => at + start * strides[axis]!, offset),
  }),
  vjp: ({ g, spec, attrs }) => embed(g, spec.shape, attrs),
});

interface EmbedAttrs extends SliceAttrs {
  readonly shape: readonly number[];
  readonly value: number;
}

type Embed = Op<{ x: Tensor }, { y: Tensor }, EmbedAttrs>;

/** y = zeros of the given shape with x at the places of the slice: the adjoint of slice. */
const embedOp: Embed = defineOp<Embed>({
  name: 'pad',
  infer: ({ x }, { shape }) => ({ y: { shape, dtype: x.dtype } }),
  lower(lowering, { x }, { y }, attrs) {
    const { value, starts, lengths, steps } = attrs;
    if ([x, y].every((t) => isBindable(t, lowering.target)) && x.size > 0)
      return lowering.emit(padKernel, { x, y: lowering.sink() }, { starts, steps, value });
    fill(lowering, y, value);
    if (x.size > 0) copyInto(lowering, x, x, y, sliceOp.view(y, { starts, lengths, steps }));
  },
  fuses: { epilogue: true },
  vjp: ({ g, attrs }) => ({ x: applyView(sliceOp, g, attrs) }),
});

function embed(x: Tensor, shape: readonly number[], attrs: SliceAttrs, value = 0): Tensor {
  return apply(embedOp, { x }, { ...attrs, shape, value: heldAs('pad', x.dtype, value) }).y;
}

/**
 * `[start, end]`, without the end, or `[start, end, step]`; undefined or null for the whole axis; a number
 * picks one index and drops the axis.
 */
export type Range = readonly [start?: number | null, end?: number | null, step?: number] | number | null | undefined;

/**
 * Takes one range for each leading axis: `slice(x, [1, 3], null, -1)` is x[1:3, :, -1]. Negative starts, ends
 * and indices count from the end; steps are positive. No copy.
 *
 * @example
 * const x = tensor([[1, 2, 3], [4, 5, 6]]);
 * slice(x, null, [1, 3]); // [[2, 3], [5, 6]]
 * slice(x, 0, -1); // 3
 */
export function slice(x: Tensor, ...ranges: Range[]): Tensor {
  if (ranges.length > x.ndim)
    throw new ShapeError(`slice: ${ranges.length} ranges for the ${x.ndim} axes of ${show(x.shape)}`);
  const resolved = x.shape.map((length, axis) => resolveRange(x, axis, length, ranges[axis]));
  const attrs = {
    starts: resolved.map((r) => r.start),
    lengths: resolved.map((r) => r.length),
    steps: resolved.map((r) => r.step),
  };
  const whole = attrs.lengths.every((length, axis) => length === x.shape[axis]);
  const cut = whole ? x : applyView(sliceOp, x, attrs);
  const dropped = ranges.flatMap((range, axis) => (typeof range === 'number' ? [axis] : []));
  return dropped.length > 0
    ? reshape(
        cut,
        cut.shape.filter((_, axis) => !dropped.includes(axis)),
      )
    : cut;
}

function resolveRange(
  x: Tensor,
  axis: number,
  length: number,
  range: Range,
): { start: number; length: number; step: number } {
  if (range === undefined || range === null) return { start: 0, length, step: 1 };
  if (typeof range === 'number') {
    const at = range < 0 ? range + length : range;
    if (!Number.isInteger(range) || at < 0 || at >= length) {
      throw new ShapeError(`slice: index ${range} is out of range for axis ${axis} of ${show(x.shape)}`);
    }
    return { start: at, length: 1, step: 1 };
  }
  const [from, to, step = 1] = range;
  if (!Number.isInteger(step) || step < 1)
    throw new ShapeError(`slice: step ${step} of axis ${axis} must be a positive integer; flip() reverses`);
  const bound = (value: number): number => Math.min(Math.max(value < 0 ? value + length : value, 0), length);
  const start = bound(from ?? 0);
  const end = bound(to ?? length);
  if (!Number.isInteger(start) || !Number.isInteger(end))
    throw new ShapeError(`slice: range [${range.join(', ')}] of axis ${axis} is not whole`);
  return { start, length: Math.max(0, Math.ceil((end - start) / step)), step };
}

/**
 * Takes `length` entries from `start` on along an axis. No copy.
 *
 * @example
 * narrow(tensor([1, 2, 3, 4]), 0, 1, 2); // [2, 3]
 */
export function narrow(x: Tensor, axis: number, start: number, length: number): Tensor {
  const at = axisToCut('narrow', axis, x);
  if (start < 0 || length < 0 || start + length > x.shape[at]!) {
    throw new ShapeError(`narrow: ${start}..${start + length} exceeds axis ${at} of ${show(x.shape)}`);
  }
  return slice(x, ...x.shape.slice(0, at).map(() => null), [start, start + length]);
}

/**
 * Takes the entry at `index` along an axis, which is dropped. No copy.
 *
 * @example
 * select(tensor([[1, 2], [3, 4]]), 0, 1); // [3, 4]
 */
export function select(x: Tensor, axis: number, index: number): Tensor {
  const at = axisToCut('select', axis, x);
  return slice(x, ...x.shape.slice(0, at).map(() => null), index);
}

/**
 * Surrounds x with `value`. `padding` lists [before, after] for each of the last axes, in the order of the
 * axes (PyTorch's lists them from the last); negative amounts crop.
 *
 * @example
 * pad(tensor([1, 2]), [[1, 2]]); // [0, 1, 2, 0, 0]
 */
export function pad(x: Tensor, padding: readonly (readonly [number, number])[], value = 0): Tensor {
  if (padding.length > x.ndim)
    throw new ShapeError(`pad: ${padding.length} pairs for the ${x.ndim} axes of ${show(x.shape)}`);
  const pairs = x.shape.map((_, axis) => padding[axis - x.ndim + padding.length] ?? ([0, 0] as const));
  const cropped = slice(
    x,
    ...pairs.map(([before, after], axis): Range => [Math.max(0, -before), x.shape[axis]! - Math.max(0, -after)]),
  );
  const grow = pairs.map(([before, after]) => [Math.max(0, before), Math.max(0, after)] as const);
  if (grow.every(([before, after]) => before === 0 && after === 0)) return cropped;
  const attrs = { starts: grow.map(([before]) => before), lengths: cropped.shape, steps: x.shape.map(() => 1) };
  return embed(
    cropped,
    cropped.shape.map((length, axis) => grow[axis]![0] + length + grow[axis]![1]),
    attrs,
    value,
  );
}
