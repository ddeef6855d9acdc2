import * as tf from '../../autograd/index.ts';
import { wordsOfTokens } from '../support/int8-tokens.ts';
import { build, get } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { f16, f32, u32, values } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';

/** The cache with each row's tokens in their places, as far as it has such places. */
function reference(cache: Nd, x: Nd, starts: Nd): Nd {
  return build(cache.shape, ([b, h, token, d]) => {
    const t = token! - get(starts, starts.shape.length === 0 ? [] : [starts.shape[0] === 1 ? 0 : b!]);
    return t >= 0 && t < x.shape[2]! ? get(x, [b!, h!, t, d!]) : get(cache, [b!, h!, token!, d!]);
  });
}

const starts = (list: readonly number[], shape = [list.length]): InputSpec => values(list, { shape, dtype: 'i32' });

const write = (inputs: readonly [InputSpec, InputSpec, InputSpec], more: Partial<OpCase> = {}): OpCase => ({
  op: 'writeCache',
  inputs,
  run: (cache, x, start) => tf.writeCache(tf.clone(cache!), x!, start!),
  ref: (cache, x, start) => reference(cache!, x!, start!),
  grad: false,
  ...more,
});

/** The same into a cache of 8 bits. */
const bytes = (inputs: readonly [InputSpec, InputSpec, InputSpec], note = 'in 8 bits'): OpCase => ({
  ...write(inputs),
  note,
  ref: (cache, x, start) => reference(cache!, wordsOfTokens(x!), start!),
});

export const cases: readonly OpCase[] = [
  bytes([u32([1, 1, 1, 2]), f32([1, 1, 1, 4]), starts([0], [])]),
  bytes([u32([2, 3, 9, 17]), f32([2, 3, 4, 64]), starts([7, -2])], 'in 8 bits, past both ends'),
  bytes([u32([1, 2, 5, 9]), f32([1, 2, 2, 32], 0, 1e-33), starts([1])], 'in 8 bits, next to nothing'),
  bytes([u32([2, 1, 5, 22]), f32([2, 1, 1, 80], -3e4, 3e4), starts([2, 4])]),
  bytes([u32([1, 1, 3, 68]), f16([1, 1, 2, 256]), starts([1])]),
  write([u32([2, 2, 6, 9]), u32([2, 2, 3, 9], 0, 0xffff), starts([2, 0])], { note: 'words as they are' }),
  write([f32([1, 1, 1, 4]), f32([1, 1, 1, 4]), starts([0], [])]),
  write([f32([2, 3, 7, 8]), f32([2, 3, 1, 8]), starts([5])]),
  write([f32([2, 3, 7, 8]), f32([2, 3, 1, 8]), starts([6, 0])]),
  write([f32([2, 3, 9, 8]), f32([2, 3, 4, 8]), starts([5, 1])]),
  write([f32([2, 3, 9, 8]), f32([2, 3, 4, 8]), starts([7, -2])], { note: 'past both ends' }),
  write([f32([2, 3, 9, 5]), f32([2, 3, 4, 5]), starts([2, 3])], { note: 'no multiple of 4' }),
  write([f32([2, 3, 9, 5]), f32([2, 3, 0, 5]), starts([2, 3])], { note: 'nothing' }),
  write([f16([2, 2, 9, 8]), f16([2, 2, 2, 8]), starts([8, 3])]),
  {
    op: 'writeCache',
    note: 'a part of a cache, tokens of the same cache',
    inputs: [f32([3, 2, 6, 4]), starts([1, 3])],
    run: (cache, start) => {
      const copy = tf.clone(cache!);
      tf.writeCache(tf.slice(copy, [1, 3]), tf.slice(copy, [0, 2], null, [0, 2]), start!);
      return copy;
    },
    ref: (cache, start) => {
      const at = (b: number, h: number, t: number, d: number): number => get(cache!, [b, h, t, d]);
      return build(cache!.shape, ([b, h, token, d]) => {
        const t = b === 0 ? -1 : token! - get(start!, [b! - 1]);
        return t === 0 || t === 1 ? at(b! - 1, h!, t, d!) : at(b!, h!, token!, d!);
      });
    },
    grad: false,
  },
];

const z = (...shape: number[]): tf.Tensor => tf.zeros(shape);
const words = (count: number): tf.Tensor => tf.zeros([1, 2, 9, count], { dtype: 'u32' });
const one = (): tf.Tensor => tf.tensor([1], { dtype: 'i32' });
const refuses = (run: () => unknown, says: RegExp): ErrorCase => ({ op: 'writeCache', run, says });

export const errors: readonly ErrorCase[] = [
  refuses(() => tf.writeCache(z(2, 9, 4), z(2, 1, 4), one()), /\[2, 9, 4\]/),
  refuses(() => tf.writeCache(z(1, 2, 9, 4), z(1, 3, 1, 4), one()), /\[1, 3, 1, 4\].*\[1, 2, tokens, 4\]/),
  refuses(() => tf.writeCache(z(1, 2, 9, 4), tf.zeros([1, 2, 1, 4], { dtype: 'f16' }), one()), /f16/),
  refuses(() => tf.writeCache(z(3, 2, 9, 4), z(3, 2, 1, 4), tf.tensor([1, 2], { dtype: 'i32' })), /i32 \[2\]/),
  refuses(() => tf.writeCache(z(1, 2, 9, 4), z(1, 2, 1, 4), z(1)), /f32 \[1\]/),
  refuses(() => tf.writeCache(words(17), z(1, 2, 1, 60), one()), /f32 \[1, 2, 1, 60\] must be u32 .*17\], or numbers/),
  refuses(() => tf.writeCache(words(2), z(1, 2, 1, 6), one()), /f32 \[1, 2, 1, 6\]/),
  refuses(() => tf.writeCache(z(1, 2, 9, 17), words(17), one()), /u32 \[1, 2, 9, 17\] must be f32/),
];
