/**
 * Names that a PyTorch user looks for: aliases of ops that have another name here, and short compositions of
 * ops. All are methods of tensors too. Those that end in `_` write in place, as `assign` does.
 */
import * as e from '../../kernels/map/expr.ts';
import { arange, full } from '../create.ts';
import type { TensorOptions } from '../create.ts';
import { checkOptions, listOf, normaliseAxis, requireFloat, show } from '../shapes.ts';
import type { Numbers } from '../shapes.ts';
import { whenKnown } from './known-range.ts';
import { ShapeError } from '../op.ts';
import { isFloat } from '../tensor.ts';
import type { Tensor } from '../tensor.ts';
import { abs, add, div, log, mul, neg, pow, sub } from './arithmetic.ts';
import { addAssign, assign, checkHolds } from './assign.ts';
import { cast, expand, sum } from './broadcast.ts';
import type { ReduceOptions } from './broadcast.ts';
import { clamp, eq, gt, isFinite, isNan, logicalNot, logicalOr, lt, maximum, ne, where } from './comparison.ts';
import { concat } from './concat.ts';
import { gather } from './gather.ts';
import { slice } from './slice.ts';
import type { Range } from './slice.ts';
import { argsort } from './sort.ts';
import { applyMap, mapFunction, unary } from './map-op.ts';
import { matmul } from './matmul.ts';
import { transpose } from './movement.ts';
import { normal, uniform } from './random.ts';
import type { NormalOptions, UniformOptions } from './random.ts';
import { argmax, max, min, variance } from './reduce.ts';
import type { VarianceOptions } from './reduce.ts';
import { reshape, unsqueeze } from './reshape.ts';

export { clamp as clip, isFinite as isfinite, isNan as isnan } from './comparison.ts';
export { max as amax, min as amin, variance as var } from './reduce.ts';
export { assign as copy_ } from './assign.ts';

type Operand = Tensor | number;

/**
 * The number of axes.
 *
 * @example
 * dim(zeros(2, 3)); // 2
 */
export const dim = (x: Tensor): number => x.ndim;
/**
 * The number of elements; also `x.size`. The length of one axis is `x.shape[axis]`.
 *
 * @example
 * numel(zeros(2, 3)); // 6
 */
export const numel = (x: Tensor): number => x.size;

/**
 * x in f32.
 *
 * @example
 * float(tensor([1], { dtype: 'i32' })).dtype; // 'f32'
 */
export const float = (x: Tensor): Tensor => cast(x, 'f32');
/**
 * x in f16.
 *
 * @example
 * half(tensor([1])).dtype; // 'f16'
 */
export const half = (x: Tensor): Tensor => cast(x, 'f16');
/**
 * x in i32; floats truncate.
 *
 * @example
 * int(tensor([1.7, -1.7])); // [1, -1]
 */
export const int = (x: Tensor): Tensor => cast(x, 'i32');
/**
 * x in i32, which stands for PyTorch's int64 as class numbers and indices: WGSL has no 64-bit integers.
 *
 * @example
 * long(tensor([1.7])).dtype; // 'i32'
 */
export const long = (x: Tensor): Tensor => cast(x, 'i32');
/**
 * Where x is not 0.
 *
 * @example
 * bool(tensor([0, 2])); // [false, true]
 */
export const bool = (x: Tensor): Tensor => cast(x, 'bool');

/**
 * The same elements under another shape, as `reshape`; unlike PyTorch's, it copies where it must.
 *
 * @example
 * view(tensor([1, 2, 3, 4]), 2, 2); // [[1, 2], [3, 4]]
 */
export const view = (x: Tensor, ...shape: Numbers): Tensor => reshape(x, ...shape);
/**
 * x under the shape of another tensor.
 *
 * @example
 * viewAs(tensor([1, 2, 3, 4]), zeros(2, 2)); // [[1, 2], [3, 4]]
 */
export const viewAs = (x: Tensor, other: Tensor): Tensor => reshape(x, other.shape);
/**
 * x broadcast to the shape of another tensor, without copying.
 *
 * @example
 * expandAs(tensor([1, 2]), zeros(2, 2)); // [[1, 2], [1, 2]]
 */
export const expandAs = (x: Tensor, other: Tensor): Tensor => expand(x, other.shape);

