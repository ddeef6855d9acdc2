import * as e from '../../kernels/map/expr.ts';
import { ShapeError } from '../op.ts';
import { show } from '../shapes.ts';
import { isFloat } from '../tensor.ts';
import type { Tensor } from '../tensor.ts';
import { cast } from './broadcast.ts';
import { binary, unary } from './map-op.ts';
import { clone } from './reshape.ts';

type Operand = Tensor | number;

const addTwo = binary('add', e.add);
const asNumbers = "convert with to('i32')";
const subTwo = binary('sub', e.sub, {
  refuses: { bool: `logicalNot() inverts a mask, ne() compares two, or ${asNumbers}` },
});
const mulTwo = binary('mul', e.mul);
const divTwo = binary('div', e.div, { float: true });
/** Options of functions whose results leave f16's range, or lose too many digits in it. */
const single = { float: true, autocast: 'f32' } as const;
const powTwo = binary('pow', e.pow, { autocast: 'f32' });
const square = unary('square', (x) => e.mul(x, x), { autocast: 'f32' });
const cube = unary('cube', (x) => e.mul(e.mul(x, x), x), { autocast: 'f32' });
const reciprocal = unary('reciprocal', (x) => e.div(1, x), single);

/** a + b with NumPy broadcasting; of two bool: a or b. */
export const add = (a: Operand, b: Operand): Tensor => addTwo(a, b);
/** a - b with NumPy broadcasting; bool is refused. */
export const sub = (a: Operand, b: Operand): Tensor => subTwo(a, b);
/** a * b with NumPy broadcasting; of two bool: a and b. */
export const mul = (a: Operand, b: Operand): Tensor => mulTwo(a, b);
/** a / b with NumPy broadcasting; integers divide to f32. */
export const div = (a: Operand, b: Operand): Tensor => divTwo(a, b);

/**
 * a to the power b as IEEE 754 has it: pow(0, -2) is Infinity, pow(x, 0) is 1 for every x, NaN too, and a
 * negative a with a b that is not whole gives NaN. Whole numbers to whole powers stay whole, and wrap as
 * products do; to a power below 0 they are 0, but for 1 and -1. Small whole exponents are products of a.
 */
export function pow(a: Operand, b: Operand): Tensor {
  const isBool = (x: Operand): boolean => typeof x !== 'number' && x.dtype === 'bool';
  if (isBool(a) && isBool(b))
    throw new ShapeError(`pow: does not take bool ${show((a as Tensor).shape)} twice; ${asNumbers}`);
  if (typeof a !== 'number') {
    if (a.dtype === 'bool' && typeof b === 'number') return pow(cast(a, 'i32'), b);
    if (!isFloat(a.dtype) && typeof b === 'number' && Number.isInteger(b) && b < 0)
      throw new ShapeError(`pow: ${a.dtype} ${show(a.shape)} to the power ${b} is not whole; convert with to('f32')`);
    if (b === 2) return square(a);
    if (b === 3) return cube(a);
    if (b === -1) return reciprocal(a);
    if (b === 0.5) return sqrt(a);
  }
  return powTwo(a, b);
}

const float = { float: true };
export const neg = unary('neg', e.neg, {
  refuses: { bool: `logicalNot() inverts a mask, or ${asNumbers}`, u32: `it has no negative numbers; ${asNumbers}` },
});
export const exp = unary('exp', e.exp, single);
/** exp(x) - 1, exact near 0. */
export const expm1 = unary('expm1', e.expm1, single);
export const log = unary('log', e.log, single);
/** log(1 + x), exact near 0. */
export const log1p = unary('log1p', e.log1p, single);
export const sqrt = unary('sqrt', e.sqrt, float);
/** 1 / sqrt(x). */
export const rsqrt = unary('rsqrt', e.rsqrt, single);
const numbers = { refuses: { bool: asNumbers } };
export const abs = unary('abs', e.abs, numbers);
export const sign = unary('sign', e.sign);
/** Defines a function that leaves whole numbers as they are. */
const toWhole = (name: string, build: (x: e.Expr) => e.Expr): ((x: Tensor) => Tensor) => {
  const ofFloats = unary(name, build, numbers);
  return (x) => (isFloat(x.dtype) || x.dtype === 'bool' ? ofFloats(x) : clone(x));
};
/** The largest whole number up to x; integers stay as they are. */
export const floor = toWhole('floor', e.floor);
/** The smallest whole number from x on; integers stay as they are. */
export const ceil = toWhole('ceil', e.ceil);
/** Nearest whole number, halves to even; integers stay as they are. */
export const round = toWhole('round', e.round);
export const sin = unary('sin', e.sin, float);
export const cos = unary('cos', e.cos, float);
/** The error function 2/sqrt(pi) * integral of exp(-t^2) from 0 to x. */
export const erf = unary('erf', e.erf, float);
export const tanh = unary('tanh', e.tanh, float);
/** 1 / (1 + exp(-x)), without overflow on either side. */
export const sigmoid = unary('sigmoid', e.sigmoid, float);
