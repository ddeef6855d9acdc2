import * as tf from '../../autograd/index.ts';
import { build, get, lines } from '../support/nd.ts';
import { bool, f16, f32, i32, u32 } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';

const running = (list: number[]): number[] => {
  let sum = 0;
  return list.map((x) => (sum += x));
};

const cumsum = (input: InputSpec, axis: number, more: Partial<OpCase> = {}): OpCase => ({
  op: 'cumsum',
  note: `axis ${axis}`,
  inputs: [input],
  run: (x) => tf.cumsum(x!, axis),
  ref: (x) => lines(x!, axis < 0 ? axis + x!.shape.length : axis, running),
  ...more,
});

const triangle = (op: 'tril' | 'triu', input: InputSpec, diagonal = 0, more: Partial<OpCase> = {}): OpCase => ({
  op,
  note: `diagonal ${diagonal}`,
  inputs: [input],
  run: (x) => tf[op](x!, diagonal),
  ref: (x) =>
    build(x!.shape, (index) => {
      const above = index.at(-1)! - index.at(-2)!;
      return (op === 'tril' ? above <= diagonal : above >= diagonal) ? get(x!, index) : 0;
    }),
  ...more,
});

const unfold = (
  input: InputSpec,
  axis: number,
  size: number,
  step: number,
  dilation = 1,
  more: Partial<OpCase> = {},
): OpCase => ({
  op: 'unfold',
  note: `axis ${axis}, size ${size}, step ${step}, dilation ${dilation}`,
  inputs: [input],
  run: (x) => tf.unfold(x!, axis, size, step, dilation),
  ref: (x) => {
    const windows = Math.floor((x!.shape[axis]! - dilation * (size - 1) - 1) / step) + 1;
    return build([...x!.shape.map((length, i) => (i === axis ? windows : length)), size], (index) =>
      get(
        x!,
        index.slice(0, -1).map((at, i) => (i === axis ? at * step + index.at(-1)! * dilation : at)),
      ),
    );
  },
  ...more,
});

export const cases: readonly OpCase[] = [
  cumsum(f32([7]), 0, { second: true }),
  cumsum(f32([3, 5]), 0),
  cumsum(f32([3, 5]), -1),
  cumsum(f32([2, 3, 4]), 1),
  cumsum(f32([1]), 0),
  cumsum(f32([0]), 0),
  cumsum(f32([2, 0]), 0),
  cumsum(f32([]), 0, { ref: (x) => x! }),
  // Two levels of runs, three of them: errors grow with the size of the sums, here about 100.
  cumsum(f32([300]), 0, { loose: 20 }),
  cumsum(f32([2, 1025, 3]), 1, { loose: 20 }),
  cumsum(f32([70000], -1, 1), 0, { grad: false, strided: false, loose: 100, note: 'three levels' }),
  cumsum(f16([3, 6]), 1, { strided: false, loose: 3 }), // sums up to 6 are stored with an error of 2^-8
  cumsum(i32([3, 5], -9, 9), 1),
  cumsum(u32([5]), 0),
  cumsum(bool([7]), 0),
  ...(['tril', 'triu'] as const).flatMap((op) => [
    triangle(op, f32([3, 5]), 0, { second: true }),
    triangle(op, f32([5, 3]), 1),
    triangle(op, f32([2, 4, 4]), -2),
    triangle(op, f32([3, 3]), 7),
    triangle(op, f32([3, 3]), -7),
    triangle(op, f32([1, 1])),
    triangle(op, f32([0, 3])),
    triangle(op, f16([3, 4])),
    triangle(op, i32([3, 4], -9, 9)),
    triangle(op, bool([3, 4])),
  ]),
  unfold(f32([7]), 0, 3, 1, 1, { second: true, covers: ['fold'] }),
  unfold(f32([7]), 0, 3, 2, 2),
  unfold(f32([2, 7, 3]), 1, 2, 3),
  unfold(f32([2, 7, 3]), 1, 7, 1),
  unfold(f32([8]), 0, 1, 3),
  unfold(f32([0, 4]), 1, 2, 1),
  unfold(f16([7]), 0, 3, 1, 1, { strided: false }),
];

export const errors: readonly ErrorCase[] = [
  { op: 'cumsum', run: () => tf.cumsum(tf.zeros([2, 3]), 2), says: /axis 2/ },
  { op: 'tril', run: () => tf.tril(tf.zeros([3])), says: /\[3\]/ },
  { op: 'triu', run: () => tf.triu(tf.zeros([3, 3]), 0.5), says: /0\.5/ },
  { op: 'unfold', run: () => tf.unfold(tf.zeros([4]), 0, 3, 1, 2), says: /5 elements.*\[4\]/ },
  { op: 'unfold', run: () => tf.unfold(tf.zeros([4]), 0, 2, 0), says: /step.*0/ },
  { op: 'unfold', run: () => tf.unfold(tf.zeros([4]), 1, 2, 1), says: /axis 1/ },
];
