import * as tf from '../../autograd/index.ts';
import type { AttentionOptions } from '../../autograd/ops/attention.ts';
import { build, get, total } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { bool, f16, f32, fixed } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';

type Options = Omit<AttentionOptions, 'mask'>;

/** softmax(q k^T * scale + mask) v, element by element. */
function reference(q: Nd, k: Nd, v: Nd, mask: Nd | undefined, truth: boolean, { causal = false, scale }: Options): Nd {
  const [keys, width] = [k.shape.at(-2)!, q.shape.at(-1)!];
  return build([...q.shape.slice(0, -1), v.shape.at(-1)!], (index) => {
    const batch = index.slice(0, -2);
    const i = index.at(-2)!;
    const scores = Array.from({ length: keys }, (_, j) => {
      const score = total(Array.from({ length: width }, (_, d) => get(q, [...batch, i, d]) * get(k, [...batch, j, d])));
      const bias = mask ? get(mask, [...batch, i, j].slice(-mask.shape.length)) : 0;
      if ((causal && j > i) || (mask && truth && bias === 0)) return -30000;
      return score * (scale ?? 1 / Math.sqrt(width)) + (truth ? 0 : bias);
    });
    const top = Math.max(...scores);
    const powers = scores.map((s) => Math.exp(s - top));
    return total(powers.map((p, j) => p * get(v, [...batch, j, index.at(-1)!]))) / total(powers);
  });
}

const attention = (
  inputs: readonly [q: InputSpec, k: InputSpec, v: InputSpec, mask?: InputSpec],
  options: Options = {},
  more: Partial<OpCase> = {},
): OpCase => ({
  op: 'scaledDotProductAttention',
  note: JSON.stringify(options),
  inputs: inputs as readonly InputSpec[],
  run: (q, k, v, mask) => tf.scaledDotProductAttention(q!, k!, v!, { ...options, mask }),
  ref: (q, k, v, mask) => reference(q!, k!, v!, mask, inputs[3]?.dtype === 'bool', options),
  loose: 3, // two matrix products and a softmax
  ...more,
});

const [q, k, v] = [f32([2, 3, 4]), f32([2, 5, 4]), f32([2, 5, 6])];

export const cases: readonly OpCase[] = [
  attention([q, k, v], {}, { second: true }),
  attention([f32([3, 4]), f32([5, 4]), f32([5, 2])]),
  attention([f32([2, 2, 3, 4]), f32([2, 2, 3, 4]), f32([2, 2, 3, 4])], { causal: true }),
  attention([q, k, v, bool([2, 1, 5])]),
  attention([q, k, v, f32([3, 5])]),
  attention([q, k, v, fixed(f32([2, 3, 5], -5, 0))], { causal: true, scale: 0.3 }),
  attention([f32([2, 1, 1]), f32([2, 1, 1]), f32([2, 1, 1])]),
  attention([f32([2, 0, 4]), k, v]),
  attention([f16([2, 3, 4]), f16([2, 5, 4]), f16([2, 5, 6])], {}, { strided: false, loose: 6 }), // scores and weights are rounded on the way
];

export const errors: readonly ErrorCase[] = [
  {
    op: 'scaledDotProductAttention',
    run: () => tf.scaledDotProductAttention(tf.zeros([2, 3, 4]), tf.zeros([2, 5, 3]), tf.zeros([2, 5, 4])),
    says: /\[2, 3, 4\].*\[2, 5, 3\]/,
  },
  {
    op: 'scaledDotProductAttention',
    run: () => tf.scaledDotProductAttention(tf.zeros([2, 3, 4]), tf.zeros([2, 5, 4]), tf.zeros([2, 3, 4])),
    says: /\[2, 5, 4\].*\[2, 3, 4\]/,
  },
  {
    op: 'where',
    run: () =>
      tf.scaledDotProductAttention(tf.zeros([3, 4]), tf.zeros([5, 4]), tf.zeros([5, 4]), {
        mask: tf.ones([4], { dtype: 'bool' }),
      }),
    says: /\[4\].*\[3, 5\]/,
  },
];
