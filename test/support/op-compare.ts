import type { Dtype } from '../../autograd/index.ts';
import type { Nd } from './nd.ts';

/** Error allowed for an element: `relative` of its size plus `absolute`. */
interface Tolerance {
  readonly relative: number;
  readonly absolute: number;
}

/**
 * Integers and truth values are exact. f32 has 6e-8 to a rounding; WGSL allows exp, log, sin and their like
 * several of those, and sums over a few dozen terms of size 2 lose as many. f16 is stored with 2^-11 to a
 * rounding, and a gradient reads outputs that were rounded before.
 */
const tolerances: Record<Dtype, Tolerance> = {
  f32: { relative: 1e-5, absolute: 2e-6 },
  f16: { relative: 2 ** -9, absolute: 2 ** -10 },
  i32: { relative: 0, absolute: 0 },
  u32: { relative: 0, absolute: 0 },
  bool: { relative: 0, absolute: 0 },
};

/**
 * Throws where an element is further from the reference than the type allows. NaN and infinities must be
 * where the reference has them.
 */
export function compare(what: string, got: ArrayLike<number>, want: Nd, dtype: Dtype, loose = 1): void {
  if (got.length !== want.data.length)
    throw new Error(`${what}: ${got.length} elements, the reference has ${want.data.length}`);
  const { relative, absolute } = tolerances[dtype];
  const largest = dtype === 'f16' ? 65504 : 3.4028235e38; // beyond it a float is infinite
  let [bad, worst, first] = [0, 0, -1];
  for (let i = 0; i < got.length; i++) {
    const [g, w] = [got[i]!, want.data[i]!];
    if (Object.is(g, NaN) && Object.is(w, NaN)) continue;
    if (g === w || (Math.abs(w) > largest && g === Math.sign(w) * Infinity)) continue;
    const error = Math.abs(g - w);
    if (error <= loose * (relative * Math.abs(w) + absolute)) continue;
    if (bad++ === 0) first = i;
    worst = Math.max(worst, error);
  }
  if (bad === 0) return;
  throw new Error(
    `${what} of shape [${want.shape.join(', ')}]: ` +
      `${bad} of ${got.length} elements are wrong, first element ${first}: ` +
      `got ${got[first]}, want ${want.data[first]}; largest error ${worst}`,
  );
}

/** Throws where two results differ in any bit. */
export function compareBits(what: string, a: ArrayLike<number>, b: ArrayLike<number>): void {
  for (let i = 0; i < a.length; i++) {
    if (!Object.is(a[i], b[i])) throw new Error(`${what}: element ${i} is ${a[i]}, then ${b[i]} on a second run`);
  }
}
