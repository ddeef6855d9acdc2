import type { Dtype } from '../../kernels/kernel.ts';
import * as e from '../../kernels/map/expr.ts';
import { random } from '../../kernels/random.ts';
import type { Draw, RandomAttrs } from '../../kernels/random.ts';
import { shapeThen } from '../create.ts';
import type { ShapeThen } from '../create.ts';
import { checkDtype, checkOptions, checkShape, requireFloat } from '../shapes.ts';
import { defineOp, ShapeError } from '../op.ts';
import { nextDraw } from '../generator.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { add, floor } from './arithmetic.ts';
import { cast } from './broadcast.ts';
import { minimum } from './comparison.ts';
import { applyMap, mapFunction } from './map-op.ts';

interface Attrs extends Omit<RandomAttrs, 'start'> {
  readonly shape: readonly number[];
  readonly dtype: Dtype;
}

const randomOp = defineOp<Record<string, never>, { y: Tensor }, Attrs>({
  name: ({ kind }) => kind,
  infer: (_, { shape, dtype }) => ({ y: { shape, dtype } }),
  lower: ({ emit, part }, _, { y }, { kind, a, b, draw }) =>
    emit(random, { y }, { kind, a, b, draw, start: part('*')?.start }),
  // Numbers are counted in row-major order.
  axes: () => ({ of: { y: '*' } }),
  vjp: 'none',
});

export interface UniformOptions {
  readonly low?: number;
  readonly high?: number;
  readonly dtype?: 'f32' | 'f16';
}

/**
 * Draws uniform numbers from [low, high), default [0, 1).
 *
 * @example
 * uniform([2, 3], { low: -1, high: 1 }).shape; // [2, 3]
 */
export function uniform(shape: readonly number[], options: UniformOptions = {}): Tensor {
  const { low = 0, high = 1, dtype = 'f32' } = options;
  checkOptions('uniform', options, ['low', 'high', 'dtype']);
  checkDtype('uniform', dtype, ['f32', 'f16']);
  checkShape('uniform', shape);
  if (!(Number.isFinite(high - low) && high >= low))
    throw new ShapeError(`uniform: low and high must be finite and low at most high, got ${low} and ${high}`);
  return apply(randomOp, {}, { kind: 'uniform', shape, dtype, a: low, b: high - low, draw: nextDraw() }).y;
}

export interface NormalOptions {
  readonly mean?: number;
  readonly std?: number;
  readonly dtype?: 'f32' | 'f16';
}

/**
 * Draws numbers from a normal distribution, default mean 0 and standard deviation 1.
 *
 * @example
 * normal([2, 3], { mean: 5, std: 0.1 }).shape; // [2, 3]
 */
export function normal(shape: readonly number[], options: NormalOptions = {}): Tensor {
  const { mean = 0, std = 1, dtype = 'f32' } = options;
  checkOptions('normal', options, ['mean', 'std', 'dtype']);
  checkDtype('normal', dtype, ['f32', 'f16']);
  checkShape('normal', shape);
  if (!(Number.isFinite(mean) && Number.isFinite(std) && std >= 0))
    throw new ShapeError(`normal: mean must be finite and std from 0, got ${mean} and ${std}`);
  return apply(randomOp, {}, { kind: 'normal', shape, dtype, a: mean, b: std, draw: nextDraw() }).y;
}

/**
 * Uniform random numbers from [0, 1): `rand([2, 3])`, `rand(2, 3, { dtype: 'f16' })`.
 *
 * @example
 * rand(2, 3).shape; // [2, 3]
 */
export function rand(...shape: ShapeThen<UniformOptions>): Tensor {
  return uniform(...shapeThen(shape));
}

/**
 * Normal random numbers, mean 0 and deviation 1: `randn([2, 3])`, `randn(2, 3, { dtype: 'f16' })`.
 *
 * @example
 * randn(2, 3).shape; // [2, 3]
 */
export function randn(...shape: ShapeThen<NormalOptions>): Tensor {
  return normal(...shapeThen(shape));
}

/**
 * Draws uniform whole numbers from low to high - 1, i32; high - low is at most 2^24.
 *
 * @example
 * randint(0, 10, [2, 3]).dtype; // 'i32'
 */
export function randint(low: number, high: number, shape: readonly number[]): Tensor {
  if (!(Number.isInteger(low) && Number.isInteger(high) && high > low && high - low <= 2 ** 24))
    throw new ShapeError(`randint: needs whole numbers low < high, at most 2^24 apart, got ${low} and ${high}`);
  const count = high - low;
  // In f32 a number just below `count` may be rounded to `count`.
  return add(cast(minimum(floor(uniform(shape, { high: count })), count - 1), 'i32'), low);
}

/** Saves no mask: the derivative draws the same numbers again. */
const drop = mapFunction('dropout', ['v'], ([x], [p, scale]) => e.select(e.lt(e.random(0), p!), 0, e.mul(x!, scale!)), {
  float: true,
  scalars: 2,
});

/**
 * Zeroes each element with probability p and scales the others by 1 / (1 - p), while training (Srivastava et
 * al. 2014).
 *
 * @example
 * dropout(ones(4), 0.5).shape; // [4]
 * dropout(ones(4), 0.5, { training: false }); // [1, 1, 1, 1]
 */
export function dropout(x: Tensor, p: number, options: { readonly training?: boolean } = {}): Tensor {
  const { training = true } = options;
  checkOptions('dropout', options, ['training']);
  requireFloat('dropout', x);
  checkProbability('dropout', p);
  return training && p > 0 ? dropoutBy(x, p, nextDraw()) : x;
}

/** Drops elements by a given draw: the same draw drops the same elements. */
export function dropoutBy(x: Tensor, p: number, draw: Draw): Tensor {
  return applyMap(drop, [x], [p, p < 1 ? 1 / (1 - p) : 0], [draw]);
}

export function checkProbability(op: string, p: number): void {
  if (!(p >= 0 && p <= 1)) throw new ShapeError(`${op}: the probability must lie in [0, 1], got ${p}`);
}
