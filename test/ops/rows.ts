import * as tf from '../../autograd/index.ts';
import { build, get, lines, total } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { f16, f32, values } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';

const { NaN: nan, POSITIVE_INFINITY: inf } = Number;

function softmax(list: number[]): number[] {
  const top = Math.max(...list);
  const powers = list.map((x) => Math.exp(x - top));
  return powers.map((x) => x / total(powers));
}
const logSoftmax = (list: number[]): number[] => {
  const top = Math.max(...list);
  const sum = Math.log(total(list.map((x) => Math.exp(x - top))));
  return list.map((x) => x - top - sum);
};

const soft = (op: 'softmax' | 'logSoftmax', input: InputSpec, axis = -1, more: Partial<OpCase> = {}): OpCase => ({
  op,
  note: `axis ${axis}`,
  inputs: [input],
  run: (x) => tf[op](x!, axis),
  ref: (x) => lines(x!, axis < 0 ? axis + x!.shape.length : axis, op === 'softmax' ? softmax : logSoftmax),
  covers: more.second ? [`${op}Backward`] : [],
  ...more,
});

/** Normalises the last axis: by mean and deviation, or by the root mean square. */
function normalise(centre: boolean, epsilon: number, x: Nd, weight?: Nd, bias?: Nd): Nd {
  const unit = lines(x, x.shape.length - 1, (list) => {
    const mean = centre ? total(list) / list.length : 0;
    const scale = 1 / Math.sqrt(total(list.map((v) => (v - mean) ** 2)) / list.length + epsilon);
    return list.map((v) => (v - mean) * scale);
  });
  return build(
    x.shape,
    (index) => get(unit, index) * (weight ? get(weight, [index.at(-1)!]) : 1) + (bias ? get(bias, [index.at(-1)!]) : 0),
  );
}

const layerNorm = (inputs: readonly InputSpec[], more: Partial<OpCase> = {}, epsilon = 1e-5): OpCase => ({
  op: 'layerNorm',
  inputs,
  run: (x, w, b) => tf.layerNorm(x!, w, b, epsilon),
  ref: (x, w, b) => normalise(true, epsilon, x!, w, b),
  covers: ['layerNormParameters', ...(more.second ? ['layerNormBackward'] : [])].slice(inputs.length > 1 ? 0 : 1),
  loose: 3, // two sums over the row, a reciprocal square root and up to three products
  ...more,
});
const rmsNorm = (inputs: readonly InputSpec[], more: Partial<OpCase> = {}, epsilon = 1e-6): OpCase => ({
  ...layerNorm(inputs),
  op: 'rmsNorm',
  run: (x, w) => tf.rmsNorm(x!, w, epsilon),
  ref: (x, w) => normalise(false, epsilon, x!, w),
  covers: ['rmsNormParameters', ...(more.second ? ['rmsNormBackward', 'alias'] : [])].slice(inputs.length > 1 ? 0 : 1),
  ...more,
});
/** Rows are the groups of [N, groups, elements]; weight and bias are the channels'. */
const groupNorm = (inputs: readonly InputSpec[], groups: number, more: Partial<OpCase> = {}): OpCase => ({
  op: 'groupNorm',
  note: `${groups} groups`,
  inputs,
  run: (x, w, b) => tf.groupNorm(x!, groups, w, b),
  ref: (x, w, b) => {
    const { shape, data } = x!;
    const size = (shape[1]! / groups) * shape.slice(2).reduce((product, length) => product * length, 1);
    const unit = { shape, data: normalise(true, 1e-5, { shape: [shape[0]!, groups, size], data }).data };
    const own = (p: Nd | undefined, channel: number, otherwise: number): number => (p ? get(p, [channel]) : otherwise);
    return build(shape, (index) => get(unit, index) * own(w, index[1]!, 1) + own(b, index[1]!, 0));
  },
  loose: 3,
  ...more,
});

/** Computes in f32 and stores f16. */
const autocast = (c: OpCase): OpCase => ({ ...c, note: 'autocast', run: (...x) => tf.autocast(() => c.run(...x)) });

