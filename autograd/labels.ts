import { whenKnown } from './known-range.ts';
import { ShapeError } from './op.ts';
import type { Tensor } from './tensor.ts';

/**
 * Refuses class numbers outside 0..classes-1, but for `ignoreIndex`, where the host knows them; where only
 * the device does, they show as NaN.
 */
export function checkLabels(op: string, target: Tensor, classes: number, ignoreIndex?: number): void {
  whenKnown(target, (range) => {
    const bad = range.find((label) => (label < 0 || label >= classes) && label !== ignoreIndex);
    if (bad === undefined) return;
    const ignored = ignoreIndex === undefined ? '' : ` (${ignoreIndex} is ignored)`;
    throw new ShapeError(
      `${op}: label ${bad} is out of range for ${classes} classes; labels run from 0 to ${classes - 1}${ignored}`,
    );
  });
}
