import * as tf from '../../autograd/index.ts';
import { AttentionReference } from '../support/attention.ts';
import { build, get, total } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { f32, values } from '../support/op-case.ts';
import type { InputSpec, OpCase } from '../support/op-case.ts';

/** f32 numbers that f16 holds exactly, so that the reference needs no rounding. */
const short = (shape: readonly number[], seed: number): InputSpec => {
  const size = shape.reduce((a, b) => a * b, 1);
  return values(
    Array.from({ length: size }, (_, i) => (((i + seed) * 37) % 64) / 16 - 2),
    { shape },
  );
};

const half = (run: () => tf.Tensor): tf.Tensor => tf.autocast(run);
/** x [m, k] and weight [n, k]. */
const product = (x: Nd, w: Nd): Nd =>
  build([x.shape[0]!, w.shape[0]!], ([i, j]) => {
    let sum = 0;
    for (let k = 0; k < x.shape[1]!; k++) sum += get(x, [i!, k]) * get(w, [j!, k]);
    return sum;
  });

export const cases: readonly OpCase[] = [
  {
    op: 'matmul',
    note: 'autocast, transposed weight and a bias that stays f32',
    inputs: [short([3, 5], 0), short([7, 5], 11), f32([7])],
    run: (x, w, b) => half(() => tf.linear(x!, w!, b)),
    ref: (x, w, b) => build([3, 7], ([i, j]) => get(product(x!, w!), [i!, j!]) + b!.data[j!]!),
    covers: ['half'],
    loose: 500, // f16's tolerance: the cotangents of x and the weight come out of f16 products
  },
  {
    op: 'matmul',
    note: 'autocast, slice of a weight and a weight used twice',
    inputs: [short([4, 8], 3), short([12, 8], 5)],
    run: (x, w) => half(() => tf.add(tf.linear(x!, tf.slice(w!, [4, 8])), tf.linear(x!, tf.slice(w!, [0, 4])))),
    ref: (x, w) => build([4, 4], ([i, j]) => get(product(x!, w!), [i!, j! + 4]) + get(product(x!, w!), [i!, j!])),
    covers: ['half'],
    loose: 500,
  },
  {
    op: 'packedAttention',
    note: 'autocast',
    inputs: [short([2, 5, 3, 2, 4], 1)],
    run: (qkv) => half(() => tf.packedAttention(qkv!)),
    ref: (qkv) => {
      const part = (which: number): Nd => build([2, 2, 5, 4], ([b, h, t, d]) => get(qkv!, [b!, t!, which, h!, d!]));
      const { y } = new AttentionReference([part(0), part(1), part(2)], undefined, false, {});
      return build([2, 5, 2, 4], ([b, t, h, d]) => get(y, [b!, h!, t!, d!]));
    },
    loose: 500,
  },
  {
    op: 'scaledDotProductAttention',
    note: 'autocast',
    inputs: [short([2, 3, 4], 1), short([2, 5, 4], 7), short([2, 5, 4], 9)],
    run: (q, k, v) => half(() => tf.scaledDotProductAttention(q!, k!, v!)),
    ref: (q, k, v) => new AttentionReference([q!, k!, v!], undefined, false, {}).y,
    loose: 500,
  },
  {
    op: 'linearCrossEntropy',
    note: 'autocast',
    inputs: [short([3, 4], 1), short([5, 4], 7), values([1, 4, 0], { dtype: 'i32' })],
    run: (x, w, t) => half(() => tf.linearCrossEntropy(x!, w!, t!)),
    ref: (x, w, t) => {
      const logits = product(x!, w!);
      const losses = [0, 1, 2].map((i) => {
        const row = [...logits.data.subarray(5 * i, 5 * i + 5)];
        return Math.log(total(row.map((v) => Math.exp(v)))) - row[t!.data[i]!]!;
      });
      return build([], () => total(losses) / 3);
    },
    loose: 500,
  },
];