export const cases: readonly OpCase[] = [
  ...(['softmax', 'logSoftmax'] as const).flatMap((op) => [
    soft(op, f32([3, 5]), -1, { second: true }),
    soft(op, f32([4, 8])),
    soft(op, f32([7])),
    soft(op, f32([2, 3, 4]), 1),
    soft(op, f32([5, 3]), 0),
    soft(op, f32([3, 1])),
    soft(op, f32([0, 3])),
    soft(op, f32([3, 0]), 0),
    soft(op, f32([3, 0])),
    soft(op, f32([2, 130], -30, 30)),
    soft(op, f32([2, 6], 9990, 10000), -1, { note: 'large', step: 1e-5 }),
    soft(op, f32([2, 6], -10000, -9990), -1, { note: 'large and negative', step: 1e-5 }),
    soft(op, values([-inf, 0, 1, nan, 0, 1], { shape: [2, 3] }), -1, { grad: false, note: 'infinity and NaN' }),
    soft(op, f16([3, 6]), -1, { strided: false }),
  ]),
  layerNorm([f32([3, 5]), f32([5]), f32([5])], { second: true }),
  layerNorm([f32([3, 5])], { second: true, note: 'bare' }),
  layerNorm([f32([2, 3, 8]), f32([8]), f32([8])]),
  layerNorm([f32([8]), f32([8]), f32([8])]),
  layerNorm([f32([4, 8]), f32([8])]),
  layerNorm([f32([3, 1]), f32([1]), f32([1])]),
  layerNorm([f32([0, 4]), f32([4]), f32([4])]),
  layerNorm([f32([3, 0]), f32([0]), f32([0])]),
  // Far from 0: the deviation is 1e-3 of the mean, and x itself is stored with 3e-8 of it.
  layerNorm([f32([3, 6], 1000, 1002), f32([6]), f32([6])], { loose: 100, step: 1e-4 }),
  layerNorm([f32([2, 6], -1e-3, 1e-3)], { note: 'epsilon matters', loose: 100 }), // gradients are up to 300
  layerNorm([f32([2, 6])], { note: 'epsilon 0.1' }, 0.1),
  // the weight's gradient adds up rounded products
  layerNorm([f16([3, 6]), f16([6]), f16([6])], { strided: false, loose: 4 }),
  layerNorm([f16([3, 8]), f16([8]), f16([8])], { strided: false, loose: 4 }),
  // Parameters stay f32 in mixed precision, whatever the input.
  layerNorm([f16([3, 6]), f32([6]), f32([6])], { loose: 4 }),
  layerNorm([f16([3, 8]), f32([8]), f32([8])], { loose: 4 }),
  layerNorm([f32([3, 8]), f16([8]), f16([8])], { loose: 4 }),
  autocast(layerNorm([f32([3, 5]), f32([5]), f32([5])])),
  autocast(layerNorm([f32([3, 8]), f32([8]), f32([8])])),
  autocast(layerNorm([f16([3, 8]), f32([8]), f32([8])], { loose: 4 })),
  autocast(rmsNorm([f32([3, 8]), f32([8])])),
  rmsNorm([f16([3, 5]), f32([5])], { loose: 4 }),
  rmsNorm([f32([3, 5]), f32([5])], { second: true }),
  rmsNorm([f32([3, 5])], { second: true, note: 'bare' }),
  rmsNorm([f32([2, 3, 8]), f32([8])]),
  rmsNorm([f32([0, 4]), f32([4])]),
  rmsNorm([f16([3, 8]), f16([8])], { strided: false, loose: 4 }),
  groupNorm([f32([2, 4, 3]), f32([4]), f32([4])], 2, { second: true }),
  groupNorm([f32([2, 6, 2, 3])], 3),
  groupNorm([f32([3, 4]), f32([4]), f32([4])], 1),
  groupNorm([f32([0, 4, 2]), f32([4]), f32([4])], 2),
  groupNorm([f16([2, 4, 3]), f16([4]), f16([4])], 2, { strided: false, loose: 4 }),
];

export const errors: readonly ErrorCase[] = [
  { op: 'softmax', run: () => tf.softmax(tf.zeros([2, 3]), 2), says: /axis 2/ },
  { op: 'logSoftmax', run: () => tf.logSoftmax(tf.zeros([3], { dtype: 'i32' })), says: /i32/ },
  { op: 'layerNorm', run: () => tf.layerNorm(tf.zeros([2, 3]), tf.zeros([2])), says: /\[2, 3\].*\[2\]/ },
  { op: 'layerNorm', run: () => tf.layerNorm(tf.zeros([2, 3]), undefined, tf.zeros([3])), says: /weight/ },
  { op: 'layerNorm', run: () => tf.layerNorm(tf.zeros([2, 3], { dtype: 'i32' })), says: /i32/ },
  { op: 'layerNorm', run: () => tf.layerNorm(tf.zeros([])), says: /\[\]|scalar|axis/ },
  { op: 'rmsNorm', run: () => tf.rmsNorm(tf.zeros([2, 3]), tf.zeros([3, 1])), says: /\[2, 3\].*\[3, 1\]/ },
  { op: 'groupNorm', run: () => tf.groupNorm(tf.zeros([2, 4, 3]), 3), says: /3 groups.*\[2, 4, 3\]/ },
  { op: 'groupNorm', run: () => tf.groupNorm(tf.zeros([4]), 2), says: /\[4\]/ },
  { op: 'groupNorm', run: () => tf.groupNorm(tf.zeros([2, 4, 3]), 2, tf.zeros([3])), says: /\[4\], got \[3\]/ },
];
