import { recording } from './capture.ts';
import type { NumberRange, RangeCheck } from './capture.ts';
import type { Tensor } from './tensor.ts';

/**
 * Smallest and largest element of a tensor whose data the host made and nothing has overwritten, and one that
 * is no whole number, if any is none; undefined where only the device knows them. Lets index ops refuse bad
 * indices at the call, without reading back.
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
 * Calls `check` with the smallest and largest element where the host knows them: now, and for an argument of
 * a compiled function at every call.
 */
export function whenKnown(x: Tensor, check: RangeCheck): void {
  const range = knownRange(x);
  if (range) check(range);
  else recording()?.check(x, check);
}
