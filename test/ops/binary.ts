import * as tf from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { elementwise } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { bool, f16, f32, i32, u32, values } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';

/** Functions of two numbers, each also with a number on the left or the right. */
interface Row {
  readonly op: string;
  readonly run: (a: Tensor | number, b: Tensor | number) => Tensor;
  readonly ref: (a: number, b: number) => number;
  readonly range?: readonly [number, number];
  readonly second?: boolean;
  readonly grad?: boolean;
}

const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
/** A NaN operand gives NaN. */
const pick = (choose: (a: number, b: number) => number) => (a: number, b: number) =>
  a !== a ? a : b !== b ? b : choose(a, b);

const arithmetic: readonly Row[] = [
  { op: 'add', run: tf.add, ref: (a, b) => a + b, second: true },
  { op: 'sub', run: tf.sub, ref: (a, b) => a - b, second: true },
  { op: 'mul', run: tf.mul, ref: (a, b) => a * b, second: true },
  { op: 'div', run: tf.div, ref: (a, b) => a / b, range: [0.4, 3], second: true },
  { op: 'pow', run: tf.pow, ref: (a, b) => (a === 1 ? 1 : a ** b), range: [0.4, 2.5], second: true },
  { op: 'maximum', run: tf.maximum, ref: pick(Math.max) },
  { op: 'minimum', run: tf.minimum, ref: pick(Math.min) },
];

const comparisons: readonly Row[] = [
  { op: 'eq', run: tf.eq, ref: (a, b) => Number(a === b) },
  { op: 'ne', run: tf.ne, ref: (a, b) => Number(a !== b) },
  { op: 'lt', run: tf.lt, ref: (a, b) => Number(a < b) },
  { op: 'le', run: tf.le, ref: (a, b) => Number(a <= b) },
  { op: 'gt', run: tf.gt, ref: (a, b) => Number(a > b) },
  { op: 'ge', run: tf.ge, ref: (a, b) => Number(a >= b) },
];

const edges: readonly InputSpec[] = [
  values([nan, 1, nan, inf, -inf, inf, 0, 0, -1, 1e30, 7]),
  values([1, nan, nan, inf, inf, 1, 0, 1, 0, 1e-30, 7]),
];

const twoShapes: readonly (readonly [readonly number[], readonly number[]])[] = [
  [[7], []],
  [[2, 3], [3]],
  [
    [3, 1],
    [1, 4],
  ],
  [
    [4, 1, 3],
    [2, 1],
  ],
  [[0, 3], [1]],
];

function casesOf({ op, run, ref, range = [-2, 2], second, grad }: Row): OpCase[] {
  const two = { op, run, ref: (a: Nd, b: Nd) => elementwise(ref, a, b), grad };
  const s = op === 'pow' ? 2.5 : 1.5;
  return [
    { ...two, inputs: [f32([6], ...range), f32([6], ...range)], second },
    { ...two, inputs: [f16([6], ...range), f16([6], ...range)], strided: false },
    { ...two, inputs: edges, note: 'at the edges', grad: false, strided: false },
    {
      ...two,
      op,
      run: (a: Tensor) => run(a, s),
      ref: (a: Nd) => elementwise((x) => ref(x, s), a),
      note: 'number right',
      inputs: [f32([5], ...range)],
      second,
    },
    {
      ...two,
      op,
      run: (a: Tensor) => run(s, a),
      ref: (a: Nd) => elementwise((x) => ref(s, x), a),
      note: 'number left',
      inputs: [f32([5], ...range)],
      second,
    },
  ];
}

const shared = arithmetic[0]!;
const mul = arithmetic[2]!;
const int = (row: Row): Pick<OpCase, 'op' | 'run' | 'ref' | 'strided'> => ({
  op: row.op,
  run: row.run,
  ref: (a: Nd, b: Nd) => elementwise(row.ref, a, b),
  strided: false,
});
const truth = { grad: false, strided: false };