/**
 * The transpose of a matrix; vectors and scalars stay as they are.
 *
 * @example
 * t(tensor([[1, 2], [3, 4]])); // [[1, 3], [2, 4]]
 */
export function t(x: Tensor): Tensor {
  if (x.ndim > 2) throw new ShapeError(`t: needs at most 2 axes, got ${show(x.shape)}; use transpose() or permute()`);
  return x.ndim < 2 ? x : transpose(x);
}

/**
 * Tiles x: `repeat(2, 3)` of [a, b] is [2a, 3b], a copy. More numbers than axes add leading axes.
 *
 * @example
 * repeat(tensor([1, 2]), 2); // [1, 2, 1, 2]
 */
export function repeat(x: Tensor, ...times: Numbers): Tensor {
  const counts = listOf(times);
  if (counts.length < x.ndim || counts.some((count) => !(Number.isInteger(count) && count >= 0)))
    throw new ShapeError(`repeat: ${show(x.shape)} needs a whole number for each of its axes, got ${show(counts)}`);
  const shape = [...Array.from({ length: counts.length - x.ndim }, () => 1), ...x.shape];
  const apart = reshape(x, shape.flatMap((length) => [1, length])); // prettier-ignore
  const spread = expand(apart, counts.flatMap((count, axis) => [count, shape[axis]!])); // prettier-ignore
  return reshape(spread, counts.map((count, axis) => count * shape[axis]!)); // prettier-ignore
}

/**
 * Repeats each entry along an axis, or each element where none is given: [a, b] 2 times is [a, a, b, b].
 *
 * @example
 * repeatInterleave(tensor([1, 2]), 2); // [1, 1, 2, 2]
 */
export function repeatInterleave(x: Tensor, times: number, axis?: number): Tensor {
  if (axis === undefined) return repeatInterleave(reshape(x, [-1]), times, 0);
  const at = normaliseAxis('repeatInterleave', axis, x.ndim);
  if (!(Number.isInteger(times) && times >= 0))
    throw new ShapeError(`repeatInterleave: times must be a whole number from 0, got ${times}`);
  if (x.ndim === 0) throw new ShapeError('repeatInterleave: a scalar [] has no axis; leave the axis out');
  const apart = unsqueeze(x, at + 1);
  const spread = expand(apart, apart.shape.map((length, i) => (i === at + 1 ? times : length))); // prettier-ignore
  return reshape(spread, x.shape.map((length, i) => (i === at ? length * times : length))); // prettier-ignore
}

function product(op: string, a: Tensor, b: Tensor, ranks: readonly [number, number]): Tensor {
  if (a.ndim !== ranks[0] || b.ndim !== ranks[1])
    throw new ShapeError(
      `${op}: needs tensors of ${ranks[0]} and ${ranks[1]} axes, got ${show(a.shape)} and ${show(b.shape)}; ` +
        'matmul() takes any',
    );
  return matmul(a, b);
}

/**
 * Product of two matrices [m, k] and [k, n].
 *
 * @example
 * mm(tensor([[1, 2], [3, 4]]), tensor([[1], [1]])); // [[3], [7]]
 */
export const mm = (a: Tensor, b: Tensor): Tensor => product('mm', a, b, [2, 2]);
/**
 * Product of a matrix [m, k] and a vector [k].
 *
 * @example
 * mv(tensor([[1, 2], [3, 4]]), tensor([1, 1])); // [3, 7]
 */
export const mv = (a: Tensor, b: Tensor): Tensor => product('mv', a, b, [2, 1]);
/**
 * Sum of a[i] b[i] over two vectors.
 *
 * @example
 * dot(tensor([1, 2]), tensor([3, 4])); // 11
 */
export const dot = (a: Tensor, b: Tensor): Tensor => product('dot', a, b, [1, 1]);
/**
 * a[i] b[j] of two vectors: [m, n].
 *
 * @example
 * outer(tensor([1, 2]), tensor([3, 4])); // [[3, 4], [6, 8]]
 */
export function outer(a: Tensor, b: Tensor): Tensor {
  if (a.ndim !== 1 || b.ndim !== 1)
    throw new ShapeError(`outer: needs two vectors, got ${show(a.shape)} and ${show(b.shape)}`);
  return mul(unsqueeze(a, 1), b);
}

