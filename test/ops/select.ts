import * as tf from '../../autograd/index.ts';
import { elementwise } from '../support/nd.ts';
import { bool, f16, f32, i32, values } from '../support/op-case.ts';
import type { ErrorCase, OpCase } from '../support/op-case.ts';

const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
const choose = (c: number, a: number, b: number): number => (c !== 0 ? a : b);
const limit = (low: number, high: number) => (x: number) => (x < low ? low : x > high ? high : x);

const where = { op: 'where', run: tf.where, ref: elementwise.bind(null, choose) } as const;
const clamp = { op: 'clamp', inputs: [f32([7], -3, 3)] } as const;

export const cases: readonly OpCase[] = [
  { ...where, inputs: [bool([6]), f32([6]), f32([6])], second: true },
  { ...where, inputs: [bool([3, 1]), f32([4]), f32([2, 1, 4])] },
  { ...where, inputs: [bool([0]), f32([0]), f32([1])] },
  { ...where, inputs: [bool([5]), f16([5]), f16([])], strided: false },
  { ...where, inputs: [i32([5], -1, 1), i32([5]), i32([5])], strided: false },
  // The branch not taken must not leak into the gradient.
  {
    ...where,
    inputs: [values([1, 0], { dtype: 'bool' }), values([1, inf]), values([nan, 2])],
    grads: [[], [1, 0], [0, 1]],
    note: 'with NaN and infinity',
  },
  {
    op: 'where',
    note: 'number left',
    run: (c, b) => tf.where(c!, -1.5, b!),
    ref: (c, b) => elementwise((x, y) => choose(x, -1.5, y), c!, b!),
    inputs: [bool([5]), f32([5])],
  },
  {
    op: 'where',
    note: 'number right',
    run: (c, a) => tf.where(c!, a!, 2.5),
    ref: (c, a) => elementwise((x, y) => choose(x, y, 2.5), c!, a!),
    inputs: [bool([5]), f32([5])],
  },
  {
    op: 'maskedFill',
    run: (x, m) => tf.maskedFill(x!, m!, -7),
    ref: (x, m) => elementwise((v, t) => (t ? -7 : v), x!, m!),
    inputs: [f32([2, 3]), bool([3])],
    covers: ['where'],
  },
  { ...clamp, note: 'both', run: (x) => tf.clamp(x!, -1, 1.5), ref: (x) => elementwise(limit(-1, 1.5), x!) },
  { ...clamp, note: 'low', run: (x) => tf.clamp(x!, -1), ref: (x) => elementwise(limit(-1, inf), x!) },
  { ...clamp, note: 'high', run: (x) => tf.clamp(x!, undefined, 1), ref: (x) => elementwise(limit(-inf, 1), x!) },
  {
    op: 'clamp',
    note: 'bounds stop the gradient',
    run: (x) => tf.clamp(x!, -1, 1),
    ref: (x) => elementwise(limit(-1, 1), x!),
    inputs: [values([-1, 1, -2, 2, 0])],
    grads: [[0, 0, 0, 0, 1]],
  },
  {
    op: 'clamp',
    note: 'at the edges',
    run: (x) => tf.clamp(x!, -1, 1),
    ref: (x) => elementwise(limit(-1, 1), x!),
    inputs: [values([nan, inf, -inf])],
    grad: false,
  },
  {
    op: 'clamp',
    note: 'integers',
    run: (x) => tf.clamp(x!, -1, 1),
    ref: (x) => elementwise(limit(-1, 1), x!),
    inputs: [i32([5], -4, 4)],
  },
];

export const errors: readonly ErrorCase[] = [
  { op: 'where', run: () => tf.where(tf.zeros([2]), 1, 2), says: /tensor/ },
  { op: 'where', run: () => tf.where(tf.zeros([2]), tf.zeros([3]), 2), says: /\[2\].*\[3\]/ },
  { op: 'clamp', run: () => tf.clamp(tf.zeros([2])), says: /min, max or both/ },
];
