import * as tf from '../../autograd/index.ts';
import { build, count } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { f16, f32, fixed } from '../support/op-case.ts';
import type { ErrorCase, OpCase } from '../support/op-case.ts';
import { seed, uniform } from '../support/philox.ts';

function normal(i: number): number {
  const block = i - (i % 4);
  const r = Math.sqrt(-2 * Math.log(1 - uniform(block + (i % 2))));
  const angle = 2 * Math.PI * uniform(block + 2 + (i % 2));
  return r * (i % 4 < 2 ? Math.cos(angle) : Math.sin(angle));
}

const numbered = (shape: readonly number[], of: (i: number) => number): Nd => ({
  shape,
  data: Float64Array.from({ length: count(shape) }, (_, i) => of(i)),
});

const draw = (
  op: 'uniform' | 'normal',
  shape: readonly number[],
  of: (i: number) => number,
  options: { low?: number; high?: number; mean?: number; std?: number; dtype?: 'f16' } = {},
): OpCase => ({
  op,
  note: `${shape.join('x')} ${JSON.stringify(options)}`,
  inputs: [],
  seed,
  run: () => tf[op](shape, options),
  ref: () => numbered(shape, of),
  // sin and cos are allowed an absolute error of 2^-11 in WGSL; this holds drivers to 2e-5 of a deviation.
  loose: op === 'normal' ? 10 : 1,
});

const dropout = (input: OpCase['inputs'][number], p: number, more: Partial<OpCase> = {}): OpCase => ({
  op: 'dropout',
  note: `p ${p}`,
  inputs: [input],
  seed,
  run: (x) => tf.dropout(x!, p),
  ref: (x) => ({ shape: x!.shape, data: x!.data.map((v, i) => (uniform(i) >= p ? v / (1 - p) : 0)) }),
  ...more,
});

/** Numbers of a shape by another name than uniform and normal. */
const named = (op: string, run: OpCase['run'], shape: readonly number[], of: (i: number) => number): OpCase => ({
  op,
  note: shape.join('x'),
  inputs: [fixed(f32(shape, 0, 1))],
  seed,
  run,
  ref: () => numbered(shape, of),
  loose: 10,
});

const shapes = [[7], [4, 8], [1], [0], []];

/** The class with the largest weight / exponential random number, of numbers from `start` on. */
function winner(weights: readonly number[], start: number, taken: readonly number[] = []): number {
  const keys = weights.map((weight, i) =>
    taken.includes(i) ? -Infinity : weight / -Math.log(2 ** -25 + (1 - 2 ** -25) * uniform(start + i)),
  );
  return keys.indexOf(Math.max(...keys));
}

export const cases: readonly OpCase[] = [
  ...shapes.flatMap((shape) => [
    named('rand', (x) => tf.rand(x!.shape), shape, uniform),
    named('randLike', (x) => tf.randLike(x!), shape, uniform),
    named(
      'uniform_',
      (x) => tf.uniform_(tf.clone(x!), -1, 3),
      shape,
      (i) => -1 + 4 * uniform(i),
    ),
    named('randn', (x) => tf.randn(x!.shape), shape, normal),
    named('randnLike', (x) => tf.randnLike(x!), shape, normal),
    named(
      'normal_',
      (x) => tf.normal_(tf.clone(x!), 2, 0.5),
      shape,
      (i) => 2 + 0.5 * normal(i),
    ),
    named(
      'randint',
      (x) => tf.randint(-2, 5, x!.shape),
      shape,
      (i) => Math.floor(7 * uniform(i)) - 2,
    ),
  ]),
  ...shapes.map((shape): OpCase => ({
    op: 'bernoulli',
    inputs: [fixed(f32(shape, 0, 1))],
    seed,
    run: (x) => tf.bernoulli(x!),
    ref: (x) => ({ shape, data: x!.data.map((p, i) => Number(uniform(i) < p)) }),
  })),
  {
    op: 'multinomial',
    note: 'with replacement',
    inputs: [fixed(f32([2, 5], 0.5, 2))],
    seed,
    run: (x) => tf.multinomial(x!, 4, { replacement: true }),
    ref: (x) => build([2, 4], ([r, k]) => winner([...x!.data.subarray(5 * r!, 5 * r! + 5)], 5 * (4 * r! + k!))),
  },
  {
    op: 'multinomial',
    inputs: [fixed(f32([5], 0.5, 2))],
    seed,
    run: (x) => tf.multinomial(x!, 5),
    ref: (x) => {
      const taken: number[] = [];
      for (let k = 0; k < 5; k++) taken.push(winner([...x!.data], 0, taken));
      return numbered([5], (i) => taken[i]!);
    },
  },
  draw('uniform', [7], uniform),
  draw('uniform', [3, 5], (i) => -2 + 5 * uniform(i), { low: -2, high: 3 }),
  draw('uniform', [0], uniform),
  draw('uniform', [6], uniform, { dtype: 'f16' }),
  draw('normal', [9], normal),
  draw('normal', [2, 3], (i) => 1 + 0.5 * normal(i), { mean: 1, std: 0.5 }),
  dropout(f32([7]), 0.5, { second: true }),
  dropout(f32([3, 5]), 0.1),
  dropout(f32([4, 8]), 0.9),
  dropout(f32([5]), 1, { ref: (x) => build(x!.shape, () => 0) }),
  dropout(f32([0]), 0.5),
  dropout(f16([6]), 0.5),
  { op: 'dropout', note: 'p 0', inputs: [f32([5])], run: (x) => tf.dropout(x!, 0), ref: (x) => x! },
  {
    op: 'dropout',
    note: 'not training',
    inputs: [f32([5])],
    run: (x) => tf.dropout(x!, 0.5, { training: false }),
    ref: (x) => x!,
  },
  {
    op: 'dropout',
    note: 'each application draws anew',
    inputs: [fixed(f32([8]))],
    seed,
    run: (x) => [tf.dropout(x!, 0.5), tf.dropout(x!, 0.5)],
    ref: (x) =>
      [0n, 1n].map((stream) => ({ shape: [8], data: x!.data.map((v, i) => (uniform(i, stream) >= 0.5 ? 2 * v : 0)) })),
  },
];

export const errors: readonly ErrorCase[] = [
  { op: 'dropout', run: () => tf.dropout(tf.zeros([2]), 1.5), says: /1\.5/ },
  { op: 'dropout', run: () => tf.dropout(tf.zeros([2]), NaN), says: /NaN/ },
  { op: 'dropout', run: () => tf.dropout(tf.zeros([2], { dtype: 'i32' }), 0.5), says: /i32/ },
  { op: 'manualSeed', run: () => tf.manualSeed(-1), says: /-1/ },
];
