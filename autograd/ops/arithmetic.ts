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

/**
 * a + b with NumPy broadcasting; of two bool: a or b.
 *
 * @example
 * add(tensor([[1], [2]]), tensor([10, 20])); // [[11, 21], [12, 22]]
 */
export const add = (a: Operand, b: Operand): Tensor => addTwo(a, b);
/**
 * a - b with NumPy broadcasting; bool is refused.
 *
 * @example
 * sub(tensor([3, 5]), 1); // [2, 4]
 */
export const sub = (a: Operand, b: Operand): Tensor => subTwo(a, b);
/**
 * a * b with NumPy broadcasting; of two bool: a and b.
 *
 * @example
 * mul(tensor([1, 2]), tensor([3, 4])); // [3, 8]
 */
export const mul = (a: Operand, b: Operand): Tensor => mulTwo(a, b);
/**
 * a / b with NumPy broadcasting; integers divide to f32.
 *
 * @example
 * div(tensor([1, 2]), 4); // [0.25, 0.5]
 */
export const div = (a: Operand, b: Operand): Tensor => divTwo(a, b);

/**
 * a to the power b as IEEE 754 has it: pow(0, -2) is Infinity, pow(x, 0) is 1 for every x, NaN too, and a
 * negative a with a b that is not whole gives NaN. Whole numbers to whole powers stay whole, and wrap as
 * products do; to a power below 0 they are 0, but for 1 and -1. Small whole exponents are products of a.
 *
 * @example
 * pow(tensor([1, 2, 3]), 2); // [1, 4, 9]
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
/**
 * @example
 * neg(tensor([1, -2])); // [-1, 2]
 */
export const neg = unary('neg', e.neg, {
  refuses: { bool: `logicalNot() inverts a mask, or ${asNumbers}`, u32: `it has no negative numbers; ${asNumbers}` },
});
/**
 * @example
 * exp(tensor([0, 1])); // [1, 2.7183]
 */
export const exp = unary('exp', e.exp, single);
/**
 * exp(x) - 1, exact near 0.
 *
 * @example
 * expm1(tensor([0, 1])); // [0, 1.7183]
 */
export const expm1 = unary('expm1', e.expm1, single);
/**
 * @example
 * log(tensor([1, 10])); // [0, 2.3026]
 */
export const log = unary('log', e.log, single);
/**
 * log(1 + x), exact near 0.
 *
 * @example
 * log1p(tensor([0, 1])); // [0, 0.6931]
 */
export const log1p = unary('log1p', e.log1p, single);
/**
 * @example
 * sqrt(tensor([4, 9])); // [2, 3]
 */
export const sqrt = unary('sqrt', e.sqrt, float);
/**
 * 1 / sqrt(x).
 *
 * @example
 * rsqrt(tensor([4, 16])); // [0.5, 0.25]
 */
export const rsqrt = unary('rsqrt', e.rsqrt, single);
const numbers = { refuses: { bool: asNumbers } };
/**
 * @example
 * abs(tensor([-1, 2])); // [1, 2]
 */
export const abs = unary('abs', e.abs, numbers);
/**
 * @example
 * sign(tensor([-3, 0, 2])); // [-1, 0, 1]
 */
export const sign = unary('sign', e.sign);
/** Defines a function that leaves whole numbers as they are. */
const toWhole = (name: string, build: (x: e.Expr) => e.Expr): ((x: Tensor) => Tensor) => {
  const ofFloats = unary(name, build, numbers);
  return (x) => (isFloat(x.dtype) || x.dtype === 'bool' ? ofFloats(x) : clone(x));
};
/**
 * The largest whole number up to x; integers stay as they are.
 *
 * @example
 * floor(tensor([1.7, -1.2])); // [1, -2]
 */
export const floor = toWhole('floor', e.floor);
/**
 * The smallest whole number from x on; integers stay as they are.
 *
 * @example
 * ceil(tensor([1.2, -1.7])); // [2, -1]
 */
export const ceil = toWhole('ceil', e.ceil);
/**
 * Nearest whole number, halves to even; integers stay as they are.
 *
 * @example
 * round(tensor([0.5, 1.5, 2.4])); // [0, 2, 2]
 */
export const round = toWhole('round', e.round);
/**
 * @example
 * sin(tensor([0, 1])); // [0, 0.8415]
 */
export const sin = unary('sin', e.sin, float);
/**
 * @example
 * cos(tensor([0, 1])); // [1, 0.5403]
 */
export const cos = unary('cos', e.cos, float);
/**
 * The error function 2/sqrt(pi) * integral of exp(-t^2) from 0 to x.
 *
 * @example
 * erf(tensor([0, 1])); // [0, 0.8427]
 */
export const erf = unary('erf', e.erf, float);
/**
 * @example
 * tanh(tensor([0, 1])); // [0, 0.7616]
 */
export const tanh = unary('tanh', e.tanh, float);
/**
 * 1 / (1 + exp(-x)), without overflow on either side.
 *
 * @example
 * sigmoid(tensor([0, 1])); // [0.5, 0.7311]
 */
export const sigmoid = unary('sigmoid', e.sigmoid, float);
