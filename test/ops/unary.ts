import * as tf from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { elementwise } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { f16, f32, i32, values } from '../support/op-case.ts';
import type { OpCase } from '../support/op-case.ts';
import { erf, roundHalfEven } from '../support/special.ts';

/** Functions of one number. */
interface Row {
  readonly op: string;
  readonly run: (x: Tensor) => Tensor;
  readonly ref: (x: number) => number;
  /** Where the function is smooth. */
  readonly range?: readonly [number, number];
  /** Has no second derivative worth comparing. */
  readonly piecewise?: boolean;
  /** Arguments at the edges; compared with PyTorch's answers where JavaScript's differ. */
  readonly edges?: readonly number[];
}

const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const gelu = (x: number): number => 0.5 * x * (1 + erf(x * Math.SQRT1_2));
const geluTanh = (x: number): number => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
const all = [nan, inf, -inf, 0, 100, -100, 1e-3, -1e-3, 3e4];

const rows: readonly Row[] = [
  { op: 'neg', run: tf.neg, ref: (x) => -x, edges: all },
  { op: 'exp', run: tf.exp, ref: Math.exp, edges: [nan, inf, -inf, 0, 100, -100, 80, 1e-6] },
  { op: 'expm1', run: tf.expm1, ref: Math.expm1, edges: [...all, 0.14, 0.16, -0.14, -0.16, 1e-6] },
  { op: 'log', run: tf.log, ref: Math.log, range: [0.2, 4], edges: [nan, inf, 0, -1, 1e-30, 1e30, 1.0001] },
  {
    op: 'log1p',
    run: tf.log1p,
    ref: Math.log1p,
    range: [-0.7, 4],
    edges: [nan, inf, -1, -2, 1e-7, -1e-7, 0.07, 0.09, -0.07, -0.09, 1e20],
  },
  { op: 'sqrt', run: tf.sqrt, ref: Math.sqrt, range: [0.2, 4], edges: [nan, inf, 0, -1, 1e-30, 1e30] },
  { op: 'rsqrt', run: tf.rsqrt, ref: (x) => 1 / Math.sqrt(x), range: [0.2, 4], edges: [nan, inf, 0, -1, 1e-30, 1e30] },
  { op: 'abs', run: tf.abs, ref: Math.abs, piecewise: true, edges: all },
  { op: 'sign', run: tf.sign, ref: (x) => Math.sign(x || 0), piecewise: true, edges: all },
  { op: 'floor', run: tf.floor, ref: Math.floor, piecewise: true, edges: [...all, 0.5, -0.5, -1, 7] },
  { op: 'ceil', run: tf.ceil, ref: Math.ceil, piecewise: true, edges: [...all, 0.5, -0.5, -1, 7] },
  { op: 'round', run: tf.round, ref: roundHalfEven, piecewise: true, edges: [...all, 0.5, 1.5, 2.5, -0.5, -1.5] },
  { op: 'sin', run: tf.sin, ref: Math.sin, edges: [nan, inf, 0, 100, -100, Math.PI] },
  { op: 'cos', run: tf.cos, ref: Math.cos, edges: [nan, inf, 0, 100, -100, Math.PI] },
  { op: 'erf', run: tf.erf, ref: erf, edges: [...all, 3.9, 4.1, -3.9, 0.5] },
  { op: 'tanh', run: tf.tanh, ref: Math.tanh, edges: [...all, 9, 11, -9] },
  { op: 'sigmoid', run: tf.sigmoid, ref: sigmoid, edges: [...all, 20, -20] },
  { op: 'square', run: (x) => tf.pow(x, 2), ref: (x) => x * x, edges: all },
  { op: 'cube', run: (x) => tf.pow(x, 3), ref: (x) => x ** 3, edges: all },
  { op: 'reciprocal', run: (x) => tf.pow(x, -1), ref: (x) => 1 / x, range: [0.3, 3], edges: all },
  { op: 'relu', run: tf.relu, ref: (x) => (x > 0 ? x : x !== x ? x : 0), piecewise: true, edges: all },
  { op: 'gelu', run: (x) => tf.gelu(x), ref: gelu, edges: [nan, 0, 100, -100, 5, -5] },
  { op: 'geluTanh', run: (x) => tf.gelu(x, { approximate: 'tanh' }), ref: geluTanh, edges: [nan, 0, 100, -100, 5, -5] },
  { op: 'silu', run: tf.silu, ref: (x) => x * sigmoid(x), edges: [nan, 0, 100, -100, 20, -20] },
  { op: 'softplus', run: tf.softplus, ref: softplus, edges: all },
  { op: 'logSigmoid', run: tf.logSigmoid, ref: (x) => -softplus(-x), edges: all },
  { op: 'leakyRelu', run: (x) => tf.leakyRelu(x, 0.1), ref: (x) => (x > 0 ? x : 0.1 * x), piecewise: true, edges: all },
];

/** Functions of integers too, which keep their type; the others convert to f32. */
const whole = ['neg', 'abs', 'sign', 'square', 'cube', 'relu'];

// Shapes once for all functions: they share one way of walking their operands.
const shapes = [[], [0], [1], [3, 0, 2], [1, 5, 1], [3, 5], [4, 8], [2, 3, 5], [2, 1, 4, 3], [257], [2, 3, 2, 2, 3]];

export const cases: readonly OpCase[] = rows.flatMap(
  ({ op, run, ref, range = [-2, 2], piecewise, edges }): OpCase[] => {
    const row = { op, run, ref: (x: Nd) => elementwise(ref, x) };
    const integers = whole.includes(op) || op === 'exp';
    return [
      { ...row, inputs: [f32([7], ...range)], second: !piecewise },
      { ...row, inputs: [f16([6], ...range)], strided: false },
      ...(edges ? [{ ...row, note: 'at the edges', inputs: [values(edges)], grad: false, strided: false }] : []),
      ...(integers ? [{ ...row, inputs: [i32([6], -4, 4)], strided: false }] : []),
      ...(op === 'exp' ? shapes.map((shape) => ({ ...row, inputs: [f32(shape)] })) : []),
    ];
  },
);
