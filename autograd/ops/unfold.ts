import { fold } from '../../kernels/fold.ts';
import { leadingAxes } from '../lower/split.ts';
import { normaliseAxis, show } from '../shapes.ts';
import { defineOp, defineView, ShapeError } from '../op.ts';
import type { Op, ViewOp } from '../op.ts';
import { apply, applyView } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { reshape } from './reshape.ts';

interface UnfoldAttrs {
  readonly axis: number;
  readonly size: number;
  readonly step: number;
  readonly dilation: number;
}

const windowsOf = (length: number, { size, step, dilation }: UnfoldAttrs): number =>
  Math.floor((length - dilation * (size - 1) - 1) / step) + 1;

const unfoldOp: ViewOp<UnfoldAttrs> = defineView<UnfoldAttrs>({
  name: 'unfold',
  view: ({ shape, strides, offset }, attrs) => ({
    shape: [...shape.map((length, i) => (i === attrs.axis ? windowsOf(length, attrs) : length)), attrs.size],
    strides: [...strides.map((s, i) => (i === attrs.axis ? s * attrs.step : s)), strides[attrs.axis]! * attrs.dilation],
    offset,
  }),
  vjp: ({ g, spec, attrs }) => apply(foldOp, { x: g }, { ...attrs, length: spec.shape[attrs.axis]! }).y,
});

type Fold = Op<{ x: Tensor }, { y: Tensor }, UnfoldAttrs & { readonly length: number }>;

/** Adds up windows where they overlap: the adjoint of unfold. */
const foldOp: Fold = defineOp<Fold>({
  name: 'fold',
  infer: ({ x }, { axis, length }) => ({
    y: { shape: x.shape.slice(0, -1).map((own, i) => (i === axis ? length : own)), dtype: x.dtype },
  }),
  lower: ({ emit, contiguous }, { x }, { y }, attrs) => emit(fold, { x: contiguous(x), y }, attrs),
  axes: ({ x }, { axis }) => leadingAxes(axis, { x, y: { ...x, shape: x.shape.slice(0, -1) } }),
  vjp: ({ g, attrs: { axis, size, step, dilation } }) => ({
    x: applyView(unfoldOp, g, { axis, size, step, dilation }),
  }),
});

/**
 * Cuts an axis into windows of `size` elements, `step` apart, their elements `dilation` apart. The axis then
 * counts the windows, and a new last axis holds their elements (torch.Tensor.unfold). No copy. Gradients of
 * windows that overlap add up.
 *
 * @example
 * unfold(tensor([1, 2, 3, 4]), 0, 2, 1); // [[1, 2], [2, 3], [3, 4]]
 */
export function unfold(x: Tensor, axis: number, size: number, step: number, dilation = 1): Tensor {
  const at = normaliseAxis('unfold', axis, x.ndim);
  for (const [name, value] of Object.entries({ size, step, dilation })) {
    if (!(Number.isInteger(value) && value > 0))
      throw new ShapeError(`unfold: ${name} must be a positive integer, got ${value}`);
  }
  const span = dilation * (size - 1) + 1;
  if (x.ndim === 0 && span === 1) return reshape(x, [1]);
  if (x.ndim === 0 || span > x.shape[at]!) {
    throw new ShapeError(
      `unfold: a window of ${span} elements does not fit axis ${at} of ${show(x.shape)}; pad it or shrink the window`,
    );
  }
  return applyView(unfoldOp, x, { axis: at, size, step, dilation });
}
