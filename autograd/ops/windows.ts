import { show } from '../shapes.ts';
import { ShapeError } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { unfold } from './unfold.ts';

/** One number for all spatial axes, or one for each. */
export type PerAxis = number | readonly number[];

/** One whole number of at least `least` for each axis. */
export function perAxis(name: string, what: string, value: PerAxis, axes: number, least: number): readonly number[] {
  const list = typeof value === 'number' ? Array.from({ length: axes }, () => value) : value;
  if (list.length !== axes || list.some((v) => !(Number.isInteger(v) && v >= least))) {
    throw new ShapeError(`${name}: ${what} must be ${axes} whole numbers of at least ${least}, got ${show(list)}`);
  }
  return list;
}

/** Throws where a kernel does not fit the last axes of a padded input. */
export function checkFits(
  name: string,
  padded: readonly number[],
  kernel: readonly number[],
  dilation: readonly number[],
): void {
  kernel.forEach((size, i) => {
    const axis = padded.length - kernel.length + i;
    const span = dilation[i]! * (size - 1) + 1;
    if (span > padded[axis]!) {
      throw new ShapeError(
        `${name}: a kernel of ${show(kernel)} spans ${span} elements of axis ${axis}, ` +
          `the padded input ${show(padded)} has ${padded[axis]}; pad more, or dilate less`,
      );
    }
  });
}

/**
 * Cuts the last axes of x, padded already, into windows of the kernel's size: [..., L] becomes [..., L', K],
 * [..., H, W] becomes [..., H', W', KH, KW]. No copy.
 */
export function windowsOf(
  name: string,
  x: Tensor,
  kernel: readonly number[],
  stride: readonly number[],
  dilation: readonly number[],
): Tensor {
  checkFits(name, x.shape, kernel, dilation);
  const first = x.ndim - kernel.length;
  return kernel.reduce((windows, size, i) => unfold(windows, first + i, size, stride[i]!, dilation[i]!), x);
}
