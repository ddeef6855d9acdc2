import * as e from '../../kernels/map/expr.ts';
import type { Tensor } from '../tensor.ts';
import { binary, unary } from './map-op.ts';

type Operand = Tensor | number;

const addTwo = binary('add', e.add);
const subTwo = binary('sub', e.sub);
const mulTwo = binary('mul', e.mul);
const divTwo = binary('div', e.div, { float: true });
/** Options of functions whose results leave f16's range, or lose too many digits in it. */
const single = { float: true, autocast: 'f32' } as const;
const powTwo = binary('pow', e.pow, single);
const square = unary('square', (x) => e.mul(x, x), { autocast: 'f32' });
const cube = unary('cube', (x) => e.mul(e.mul(x, x), x), { autocast: 'f32' });
const reciprocal = unary('reciprocal', (x) => e.div(1, x), single);

/** a + b with NumPy broadcasting. */
export const add = (a: Operand, b: Operand): Tensor => addTwo(a, b);
/** a - b with NumPy broadcasting. */
export const sub = (a: Operand, b: Operand): Tensor => subTwo(a, b);
/** a * b with NumPy broadcasting. */
export const mul = (a: Operand, b: Operand): Tensor => mulTwo(a, b);
/** a / b with NumPy broadcasting; integers divide to f32. */
export const div = (a: Operand, b: Operand): Tensor => divTwo(a, b);

/**
 * a to the power b; NaN for a negative a and a b that is not whole. Small whole exponents are products of a.
 */
export function pow(a: Operand, b: Operand): Tensor {
  if (typeof a !== 'number') {
    if (b === 2) return square(a);
    if (b === 3) return cube(a);
    if (b === -1) return reciprocal(a);
    if (b === 0.5) return sqrt(a);
  }
  return powTwo(a, b);
}

const float = { float: true };
export const neg = unary('neg', e.neg);
export const exp = unary('exp', e.exp, single);
/** exp(x) - 1, exact near 0. */
export const expm1 = unary('expm1', e.expm1, single);
export const log = unary('log', e.log, single);
/** log(1 + x), exact near 0. */
export const log1p = unary('log1p', e.log1p, single);
export const sqrt = unary('sqrt', e.sqrt, float);
/** 1 / sqrt(x). */
export const rsqrt = unary('rsqrt', e.rsqrt, single);
export const abs = unary('abs', e.abs);
export const sign = unary('sign', e.sign);
export const floor = unary('floor', e.floor, float);
export const ceil = unary('ceil', e.ceil, float);
/** Nearest whole number, halves to even. */
export const round = unary('round', e.round, float);
export const sin = unary('sin', e.sin, float);
export const cos = unary('cos', e.cos, float);
/** The error function 2/sqrt(pi) * integral of exp(-t^2) from 0 to x. */
export const erf = unary('erf', e.erf, float);
export const tanh = unary('tanh', e.tanh, float);
/** 1 / (1 + exp(-x)), without overflow on either side. */
export const sigmoid = unary('sigmoid', e.sigmoid, float);
