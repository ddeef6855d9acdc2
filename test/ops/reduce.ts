import * as tf from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { along, total } from '../support/nd.ts';
import { bool, f16, f32, i32, u32, values } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';

const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
const mean = (list: number[]): number => total(list) / list.length;
const variance =
  (correction: number) =>
  (list: number[]): number =>
    total(list.map((x) => (x - mean(list)) ** 2)) / Math.max(0, list.length - correction);
const logsumexp = (list: number[]): number => {
  const top = Math.max(...list);
  return Number.isFinite(top) ? top + Math.log(total(list.map((x) => Math.exp(x - top)))) : top;
};
const largest = (list: number[]): number => (list.some(Number.isNaN) ? nan : Math.max(...list));
const smallest = (list: number[]): number => (list.some(Number.isNaN) ? nan : Math.min(...list));
/** Of the first NaN, else of the first largest. */
const argLargest = (list: number[]): number =>
  list.some(Number.isNaN) ? list.findIndex(Number.isNaN) : list.indexOf(Math.max(...list));
const argSmallest = (list: number[]): number => argLargest(list.map((x) => -x));

type Axes = number | readonly number[] | undefined;
type Reduce = (x: Tensor, axes?: Axes, options?: { readonly keepDims?: boolean }) => Tensor;

/** One case: the function over some axes; the axis list must be non-negative for the reference. */
function over(
  op: string,
  run: Reduce,
  of: (list: number[]) => number,
  input: InputSpec,
  axes?: Axes,
  more: Partial<OpCase> = {},
): OpCase {
  const rank = input.shape.length;
  const all =
    axes === undefined
      ? input.shape.map((_, axis) => axis)
      : [axes].flat().map((axis) => (axis < 0 ? axis + rank : axis));
  const note = axes === undefined ? 'all' : `axes ${[axes].flat().join()}`;
  return {
    op,
    run: (x) => run(x!, axes),
    ref: (x) => along(x!, all, of),
    inputs: [input],
    ...more,
    note: `${note} ${more.note ?? ''}`,
  };
}

const sum = (input: InputSpec, axes?: Axes, more?: Partial<OpCase>): OpCase =>
  over('sum', tf.sum, total, input, axes, more);
const max = (input: InputSpec, axes?: Axes, more?: Partial<OpCase>): OpCase =>
  over('max', tf.max, largest, input, axes, more);
const min = (input: InputSpec, axes?: Axes, more?: Partial<OpCase>): OpCase =>
  over('min', tf.min, smallest, input, axes, more);

const deviation = (list: number[]): number => Math.sqrt(variance(1)(list));
const length =
  (p: number) =>
  (list: number[]): number =>
    total(list.map((x) => Math.abs(x) ** p)) ** (1 / p);
const norm = (p: number, input: InputSpec, axes?: Axes, more?: Partial<OpCase>): OpCase =>
  over('norm', (x, own) => tf.norm(x, p, own), length(p), input, axes, { note: `p ${p}`, ...more });

