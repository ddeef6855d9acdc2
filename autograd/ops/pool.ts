import { arange } from '../create.ts';
import { lowerReduce, reduceAxes } from '../lower/reduce.ts';
import { defineOp, ShapeError } from '../op.ts';
import { checkOptions, requireFloat, show } from '../shapes.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { mul } from './arithmetic.ts';
import { cast } from './broadcast.ts';
import { eq } from './comparison.ts';
import { concat } from './concat.ts';
import { argmax, mean } from './reduce.ts';
import { unsqueeze } from './reshape.ts';
import { narrow, pad } from './slice.ts';
import { unfold } from './unfold.ts';
import { checkFits, perAxis, windowsOf } from './windows.ts';
import type { PerAxis } from './windows.ts';

export interface AvgPoolOptions {
  /** Distance between neighbouring windows, default the kernel's size. */
  readonly stride?: PerAxis;
  /** Elements on both sides of each axis, at most half the kernel: 0 for averages, which count them. */
  readonly padding?: PerAxis;
}

export interface MaxPoolOptions extends AvgPoolOptions {
  /** Distance between neighbouring elements of a window, default 1. */
  readonly dilation?: PerAxis;
}

/** Largest element over the last axis, whose first place alone gets the gradient; `max` shares it out. */
const firstMaxOp = defineOp<{ x: Tensor }, { y: Tensor }, null>({
  name: 'firstMax',
  infer: ({ x }) => ({ y: { shape: x.shape.slice(0, -1), dtype: x.dtype } }),
  lower: (lowering, { x }, { y }) => lowerReduce(lowering, 'max', x, [x.ndim - 1], y),
  fuses: { epilogue: true },
  axes: ({ x }) => reduceAxes(x.shape.length, [x.shape.length - 1], 'max'),
  saves: { inputs: ['x'] },
  vjp({ g, input }) {
    const x = input('x');
    const places = arange(0, x.shape.at(-1), 1, { dtype: 'i32' });
    return { x: mul(cast(eq(argmax(x, -1, { keepDims: true }), places), g.dtype), unsqueeze(g, -1)) };
  },
});

/**
 * Largest element of each window (torch.nn.functional.max_pool1d): x [N, C, L] or [C, L] gives [N, C, L'] or
 * [C, L'], L' = floor((L + 2 padding - dilation (kernel - 1) - 1) / stride) + 1. Of equal ones the first gets
 * the gradient.
 *
 * @example
 * maxPool1d(tensor([[1, 3, 2, 4]]), 2); // [[3, 4]]
 */
export function maxPool1d(x: Tensor, kernel: PerAxis, options: MaxPoolOptions = {}): Tensor {
  return maxPool('maxPool1d', 1, x, kernel, options);
}

/**
 * Largest element of each window of images: x [N, C, H, W] or [C, H, W]; else as `maxPool1d`.
 *
 * @example
 * maxPool2d(tensor([[[1, 2], [3, 4]]]), 2); // [[[4]]]
 */
export function maxPool2d(x: Tensor, kernel: PerAxis, options: MaxPoolOptions = {}): Tensor {
  return maxPool('maxPool2d', 2, x, kernel, options);
}

/**
 * Mean of each window (torch.nn.functional.avg_pool1d); shapes as of `maxPool1d`.
 *
 * @example
 * avgPool1d(tensor([[1, 3, 2, 4]]), 2); // [[2, 3]]
 */
export function avgPool1d(x: Tensor, kernel: PerAxis, options: AvgPoolOptions = {}): Tensor {
  return avgPool('avgPool1d', 1, x, kernel, options);
}

/**
 * Mean of each window of images: x [N, C, H, W] or [C, H, W]; else as `avgPool1d`.
 *
 * @example
 * avgPool2d(tensor([[[1, 2], [3, 4]]]), 2); // [[[2.5]]]
 */
export function avgPool2d(x: Tensor, kernel: PerAxis, options: AvgPoolOptions = {}): Tensor {
  return avgPool('avgPool2d', 2, x, kernel, options);
}

