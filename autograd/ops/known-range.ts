import { context } from '../context.ts';
import type { NumberRange, RangeCheck } from '../context.ts';
import { ShapeError } from '../op.ts';
import { isFloat } from '../tensor.ts';
import type { Tensor } from '../tensor.ts';
import { floor } from './arithmetic.ts';
import { cast } from './broadcast.ts';
import { eq, where } from './comparison.ts';

/**
 * Returns the smallest and the largest element, and one that is not whole if there is any; undefined where
 * only the device knows them. Ops that take indices refuse bad ones by it at the call, without reading back.
 */
export function knownRange({ storage, shape, strides, offset, size }: Tensor): NumberRange | undefined {
  const { host } = storage;
  if (!host || size === 0) return undefined;
  let [low, high] = [Infinity, -Infinity];
  let fraction: number | undefined;
  const walk = (axis: number, at: number): void => {
    if (axis === shape.length) {
      const value = host[at]!;
      if (value < low) low = value;
      if (value > high) high = value;
      if (!Number.isInteger(value)) fraction ??= value;
      return;
    }
    const stride = strides[axis]!;
    const steps = stride === 0 ? 1 : shape[axis]!; // repeated elements need one look
    for (let i = 0; i < steps; i++) walk(axis + 1, at + i * stride);
  };
  walk(0, offset);
  return fraction === undefined ? [low, high] : [low, high, fraction];
}

/**
 * Calls `check` where the host knows the elements: now, and for an argument of a compiled function in each
 * call.
 */
export function whenKnown(x: Tensor, check: RangeCheck): void {
  const range = knownRange(x);
  if (range) check(range);
  else context().recorder?.check(x, check);
}

/** The i32 that stands for a number that is not whole: neither a class nor an index of any table. */
const invalid = -(2 ** 31);

/**
 * Converts class numbers or indices to i32. Whole floats are taken, since `tensor([0, 2])` is f32: 0.7 is an
 * error here where the host knows it, and out of range where only the device does.
 */
export function wholeNumbers(op: string, what: 'label' | 'index', x: Tensor): Tensor {
  if (!isFloat(x.dtype)) return cast(x, 'i32');
  whenKnown(x, ([, , fraction]) => {
    if (fraction === undefined) return;
    const shown = Number(fraction.toPrecision(6));
    const mend = what === 'label' ? 'give class numbers as i32, or round() or argmax() first' : 'round() first';
    throw new ShapeError(`${op}: ${what} ${shown} is not a whole number; ${mend}`);
  });
  if (knownRange(x)) return cast(x, 'i32');
  const numbers = cast(x, 'f32'); // f16 cannot hold the invalid number
  return cast(where(eq(numbers, floor(numbers)), numbers, invalid), 'i32');
}

/**
 * Converts class numbers to i32. Throws for one outside of 0..classes-1, other than `ignoreIndex`, where the
 * host knows it; where only the device does, its loss is NaN.
 */
export function checkLabels(op: string, target: Tensor, classes: number, ignoreIndex?: number): Tensor {
  whenKnown(target, (range) => {
    const bad = range.slice(0, 2).find((label) => (label! < 0 || label! >= classes) && label !== ignoreIndex);
    if (bad === undefined) return;
    const ignored = ignoreIndex === undefined ? '' : ` (${ignoreIndex} is ignored)`;
    throw new ShapeError(
      `${op}: label ${bad} is out of range for ${classes} classes; labels run from 0 to ${classes - 1}${ignored}`,
    );
  });
  return wholeNumbers(op, 'label', target);
}
