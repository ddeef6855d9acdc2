import { count } from './nd.ts';
import type { Nd } from './nd.ts';
import type { Random } from '../../common/random.ts';

/** Derivatives of a float64 reference by central differences. */
export type Reference = (x: readonly Nd[]) => readonly Nd[];

/** The elements of an input whose derivatives are compared: all of a small one, a sample of a large one. */
export function sample(size: number, random: Random): number[] {
  if (size <= 48) return Array.from({ length: size }, (_, i) => i);
  return Array.from({ length: 16 }, () => random.int(size));
}

/** Derivative of f by element `at` of argument `which`. */
function difference(
  f: (x: readonly Nd[]) => number,
  x: readonly Nd[],
  which: number,
  at: number,
  step: number,
): number {
  const value = x[which]!.data[at]!;
  const moved = (by: number): readonly Nd[] =>
    x.map((own, i) => {
      if (i !== which) return own;
      const data = own.data.slice();
      data[at] = value + by;
      return { shape: own.shape, data };
    });
  return (f(moved(step)) - f(moved(-step))) / (2 * step);
}

function dot(results: readonly Nd[], weights: readonly (Nd | undefined)[]): number {
  let sum = 0;
  results.forEach(({ data }, k) => {
    const weight = weights[k];
    if (weight) for (let i = 0; i < data.length; i++) sum += data[i]! * weight.data[i]!;
  });
  return sum;
}

/**
 * d(sum of cotangent * reference) by the given elements of argument `which`. The step is in proportion to the
 * element unless given.
 */
export function gradient(
  ref: Reference,
  x: readonly Nd[],
  cotangents: readonly (Nd | undefined)[],
  which: number,
  at: readonly number[],
  step?: number,
): number[] {
  return at.map((i) => {
    const own = step ?? 1e-5 * Math.max(1, Math.abs(x[which]!.data[i]!));
    return difference((moved) => dot(ref(moved), cotangents), x, which, i, own);
  });
}

/** The directional derivative of the reference along `directions` (undefined: that argument stays). */
export function directional(ref: Reference, x: readonly Nd[], directions: readonly (Nd | undefined)[]): Nd[] {
  const step = 1e-4;
  const moved = (by: number): readonly Nd[] =>
    ref(x.map((own, i) => (directions[i] ? plus(own, directions[i], by) : own)));
  const [up, down] = [moved(step), moved(-step)];
  return up.map(({ shape, data }, k) => ({
    shape,
    data: data.map((value, i) => (value - down[k]!.data[i]!) / (2 * step)),
  }));
}

/** d(sum of cotangent * directional derivative) by the given elements of argument `which`. */
export function secondGradient(
  ref: Reference,
  x: readonly Nd[],
  cotangents: readonly (Nd | undefined)[],
  directions: readonly (Nd | undefined)[],
  which: number,
  at: readonly number[],
): number[] {
  return at.map((i) => difference((moved) => dot(directional(ref, moved, directions), cotangents), x, which, i, 1e-4));
}

function plus(x: Nd, direction: Nd, by: number): Nd {
  return { shape: x.shape, data: x.data.map((value, i) => value + by * direction.data[i]!) };
}

/** Uniform numbers in [-1, 1] of a shape. */
export function noise(shape: readonly number[], random: Random): Nd {
  return { shape, data: Float64Array.from({ length: count(shape) }, () => Math.fround(2 * random.uniform() - 1)) };
}