export const cases: readonly OpCase[] = [
  ...arithmetic.flatMap(casesOf),
  ...comparisons.flatMap((row) => casesOf({ ...row, grad: false })),
  ...twoShapes.map(([a, b]) => ({ ...int(shared), strided: true, inputs: [f32(a), f32(b)] })),
  ...twoShapes.map(([a, b]) => ({ ...int(mul), strided: true, inputs: [f32(a), f32(b)] })),
  { ...int(mul), inputs: [f32([3], 1e18, 1e19), f32([3], 1e18, 1e19)], note: 'large' },
  ...[shared, arithmetic[1]!, mul, arithmetic[5]!].map((row) => ({
    ...int(row),
    inputs: [i32([5], -9, 9), i32([5], -9, 9)],
  })),
  { ...int(shared), inputs: [u32([5]), i32([5], -9, 9)], note: 'promotes' },
  { ...int(shared), inputs: [bool([5]), u32([5])], note: 'promotes' },
  { ...int(arithmetic[3]!), inputs: [i32([5], -9, 9), i32([5], 1, 9)], note: 'integers divide to f32' },
  { ...int(shared), inputs: [f16([5]), f32([5])], note: 'promotes' },
  { ...int(comparisons[2]!), inputs: [i32([9], -2, 2), i32([9], -2, 2)] },
  { ...int(comparisons[0]!), inputs: [bool([9]), bool([9])] },
  {
    op: 'pow',
    note: 'negative and zero bases',
    run: (a, b) => tf.pow(a!, b!),
    ref: (a, b) => elementwise((x, y) => x ** y, a!, b!),
    inputs: [values([-2, -2, -2, 0, 0, 0, -1.5]), values([3, 2, 0.5, 0, 2, -1, -2])],
    grad: false,
    strided: false,
  },
  {
    op: 'maximum',
    note: 'ties share the gradient',
    run: (a, b) => tf.maximum(a!, b!),
    ref: (a, b) => elementwise(Math.max, a!, b!),
    inputs: [values([1, 2, 3]), values([1, 3, 2])],
    grads: [
      [0.5, 0, 1],
      [0.5, 1, 0],
    ],
    strided: false,
  },
  {
    op: 'logicalAnd',
    run: (a, b) => tf.logicalAnd(a!, b!),
    ref: (a, b) => elementwise((x, y) => Number(x !== 0 && y !== 0), a!, b!),
    inputs: [bool([2, 3]), bool([3])],
    ...truth,
  },
  {
    op: 'logicalOr',
    run: (a, b) => tf.logicalOr(a!, b!),
    ref: (a, b) => elementwise((x, y) => Number(x !== 0 || y !== 0), a!, b!),
    inputs: [i32([2, 3], -1, 1), bool([3])],
    ...truth,
  },
  {
    op: 'logicalNot',
    run: (a) => tf.logicalNot(a!),
    ref: (a) => elementwise((x) => Number(x === 0), a!),
    inputs: [values([0, 1, -2, 0.5])],
    ...truth,
  },
  {
    op: 'isFinite',
    run: (a) => tf.isFinite(a!),
    ref: (a) => elementwise((x) => Number(Number.isFinite(x)), a!),
    inputs: [values([nan, inf, -inf, 0, 3e38])],
    ...truth,
  },
  {
    op: 'isNan',
    run: (a) => tf.isNan(a!),
    ref: (a) => elementwise((x) => Number(Number.isNaN(x)), a!),
    inputs: [values([nan, inf, -inf, 0, 3e38])],
    ...truth,
  },
];

export const errors: readonly ErrorCase[] = [
  { op: 'add', run: () => tf.add(tf.zeros([2, 3]), tf.zeros([4])), says: /\[2, 3\].*\[4\]/ },
  { op: 'mul', run: () => tf.mul(tf.zeros([2]), tf.zeros([3])), says: /\[2\].*\[3\]/ },
  { op: 'maximum', run: () => tf.maximum(1, 2), says: /tensor/ },
  { op: 'lt', run: () => tf.lt(tf.zeros([0]), tf.zeros([2])), says: /\[0\].*\[2\]/ },
];
