import * as e from '../../kernels/map/expr.ts';
import { ShapeError } from '../op.ts';
import { heldAs } from '../shapes.ts';
import type { Tensor } from '../tensor.ts';
import { cast } from './broadcast.ts';
import { applyMap, binary, mapFunction } from './map-op.ts';

type Operand = Tensor | number;

const truth = (name: string, build: (a: e.Expr, b: e.Expr) => e.Expr) => {
  const compare = binary(name, build);
  return (a: Operand, b: Operand): Tensor => compare(a, b);
};

/**
 * @example
 * eq(tensor([1, 2]), 2); // [false, true]
 */
export const eq = truth('eq', e.eq);
/**
 * @example
 * ne(tensor([1, 2]), 2); // [true, false]
 */
export const ne = truth('ne', e.ne);
/**
 * @example
 * lt(tensor([1, 2]), 2); // [true, false]
 */
export const lt = truth('lt', e.lt);
/**
 * @example
 * le(tensor([1, 2, 3]), 2); // [true, true, false]
 */
export const le = truth('le', e.le);
/**
 * @example
 * gt(tensor([1, 2, 3]), 2); // [false, false, true]
 */
export const gt = truth('gt', e.gt);
/**
 * @example
 * ge(tensor([1, 2]), 2); // [false, true]
 */
export const ge = truth('ge', e.ge);

const and = mapFunction('logicalAnd', ['b', 'b'], ([a, b]) => e.and(a!, b!));
const or = mapFunction('logicalOr', ['b', 'b'], ([a, b]) => e.or(a!, b!));
const not = mapFunction('logicalNot', ['b'], ([a]) => e.not(a!));
const finite = mapFunction('isFinite', ['v'], ([a]) => e.isFinite(a!), { float: true });

const nan = mapFunction('isNan', ['v'], ([a]) => e.isNan(a!), { float: true });

/**
 * Numbers count as true unless they are 0.
 *
 * @example
 * logicalAnd(tensor([0, 1, 2]), tensor([1, 1, 0])); // [false, true, false]
 */
export const logicalAnd = (a: Tensor, b: Tensor): Tensor => applyMap(and, [a, b]);
/**
 * @example
 * logicalOr(tensor([0, 1, 2]), tensor([0, 1, 0])); // [false, true, true]
 */
export const logicalOr = (a: Tensor, b: Tensor): Tensor => applyMap(or, [a, b]);
/**
 * @example
 * logicalNot(tensor([0, 2])); // [true, false]
 */
export const logicalNot = (a: Tensor): Tensor => applyMap(not, [a]);
/**
 * False for NaN and infinities.
 *
 * @example
 * isfinite(tensor([1, NaN, Infinity])); // [true, false, false]
 */
export const isFinite = (a: Tensor): Tensor => applyMap(finite, [a]);
/**
 * True for NaN, by its bits.
 *
 * @example
 * isnan(tensor([1, NaN, Infinity])); // [false, true, false]
 */
export const isNan = (a: Tensor): Tensor => applyMap(nan, [a]);

const maximumTwo = binary('maximum', e.max);
const minimumTwo = binary('minimum', e.min);

/**
 * The larger of a and b by element; NaN if either is NaN. Equal ones share the gradient.
 *
 * @example
 * maximum(tensor([1, 5]), tensor([3, 2])); // [3, 5]
 */
export const maximum = (a: Operand, b: Operand): Tensor => maximumTwo(a, b);
/**
 * The smaller of a and b by element; NaN if either is NaN. Equal ones share the gradient.
 *
 * @example
 * minimum(tensor([1, 5]), 3); // [1, 3]
 */
export const minimum = (a: Operand, b: Operand): Tensor => minimumTwo(a, b);

const above = (x: e.Expr, lo: e.Expr): e.Expr => e.select(e.le(x, lo), lo, x);
const below = (x: e.Expr, hi: e.Expr): e.Expr => e.select(e.ge(x, hi), hi, x);
const clampBoth = mapFunction('clamp', ['v'], ([x], [lo, hi]) => below(above(x!, lo!), hi!), { scalars: 2 });
const clampLow = mapFunction('clamp', ['v'], ([x], [lo]) => above(x!, lo!), { scalars: 1 });
const clampHigh = mapFunction('clamp', ['v'], ([x], [hi]) => below(x!, hi!), { scalars: 1 });

/**
 * Computes min(max(x, low), high); either bound may be undefined. The gradient is 1 between the bounds and 0
 * at them, as in PyTorch 2.15.
 *
 * @example
 * clamp(tensor([-1, 2, 5]), 0, 3); // [0, 2, 3]
 */
export function clamp(x: Tensor, min?: number, max?: number): Tensor {
  if (min === undefined && max === undefined) throw new ShapeError('clamp: needs min, max or both');
  if (min === undefined) return applyMap(clampHigh, [x], [max!]);
  return max === undefined ? applyMap(clampLow, [x], [min]) : applyMap(clampBoth, [x], [min, max]);
}

const choose = mapFunction('where', ['b', 'v', 'v'], ([c, a, b]) => e.select(c!, a!, b!));
const chooseLeft = mapFunction('where', ['b', 'v'], ([c, b], [s]) => e.select(c!, s!, b!), { scalars: 1 });
const chooseRight = mapFunction('where', ['b', 'v'], ([c, a], [s]) => e.select(c!, a!, s!), { scalars: 1 });

/**
 * condition ? a : b by element, with broadcasting; one of a and b may be a number.
 *
 * @example
 * const x = tensor([-1, 2]);
 * where(x.gt(0), x, 0); // [0, 2]
 */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  if (typeof a === 'number') {
    if (typeof b === 'number')
      throw new ShapeError('where: one of the two branches must be a tensor; wrap a number with full()');
    return applyMap(chooseLeft, [condition, b], [a]);
  }
  return typeof b === 'number' ? applyMap(chooseRight, [condition, a], [b]) : applyMap(choose, [condition, a, b]);
}

/**
 * x with `value` where the mask is true, in x's type: bool takes whether it is not 0, integers truncate.
 *
 * @example
 * const x = tensor([-1, 2]);
 * maskedFill(x, x.lt(0), 9); // [9, 2]
 */
export function maskedFill(x: Tensor, mask: Tensor, value: number): Tensor {
  const filled = where(mask, heldAs('maskedFill', x.dtype, value), x);
  return x.dtype === 'bool' ? cast(filled, 'bool') : filled;
}
