import * as tf from '../../autograd/index.ts';
import { matmulSums } from '../../autograd/ops/matmul.ts';
import { broadcast, build, get } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { f16, f32 } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';

/** a [..., m, k] times b [..., k, n]. */
function product(a: Nd, b: Nd): Nd {
  const [m, k, n] = [a.shape.at(-2)!, a.shape.at(-1)!, b.shape.at(-1)!];
  return build([...broadcast(a.shape.slice(0, -2), b.shape.slice(0, -2)), m, n], (index) => {
    const batch = index.slice(0, -2);
    const [i, j] = [index.at(-2)!, index.at(-1)!];
    let sum = 0;
    // An axis of length 1 answers to any index, also among the batch axes.
    for (let q = 0; q < k; q++)
      sum +=
        get(a, [...batch.slice(batch.length - a.shape.length + 2), i, q]) *
        get(b, [...batch.slice(batch.length - b.shape.length + 2), q, j]);
    return sum;
  });
}

const row = ({ shape, data }: Nd): Nd => ({ shape: [1, ...shape], data });
const column = ({ shape, data }: Nd): Nd => ({ shape: [...shape, 1], data });
const drop = ({ shape, data }: Nd, axis: number): Nd => ({
  shape: shape.filter((_, i) => i !== axis + shape.length),
  data,
});

// Sums of k products of numbers up to 2 are good to about k roundings of their largest partial sum.
const matmul = (a: InputSpec, b: InputSpec, more: Partial<OpCase> = {}): OpCase => ({
  op: 'matmul',
  inputs: [a, b],
  run: (x, y) => tf.matmul(x!, y!),
  ref: product,
  loose: Math.max(2, (a.shape.at(-1) ?? 0) / 4),
  ...more,
});

const linear = (x: InputSpec, weight: InputSpec, bias?: InputSpec, more: Partial<OpCase> = {}): OpCase => ({
  op: 'linear',
  inputs: bias ? [x, weight, bias] : [x, weight],
  run: (a, w, b) => tf.linear(a!, w!, b),
  ref: (a, w, b) =>
    build([...a!.shape.slice(0, -1), w!.shape[0]!], (index) => {
      let sum = b ? get(b, [index.at(-1)!]) : 0;
      for (let k = 0; k < w!.shape[1]!; k++) sum += get(a!, [...index.slice(0, -1), k]) * get(w!, [index.at(-1)!, k]);
      return sum;
    }),
  loose: 4,
  covers: ['matmul'],
  ...more,
});

const sums = (a: InputSpec, b: InputSpec, of: 'a' | 'b', more: Partial<OpCase> = {}): OpCase => ({
  op: 'matmulSums',
  note: `of ${of}`,
  inputs: [a, b],
  run: (x, y) => matmulSums(x!, y!, of),
  ref: (x, y) => {
    const total = build([of === 'a' ? x!.shape[0]! : y!.shape[1]!], ([at]) => {
      let sum = 0;
      for (let k = 0; k < y!.shape[0]!; k++) sum += of === 'a' ? get(x!, [at!, k]) : get(y!, [k, at!]);
      return sum;
    });
    return [product(x!, y!), total];
  },
  loose: Math.max(2, a.shape[1]! / 4),
  ...more,
});

