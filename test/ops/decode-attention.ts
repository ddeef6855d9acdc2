import * as tf from '../../autograd/index.ts';
import { inEightBits } from '../support/int8-tokens.ts';
import { build, get, total } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { f16, f32, values } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';

/** Attention of new tokens over the first tokens of a cache; neighbouring query heads share a cache head. */
function reference(q: Nd, k: Nd, v: Nd, lengths: Nd, { slidingWindow = Infinity, softCap }: tf.DecodeOptions): Nd {
  const group = q.shape[1]! / k.shape[1]!;
  return build(q.shape, ([b, h, t, d]) => {
    const at = Math.floor(h! / group);
    const count = Math.min(get(lengths, [b!]) + t!, k.shape[2]!);
    const seen = Math.min(count, slidingWindow);
    const scores = Array.from({ length: seen }, (_, i) => {
      const j = count - seen + i;
      const products = Array.from({ length: q.shape[3]! }, (_, c) => get(q, [b!, h!, t!, c]) * get(k, [b!, at, j, c]));
      const score = total(products) / Math.sqrt(q.shape[3]!);
      return softCap === undefined ? score : softCap * Math.tanh(score / softCap);
    });
    const top = Math.max(...scores);
    const weights = scores.map((s) => Math.exp(s - top));
    return total(weights.map((w, i) => w * get(v, [b!, at, count - seen + i, d!]))) / total(weights);
  });
}

const lengths = (list: readonly number[], shape = [list.length]): InputSpec => values(list, { shape, dtype: 'i32' });

const decode = (
  inputs: readonly [InputSpec, InputSpec, InputSpec, InputSpec],
  options: tf.DecodeOptions = {},
): OpCase => ({
  note: JSON.stringify(options),
  op: 'decodeAttention',
  inputs,
  run: (q, k, v, length) => tf.decodeAttention(q!, k!, v!, length!, options),
  ref: (q, k, v, length) => reference(q!, k!, v!, length!, options),
  grad: false,
  loose: 3, // two products and a softmax
});

/** The same with keys and values rounded to 8 bits, as a cache of 8 bits is read. */
const bytes = (inputs: Parameters<typeof decode>[0], options: tf.DecodeOptions = {}): OpCase => ({
  ...decode(inputs, options),
  note: `in 8 bits ${JSON.stringify(options)}`,
  run(q, k, v, length) {
    const [own, capacity, width] = k!.shape.slice(1) as [number, number, number];
    const shape = [q!.shape[0]!, own, capacity, width / 4 + Math.ceil(width / 64)];
    const start = tf.zeros([1], { dtype: 'i32' });
    const packed = [k!, v!].map((x) => tf.writeCache(tf.zeros(shape, { dtype: 'u32' }), x, start));
    return tf.decodeAttention(q!, packed[0]!, packed[1]!, length!, options);
  },
  ref: (q, k, v, length) => reference(q!, inEightBits(k!), inEightBits(v!), length!, options),
  covers: ['writeCache'],
});

const cache = f32([2, 3, 300, 8]);

