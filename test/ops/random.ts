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

export const cases: readonly OpCase[] = [
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