export const cases: readonly OpCase[] = [
  sums(f32([2, 3]), f32([3, 4]), 'a', { second: true }),
  sums(f32([2, 3]), f32([3, 4]), 'b', { second: true }),
  sums(f32([20, 33]), f32([33, 18]), 'a'),
  sums(f32([20, 32]), f32([32, 40]), 'b'),
  sums(f32([1, 1]), f32([1, 1]), 'a'),
  sums(f32([3, 4]), f32([4, 0]), 'a'),
  sums(f32([0, 4]), f32([4, 3]), 'b'),
  sums(f32([2, 0]), f32([0, 3]), 'a'),
  sums(f16([17, 8], 0, 1), f16([8, 20], 0, 1), 'b', { strided: false }),
  sums(f16([20, 33], 0, 1), f16([33, 18], 0, 1), 'a', { strided: false }),
  sums(f16([8, 29], 0, 1), f16([29, 18], 0, 1), 'a', { strided: false }),
  sums(f16([16, 31], 0, 1), f16([31, 22], 0, 1), 'b', { strided: false }),
  matmul(f32([2, 3]), f32([3, 4]), { second: true }),
  matmul(f32([1, 1]), f32([1, 1])),
  matmul(f32([5, 7]), f32([7, 3])),
  matmul(f32([33, 17]), f32([17, 35])),
  matmul(f32([48, 32]), f32([32, 64])),
  matmul(f32([3]), f32([3]), { ref: (a, b) => drop(drop(product(row(a!), column(b!)), -1), -1) }),
  matmul(f32([3]), f32([3, 4]), { ref: (a, b) => drop(product(row(a!), b!), -2) }),
  matmul(f32([2, 3]), f32([3]), { ref: (a, b) => drop(product(a!, column(b!)), -1) }),
  matmul(f32([2, 4, 3]), f32([3]), { ref: (a, b) => drop(product(a!, column(b!)), -1) }),
  matmul(f32([2, 4, 3]), f32([3, 5]), { second: true }),
  matmul(f32([2, 4, 3]), f32([2, 3, 5])),
  matmul(f32([2, 1, 4, 3]), f32([3, 3, 5])),
  matmul(f32([2, 1, 2, 2, 3]), f32([1, 3, 1, 3, 2])), // broadcasting that alternates over three axes
  matmul(f32([4, 3]), f32([2, 3, 5])),
  matmul(f32([0, 3]), f32([3, 4])),
  matmul(f32([2, 0]), f32([0, 4])),
  matmul(f32([0, 2, 3]), f32([3, 4])),
  matmul(f32([2, 3]), f32([3, 0])),
  matmul(f32([8, 16], 1e3, 1e4), f32([16, 8], 1e3, 1e4)),
  matmul(f16([5, 7]), f16([7, 3]), { strided: false, loose: 4 }), // entries up to 10 are stored with an error of 2^-8
  matmul(f16([8, 16], 0, 1), f16([16, 12], 0, 1), { strided: false, loose: 4 }),
  matmul(f16([4, 3]), f32([3, 4]), { strided: false }),
  { ...matmul(f32([3, 4, 2]), f32([3, 2, 5])), op: 'bmm', run: (a, b) => tf.bmm(a!, b!) },
  linear(f32([2, 3]), f32([4, 3]), f32([4]), { second: true }),
  linear(f32([2, 5, 3]), f32([4, 3]), f32([4])),
  linear(f32([3]), f32([4, 3]), f32([4])),
  linear(f32([6, 3]), f32([1, 3])),
  linear(f32([40, 20]), f32([36, 20]), f32([36])),
  linear(f32([2, 0]), f32([3, 0]), f32([3])),
  linear(f32([0, 2]), f32([3, 2]), f32([3])),
  linear(f16([5, 8]), f16([4, 8]), f16([4]), { strided: false }),
];

export const errors: readonly ErrorCase[] = [
  {
    op: 'matmulSums',
    run: () => matmulSums(tf.zeros([2, 2, 3]), tf.zeros([3, 2]), 'a'),
    says: /\[2, 2, 3\].*\[3, 2\]/,
  },
  { op: 'matmul', run: () => tf.matmul(tf.zeros([2, 3]), tf.zeros([4, 2])), says: /\[2, 3\].*\[4, 2\]/ },
  { op: 'matmul', run: () => tf.matmul(tf.zeros([2, 2, 3]), tf.zeros([3, 3, 2])), says: /\[2\].*\[3\]/ },
  { op: 'matmul', run: () => tf.matmul(tf.zeros([]), tf.zeros([2, 2])), says: /\[\]/ },
  { op: 'matmul', run: () => tf.matmul(tf.zeros([2, 2], { dtype: 'i32' }), tf.zeros([2, 2])), says: /i32/ },
  { op: 'linear', run: () => tf.linear(tf.zeros([2, 3]), tf.zeros([4, 2])), says: /\[2, 3\].*\[4, 2\]/ },
  { op: 'matmul', run: () => tf.linear(tf.zeros([2, 3]), tf.zeros([4, 3]), tf.zeros([3])), says: /\[3\].*4/ },
  { op: 'bmm', run: () => tf.bmm(tf.zeros([2, 3]), tf.zeros([3, 4])), says: /\[2, 3\].*\[3, 4\]/ },
];