type Axes = number | readonly number[];

/**
 * A root and powers of numbers from 0 with the derivative 1 at 0: where a norm or a deviation is 0, the chain
 * rule then gives the gradient 0, as PyTorch has it, not infinity times 0.
 */
const except0 = (x: e.Expr, f: (x: e.Expr) => e.Expr): e.Expr => {
  const isZero = e.eq(x, 0);
  return e.select(isZero, x, f(e.select(isZero, 1, x)));
};
const safeSqrt = unary('safeSqrt', (x) => except0(x, e.sqrt), { float: true });
const power = mapFunction('safePow', ['v'], ([x], [p]) => except0(x!, (other) => e.pow(other, p!)), {
  float: true,
  scalars: 1,
});
const safePow = (x: Tensor, p: number): Tensor => (p > 0 ? applyMap(power, [x], [p]) : pow(x, p));

/**
 * Standard deviation over the given axes (default all): the root of `variance`. Its gradient where all
 * elements are equal is 0.
 *
 * @example
 * std(tensor([1, 2, 3, 4])); // 1.2910
 */
export function std(x: Tensor, axes?: Axes, options?: VarianceOptions): Tensor {
  requireFloat('std', x);
  return cast(safeSqrt(variance(cast(x, 'f32'), axes, options)), x.dtype);
}

/**
 * Computes (sum |x|^p)^(1/p) over the given axes (default all). p = Infinity gives the largest |x|, -Infinity
 * the smallest, 0 the number of elements that are not 0. The gradient of a norm that is 0 is 0.
 *
 * @example
 * norm(tensor([3, 4])); // 5
 */
export function norm(x: Tensor, p = 2, axes?: Axes, options?: ReduceOptions): Tensor {
  requireFloat('norm', x);
  if (x.dtype === 'f16') return cast(norm(cast(x, 'f32'), p, axes, options), 'f16'); // squares overflow from 256 on
  if (p === 2) return safeSqrt(sum(mul(x, x), axes, options));
  const size = abs(x);
  if (p === 1) return sum(size, axes, options);
  if (p === 0) return cast(sum(ne(x, 0), axes, options), x.dtype);
  if (p === Infinity) return max(size, axes, options);
  return p === -Infinity ? min(size, axes, options) : safePow(sum(safePow(size, p), axes, options), 1 / p);
}

/**
 * x / max(norm(x), eps) along an axis (torch normalize).
 *
 * @example
 * normalize(tensor([[3, 4]])); // [[0.6, 0.8]]
 */
export function normalize(
  x: Tensor,
  { p = 2, axis = 1, eps = 1e-12 }: { readonly p?: number; readonly axis?: number; readonly eps?: number } = {},
): Tensor {
  return div(x, maximum(norm(x, p, normaliseAxis('normalize', axis, x.ndim), { keepDims: true }), eps));
}

/**
 * Whether any element over the given axes (default all) is not 0; false where there are none. NaN is not 0.
 *
 * @example
 * any(tensor([0, 1])); // true
 */
export const any = (x: Tensor, axes?: Axes, options?: ReduceOptions): Tensor =>
  gt(sum(logicalNot(logicalNot(x)), axes, options), 0);
/**
 * Whether all elements over the given axes (default all) are not 0; true where there are none.
 *
 * @example
 * all(tensor([0, 1])); // false
 */
export const all = (x: Tensor, axes?: Axes, options?: ReduceOptions): Tensor =>
  eq(sum(logicalNot(x), axes, options), 0);
/**
 * True for infinities of either sign.
 *
 * @example
 * isinf(tensor([1, -Infinity, NaN])); // [false, true, false]
 */
export const isinf = (x: Tensor): Tensor => logicalNot(logicalOr(isFinite(x), isNan(x)));

export interface TopkOptions {
  /** The largest elements (default) or the smallest. */
  readonly largest?: boolean;
}

/** The two lowest finite f32, for NaN and infinities: -Infinity marks elements that were taken already. */
const [lowest, secondLowest] = [-3.4028234663852886e38, -3.4028232635611926e38];