/**
 * Means of `size` windows that cover the last axis, whatever its length L: window i goes from floor(i L /
 * size) to ceil((i + 1) L / size) (torch.nn.functional.adaptive_avg_pool1d). x is [N, C, L] or [C, L].
 *
 * @example
 * adaptiveAvgPool1d(tensor([[1, 2, 3, 4]]), 2); // [[1.5, 3.5]]
 */
export function adaptiveAvgPool1d(x: Tensor, size: PerAxis): Tensor {
  return adaptiveAvgPool('adaptiveAvgPool1d', 1, x, size);
}

/**
 * As `adaptiveAvgPool1d` over both axes of images [N, C, H, W] or [C, H, W]; size 1 is the global mean.
 *
 * @example
 * adaptiveAvgPool2d(tensor([[[1, 2], [3, 4]]]), 1); // [[[2.5]]]
 */
export function adaptiveAvgPool2d(x: Tensor, size: PerAxis): Tensor {
  return adaptiveAvgPool('adaptiveAvgPool2d', 2, x, size);
}

function maxPool(name: string, axes: number, x: Tensor, kernel: PerAxis, options: MaxPoolOptions): Tensor {
  checkOptions(name, options, ['stride', 'padding', 'dilation']);
  const { size, stride, sides } = resolve(name, axes, x, kernel, options);
  const dilation = perAxis(name, 'dilation', options.dilation ?? 1, axes, 1);
  const padded = x.shape.map((length, axis) => length + 2 * (sides[axis - x.ndim + axes]?.[0] ?? 0));
  checkFits(name, padded, size, dilation);
  // One axis after the other takes KH + KW steps an element in the place of KH * KW.
  return size.reduceRight((y, own, i) => {
    const at = x.ndim - axes + i;
    const around = [sides[i]!, ...size.slice(i + 1).map(() => [0, 0] as const)];
    return apply(firstMaxOp, { x: unfold(pad(y, around, -Infinity), at, own, stride[i]!, dilation[i]!) }, null).y;
  }, x);
}

function avgPool(name: string, axes: number, x: Tensor, kernel: PerAxis, options: AvgPoolOptions): Tensor {
  checkOptions(name, options, ['stride', 'padding']);
  const { size, stride, sides } = resolve(name, axes, x, kernel, options);
  const windows = windowsOf(name, pad(x, sides), size, stride, size.map(() => 1)); // prettier-ignore
  return mean(windows, size.map((_, i) => -1 - i)); // prettier-ignore
}

function adaptiveAvgPool(name: string, axes: number, x: Tensor, size: PerAxis): Tensor {
  check(name, axes, x);
  return perAxis(name, 'size', size, axes, 1).reduce((y, count, i) => {
    const at = x.ndim - axes + i;
    const length = x.shape[at]!;
    if (length > 0 && length % count === 0) {
      const windows = unfold(y, at, length / count, length / count); // (..., count, ..., length / count)
      return mean(windows, -1);
    }
    const parts = Array.from({ length: count }, (_, k) => {
      const [start, end] = [Math.floor((k * length) / count), Math.ceil(((k + 1) * length) / count)];
      return mean(narrow(y, at, start, end - start), at, { keepDims: true });
    });
    return concat(parts, at);
  }, x);
}

function check(name: string, axes: number, x: Tensor): void {
  requireFloat(name, x);
  if (x.ndim !== axes + 1 && x.ndim !== axes + 2) {
    const form = axes === 1 ? '[N, C, L] or [C, L]' : '[N, C, H, W] or [C, H, W]';
    throw new ShapeError(`${name}: the input must be ${form}, got ${show(x.shape)}`);
  }
}

function resolve(name: string, axes: number, x: Tensor, kernel: PerAxis, options: AvgPoolOptions) {
  check(name, axes, x);
  const size = perAxis(name, 'kernel', kernel, axes, 1);
  const stride = perAxis(name, 'stride', options.stride ?? size, axes, 1);
  const padding = perAxis(name, 'padding', options.padding ?? 0, axes, 0);
  if (padding.some((side, i) => 2 * side > size[i]!))
    throw new ShapeError(`${name}: padding ${show(padding)} must be at most half the kernel ${show(size)}`);
  return { size, stride, sides: padding.map((side) => [side, side] as const) };
}