export const cases: readonly OpCase[] = [
  decode([f32([1, 1, 1, 4]), f32([1, 1, 1, 4]), f32([1, 1, 1, 4]), lengths([1], [])]),
  decode([f32([2, 3, 1, 8]), cache, cache, lengths([300])]),
  decode([f32([2, 3, 1, 8]), cache, cache, lengths([5, 259])]),
  decode([f32([2, 6, 1, 8]), cache, cache, lengths([256, 1])]),
  decode([f32([1, 20, 1, 4]), f32([1, 2, 9, 4]), f32([1, 2, 9, 4]), lengths([7])]),
  decode([f32([1, 2, 1, 128]), f32([1, 2, 9, 128]), f32([1, 2, 9, 128]), lengths([9])]),
  decode([f32([2, 3, 1, 8]), cache, cache, lengths([5, 289])], { slidingWindow: 40 }),
  decode([f32([2, 3, 1, 8]), cache, cache, lengths([300, 260])], { slidingWindow: 3, softCap: 0.5 }),
  decode([f32([2, 6, 1, 8]), cache, cache, lengths([1, 299])], { slidingWindow: 1 }),
  decode([f16([2, 4, 1, 8]), f16([2, 2, 9, 8]), f16([2, 2, 9, 8]), lengths([8])]),
  decode([f32([2, 6, 7, 8]), cache, cache, lengths([1, 290])]),
  decode([f32([2, 3, 70, 8]), cache, cache, lengths([231, 64])]),
  decode([f32([2, 3, 70, 8]), cache, cache, lengths([3, 130])], { slidingWindow: 40, softCap: 0.7 }),
  decode([f32([1, 2, 5, 128]), f32([1, 2, 9, 128]), f32([1, 2, 9, 128]), lengths([5], [])]),
  decode([f32([1, 2, 1, 256]), f32([1, 1, 9, 256]), f32([1, 1, 9, 256]), lengths([9])]),
  decode([f32([1, 2, 3, 256]), f32([1, 1, 9, 256]), f32([1, 1, 9, 256]), lengths([5])]),
  decode([f16([2, 4, 3, 8]), f16([2, 2, 9, 8]), f16([2, 2, 9, 8]), lengths([6, 2])]),
  bytes([f32([1, 1, 1, 4]), f32([1, 1, 1, 4]), f32([1, 1, 1, 4]), lengths([1], [])]),
  bytes([f32([2, 6, 1, 8]), cache, cache, lengths([5, 299])], { slidingWindow: 40, softCap: 0.5 }),
  bytes([f32([1, 3, 1, 64]), f32([1, 1, 9, 64]), f32([1, 1, 9, 64]), lengths([9])]),
  bytes([f32([1, 2, 1, 200]), f32([1, 2, 9, 200]), f32([1, 2, 9, 200]), lengths([8])]),
  bytes([f16([2, 4, 1, 8]), f16([2, 2, 9, 8]), f16([2, 2, 9, 8]), lengths([8])]),
  bytes([f32([2, 3, 70, 8]), cache, cache, lengths([3, 130])], { slidingWindow: 40, softCap: 0.7 }),
  bytes([f32([1, 2, 5, 96]), f32([1, 1, 9, 96]), f32([1, 1, 9, 96]), lengths([5], [])]),
  bytes([f32([1, 2, 3, 256]), f32([1, 1, 9, 256]), f32([1, 1, 9, 256]), lengths([5])]),
  bytes([f16([2, 4, 3, 64]), f16([2, 2, 9, 64]), f16([2, 2, 9, 64]), lengths([6, 2])]),
];

const z = (...shape: number[]): tf.Tensor => tf.zeros(shape);
const words = (count: number): tf.Tensor => tf.zeros([1, 2, 9, count], { dtype: 'u32' });
const one = (): tf.Tensor => tf.tensor([1], { dtype: 'i32' });
const refuses = (run: () => unknown, says: RegExp): ErrorCase => ({ op: 'decodeAttention', run, says });

export const errors: readonly ErrorCase[] = [
  refuses(() => tf.decodeAttention(z(1, 2, 0, 4), z(1, 2, 9, 4), z(1, 2, 9, 4), one()), /\[1, 2, 0, 4\]/),
  refuses(() => tf.decodeAttention(z(1, 3, 1, 4), z(1, 2, 9, 4), z(1, 2, 9, 4), one()), /\[1, 2, 9, 4\]/),
  refuses(() => tf.decodeAttention(z(1, 2, 1, 4), z(1, 2, 9, 4), z(1, 2, 8, 4), one()), /\[1, 2, 8, 4\]/),
  refuses(() => tf.decodeAttention(z(1, 2, 1, 6), z(1, 2, 9, 6), z(1, 2, 9, 6), one()), /6.*multiple of 4/),
  refuses(() => tf.decodeAttention(z(1, 2, 1, 4), z(1, 2, 9, 4), z(1, 2, 9, 4), z(1)), /f32 \[1\]/),
  refuses(() => tf.decodeAttention(z(1, 2, 1, 64), words(16), words(16), one()), /u32 \[1, 2, 9, 16\].*17 words/),
  refuses(() => tf.decodeAttention(z(1, 2, 1, 64), words(17), z(1, 2, 9, 64), one()), /u32 .* and f32 \[1, 2, 9, 64\]/),
];