/**
 * Returns [values, indices (i32)] of the k largest elements along an axis, the largest first (torch.topk). Of
 * equal elements the first comes first; NaN counts as the largest. Takes k passes over x, or sorts it.
 *
 * @example
 * topk(tensor([1, 5, 3]), 2); // [[5, 3], [1, 2]]
 */
export function topk(x: Tensor, k: number, axis = -1, options: TopkOptions = {}): [values: Tensor, indices: Tensor] {
  requireFloat('topk', x);
  checkOptions('topk', options, ['largest']);
  const at = normaliseAxis('topk', axis, x.ndim);
  if (x.ndim === 0) return topk(reshape(x, [1]), k, 0, options).map((y) => reshape(y, [])) as [Tensor, Tensor];
  const length = x.shape[at] ?? 1;
  if (!(Number.isInteger(k) && k > 0 && k <= length))
    throw new ShapeError(`topk: k must lie in 1..${length}, the length of axis ${at} of ${show(x.shape)}, got ${k}`);
  if (k > 2 * Math.log2(length)) {
    const all = argsort(x, at, { descending: options.largest ?? true });
    const indices = slice(all, ...x.shape.map((_, i): Range => (i === at ? [0, k] : null)));
    return [gather(x, at, indices), indices];
  }
  const numbers = cast(x.detach(), 'f32');
  let left =
    (options.largest ?? true)
      ? maximum(numbers, lowest)
      : where(isNan(numbers), lowest, maximum(neg(numbers), secondLowest));
  const along = x.shape.map((_, i) => (i === at ? length : 1));
  const places = reshape(arange(0, length, 1, { dtype: 'i32' }), along);
  const found: Tensor[] = [];
  for (let i = 0; i < k; i++) {
    const best = argmax(left, at, { keepDims: true });
    found.push(best);
    if (i + 1 < k) left = where(eq(places, best), -Infinity, left);
  }
  const indices = concat(found, at);
  return [gather(x, at, indices), indices];
}

/**
 * Draws `count` class numbers (i32) for each row of x [classes] or [rows, classes], by weights that need not
 * add up to 1 (torch.multinomial). Without replacement (the default) each class is drawn at most once, and at
 * least `count` weights must be above 0. The largest of weight / exponential random number is a draw; the
 * largest `count` of them are one without replacement.
 *
 * @example
 * multinomial(tensor([0, 1, 0]), 1); // [1]
 */
export function multinomial(x: Tensor, count: number, options: { readonly replacement?: boolean } = {}): Tensor {
  requireFloat('multinomial', x);
  checkOptions('multinomial', options, ['replacement']);
  const { replacement = false } = options;
  const classes = x.shape.at(-1) ?? 0;
  if (x.ndim < 1 || x.ndim > 2 || classes === 0)
    throw new ShapeError(`multinomial: the weights must be [classes] or [rows, classes], got ${show(x.shape)}`);
  if (!(Number.isInteger(count) && count > 0 && (replacement || count <= classes))) {
    const most = replacement ? '' : ` to ${classes}, the number of classes (without replacement)`;
    throw new ShapeError(`multinomial: count must be a whole number from 1${most}, got ${count}`);
  }
  whenKnown(x, ([low, high]) => {
    if (!(low >= 0)) throw new ShapeError(`multinomial: weights must not be negative, got ${low}`);
    if (!(high > 0 && high < Infinity))
      throw new ShapeError(`multinomial: some weight must be above 0, and all finite; the largest is ${high}`);
  });
  const weights = cast(x.detach(), 'f32');
  const draws = replacement ? expand(unsqueeze(weights, -2), [...x.shape.slice(0, -1), count, classes]) : weights;
  const keys = div(draws, neg(log(uniform(draws.shape, { low: 2 ** -25 }))));
  return replacement ? argmax(keys, -1) : topk(keys, count)[1];
}

/**
 * 1 with probability x, else 0, of x's type.
 *
 * @example
 * bernoulli(tensor([0, 1])); // [0, 1]
 */
export const bernoulli = (x: Tensor): Tensor => cast(lt(uniform(x.shape), x), x.dtype);

/**
 * Zeros of the shape and type of x.
 *
 * @example
 * zerosLike(tensor([1, 2])); // [0, 0]
 */