export const cases: readonly OpCase[] = [
  over('std', tf.std, deviation, f32([3, 5]), 1, { second: true, covers: ['safeSqrt'] }),
  over('std', tf.std, deviation, f16([2, 4], 300, 500), 1),
  over('std', tf.std, deviation, values([2, 2, 2]), undefined, { grads: [[0, 0, 0]] }),
  norm(2, f32([3, 5]), 1, { second: true, covers: ['safeSqrt'] }),
  norm(3, f32([3, 4], 0.5, 2), 0, { second: true, covers: ['safePow'] }),
  norm(2, f16([2, 4], 300, 500), 1),
  norm(2, values([0, 0, 0]), undefined, { grads: [[0, 0, 0]] }),
  norm(3, values([0, 0, 0]), undefined, { grads: [[0, 0, 0]] }),
  norm(0.5, values([0, 1, 4]), undefined, { grads: [[0, 3, 1.5]] }),
  sum(f32([])),
  sum(f32([7])),
  sum(f32([3, 5]), 0, { second: true }),
  sum(f32([3, 5]), 1),
  sum(f32([2, 3, 4]), [0, 2]),
  sum(f32([2, 3, 4]), 1),
  sum(f32([2, 3, 4]), -1),
  sum(f32([2, 3, 4, 2]), [1, 3]),
  sum(f32([2, 3, 4, 3, 2]), [0, 2, 4]),
  sum(f32([1, 1])),
  sum(f32([0, 3]), 0),
  sum(f32([0, 3]), 1),
  sum(f32([2, 0, 3])),
  // A long axis is summed in runs. Errors grow with the size of the partial sums, here about 100.
  sum(f32([5000]), undefined, { loose: 20 }),
  sum(f32([3, 1030]), 1, { loose: 10 }),
  sum(f32([1030, 3]), 0, { loose: 10 }),
  sum(f32([600, 8]), 0, { loose: 10 }),
  sum(f32([2, 700, 4], 0, 1e6), 1),
  // Rows that several workgroups of a GPU share, in whole vec4s and not.
  sum(f32([2, 16400]), 1, { loose: 20 }),
  sum(f32([3, 9001]), 1, { loose: 20 }),
  sum(f32([2, 9000, 2]), [0, 1], { loose: 20 }),
  sum(f16([3, 6]), 1, { strided: false, loose: 3 }), // a sum of 6 numbers of size 2 is stored with an error of 2^-8
  sum(f16([2, 2048], 0, 1), 1, { strided: false }),
  sum(i32([3, 5], -9, 9), 0),
  sum(bool([3, 5]), 1),
  sum(bool([3, 8]), 1),
  sum(bool([8, 4]), 0),
  sum(bool([2, 1024]), 1),
  sum(u32([3, 8]), 1),
  {
    ...sum(f32([2, 3, 4])),
    op: 'sum',
    note: 'keepDims',
    run: (x) => tf.sum(x!, 1, { keepDims: true }),
    ref: (x) => ({ ...along(x!, [1], total), shape: [2, 1, 4] }),
  },

  over('mean', tf.mean, mean, f32([3, 5]), 1, { second: true }),
  over('mean', tf.mean, mean, f32([2, 3, 4]), [0, 2]),
  over('mean', tf.mean, mean, f32([7])),
  over('mean', tf.mean, mean, i32([3, 4], -9, 9), 0),
  over('mean', tf.mean, mean, f32([0]), undefined, { grad: false }),
  over('mean', tf.mean, mean, f16([3, 6]), 1, { strided: false }),

  max(f32([7])),
  max(f32([3, 5]), 0),
  max(f32([2, 3, 4]), [0, 2]),
  max(f32([4, 8]), 1),
  max(f32([]), undefined),
  max(f32([2, 1500]), 1),
  max(f32([3, 9001]), 1),
  max(values(Array.from({ length: 9001 }, (_, i) => (i === 8000 ? nan : -i))), undefined, {
    grad: false,
    note: 'NaN in the middle',
  }),
  max(f32([0, 3]), 1, { grad: false }),
  max(i32([3, 5], -9, 9), 0),
  max(f16([3, 6]), 1, { strided: false }),
  max(values([nan, 1, 2, 3, 4, nan, 6, 7, -inf, -inf, -inf, -inf], { shape: [3, 4] }), 1, {
    grad: false,
    note: 'NaN wins',
  }),
  max(values([3, 1, 3, 2, 2, 2], { shape: [2, 3] }), 1, {
    grads: [[0.5, 0, 0.5, 1 / 3, 1 / 3, 1 / 3]],
    note: 'ties share',
  }),
  {
    ...max(f32([3, 5])),
    note: 'keepDims',
    run: (x) => tf.max(x!, -1, { keepDims: true }),
    ref: (x) => ({ ...along(x!, [1], largest), shape: [3, 1] }),
  },
  min(f32([3, 5]), 0),
  min(f32([2, 3, 4]), [0, 2]),
  min(i32([3, 5], -9, 9)),
  min(values([nan, 1, 2, 3, 4, nan, 6, 7, inf, inf, inf, inf], { shape: [3, 4] }), 1, {
    grad: false,
    note: 'NaN wins',
  }),

  ...(['argmax', 'argmin'] as const).flatMap((op) => {
    const run = tf[op] as (x: Tensor, axis?: number) => Tensor;
    const of = op === 'argmax' ? argLargest : argSmallest;
    const reduce: Reduce = (x, axes) => run(x, axes as number | undefined);
    return [
      over(op, reduce, of, f32([7])),
      over(op, reduce, of, f32([3, 5]), 0),
      over(op, reduce, of, f32([2, 3, 4]), -1),
      over(op, reduce, of, f32([]), undefined),
      over(op, reduce, of, i32([2, 9], -2, 2), 1, { note: 'first of equals' }),
      over(op, reduce, of, f16([3, 6]), 1, { strided: false }),
      over(op, reduce, of, f32([3, 5001]), 1),
      over(op, reduce, of, values(Array.from({ length: 4100 }, (_, i) => ((i * 7919) % 4099) % 50)), undefined, {
        note: 'first of many equals',
      }),
      over(op, reduce, of, values(Array.from({ length: 4100 }, (_, i) => (i > 2500 && i % 3 === 0 ? nan : i % 9))), 0, {
        note: 'first NaN of several',
      }),
      over(op, reduce, of, values(new Array<number>(300).fill(-inf)), 0, { note: 'all -infinity' }),
      over(op, reduce, of, values(new Array<number>(300).fill(inf)), 0, { note: 'all infinity' }),
      over(op, reduce, of, values([1, nan, 2, nan, inf, -inf, inf, -inf], { shape: [2, 4] }), 1, { note: 'first NaN' }),
    ];
  }),

  over('variance', tf.variance, variance(1), f32([3, 5]), 1, { second: true }),
  over('variance', tf.variance, variance(1), f32([2, 3, 4]), [0, 2]),
  over('variance', (x, axes) => tf.variance(x, axes, { correction: 0 }), variance(0), f32([3, 5]), 0, {
    note: 'correction 0',
  }),
  // Far from 0 the two-pass formula keeps what the difference of squares would lose; the mean itself has an
  // error of 1e-4.
  over('variance', tf.variance, variance(1), f32([4, 6], 1000, 1001), 1, { loose: 20 }),
  over('variance', tf.variance, variance(1), f32([3, 1]), 1, { grad: false, note: 'of one is NaN' }),
  // the centred values are rounded, then their squares
  over('variance', tf.variance, variance(1), f16([3, 6]), 1, { strided: false, loose: 3 }),

  over('logsumexp', tf.logsumexp, logsumexp, f32([3, 5]), 1, { second: true }),
  over('logsumexp', tf.logsumexp, logsumexp, f32([2, 3, 4]), [0, 2]),
  over('logsumexp', tf.logsumexp, logsumexp, f32([4], 1e4, 2e4)),
  over('logsumexp', tf.logsumexp, logsumexp, values([-inf, -inf, 1, 2, -inf, inf], { shape: [3, 2] }), 1, {
    grad: false,
    note: 'infinities',
  }),
  // exp, sum and log are each rounded
  over('logsumexp', tf.logsumexp, logsumexp, f16([3, 6]), 1, { strided: false, loose: 3 }),
];

export const errors: readonly ErrorCase[] = [
  { op: 'sum', run: () => tf.sum(tf.zeros([2, 3]), 2), says: /axis 2.*2 axes/ },
  { op: 'sum', run: () => tf.sum(tf.zeros([2, 3]), [0, -2]), says: /repeat/ },
  { op: 'mean', run: () => tf.mean(tf.zeros([2, 3]), -3), says: /axis -3/ },
  { op: 'max', run: () => tf.max(tf.zeros([2, 0])), says: /\[2, 0\]/ },
  { op: 'min', run: () => tf.min(tf.zeros([0])), says: /\[0\]/ },
  { op: 'argmax', run: () => tf.argmax(tf.zeros([0])), says: /empty/ },
  { op: 'argmax', run: () => tf.argmax(tf.zeros([2]), 1), says: /axis 1/ },
  { op: 'variance', run: () => tf.variance(tf.zeros([2], { dtype: 'i32' })), says: /i32/ },
  { op: 'logsumexp', run: () => tf.logsumexp(tf.zeros([2], { dtype: 'i32' })), says: /i32/ },
];
