import { isFloat } from './tensor.ts';
import type { Tensor } from './tensor.ts';
import { floor } from './ops/arithmetic.ts';
import { cast } from './ops/broadcast.ts';
import { eq, where } from './ops/comparison.ts';
import { knownRange, whenKnown } from './known-range.ts';
import { ShapeError } from './op.ts';

/** In i32, as what is no whole number becomes: neither a class nor an index of any table. */
const invalid = -(2 ** 31);

/**
 * Class numbers or indices as i32. Floats count where they are whole, since `tensor([0, 2])` is f32: 0.7 is an
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
 * Class numbers as i32. Refuses those outside 0..classes-1, but for `ignoreIndex`, where the host knows them;
 * where only the device does, they show as NaN.
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