export const zerosLike = (x: Tensor, options?: TensorOptions): Tensor => fullLike(x, 0, options);
/**
 * Ones of the shape and type of x.
 *
 * @example
 * onesLike(tensor([1, 2])); // [1, 1]
 */
export const onesLike = (x: Tensor, options?: TensorOptions): Tensor => fullLike(x, 1, options);
/**
 * One value in the shape and type of x.
 *
 * @example
 * fullLike(tensor([1, 2]), 7); // [7, 7]
 */
export const fullLike = (x: Tensor, value: number, options: TensorOptions = {}): Tensor =>
  full(x.shape, value, { dtype: x.dtype, ...options });
/**
 * Uniform random numbers from [0, 1) in the shape of x.
 *
 * @example
 * randLike(zeros(2, 3)).shape; // [2, 3]
 */
export const randLike = (x: Tensor, options?: UniformOptions): Tensor => uniform(x.shape, options);
/**
 * Normal random numbers, mean 0 and deviation 1, in the shape of x.
 *
 * @example
 * randnLike(zeros(2, 3)).shape; // [2, 3]
 */
export const randnLike = (x: Tensor, options?: NormalOptions): Tensor => normal(x.shape, options);

/** Overwrites x with what an op made of it, if x can hold it. */
function inPlace(op: string, x: Tensor, result: Tensor): Tensor {
  checkHolds(op, x, result.dtype);
  return assign(x, result);
}

/**
 * x += value, in place. Returns x.
 *
 * @example
 * add_(tensor([1, 2]), 1); // [2, 3]
 */
export const add_ = (x: Tensor, value: Operand): Tensor =>
  typeof value === 'number' && !isFloat(x.dtype)
    ? inPlace('add_', x, add(x, value))
    : addAssign(x, typeof value === 'number' ? full([], value, { dtype: x.dtype }) : value);
/**
 * x -= value, in place. Returns x.
 *
 * @example
 * sub_(tensor([1, 2]), 1); // [0, 1]
 */
export const sub_ = (x: Tensor, value: Operand): Tensor => inPlace('sub_', x, sub(x, value));
/**
 * x *= value, in place. Returns x.
 *
 * @example
 * mul_(tensor([1, 2]), 3); // [3, 6]
 */
export const mul_ = (x: Tensor, value: Operand): Tensor => inPlace('mul_', x, mul(x, value));
/**
 * x /= value, in place. Returns x.
 *
 * @example
 * div_(tensor([1, 2]), 2); // [0.5, 1]
 */
export const div_ = (x: Tensor, value: Operand): Tensor => inPlace('div_', x, div(x, value));
/**
 * Bounds x in place. Returns x.
 *
 * @example
 * clamp_(tensor([-1, 5]), 0, 3); // [0, 3]
 */
export const clamp_ = (x: Tensor, min?: number, max?: number): Tensor => inPlace('clamp_', x, clamp(x, min, max));
/**
 * Overwrites every element with a value. Returns x.
 *
 * @example
 * fill_(zeros(2), 7); // [7, 7]
 */
export const fill_ = (x: Tensor, value: number): Tensor => assign(x, full([], value, { dtype: x.dtype }));
/**
 * Overwrites every element with 0. Returns x.
 *
 * @example
 * zero_(ones(2)); // [0, 0]
 */
export const zero_ = (x: Tensor): Tensor => fill_(x, 0);
/**
 * Overwrites x with normal random numbers. Returns x.
 *
 * @example
 * normal_(zeros(2, 3), 0, 0.02).shape; // [2, 3]
 */
export const normal_ = (x: Tensor, mean = 0, std = 1): Tensor => assign(x, normal(x.shape, { mean, std }));
/**
 * Overwrites x with uniform random numbers from [low, high). Returns x.
 *
 * @example
 * uniform_(zeros(2, 3), -1, 1).shape; // [2, 3]
 */
export const uniform_ = (x: Tensor, low = 0, high = 1): Tensor => assign(x, uniform(x.shape, { low, high }));
/**
 * Sets whether `backward()` computes a gradient for this leaf. Returns x.
 *
 * @example
 * requiresGrad_(zeros(2)).requiresGrad; // true
 */
export function requiresGrad_(x: Tensor, value = true): Tensor {
  x.requiresGrad = value;
  return x;
}
