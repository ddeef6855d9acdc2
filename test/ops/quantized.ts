import * as tf from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { build, get } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { f16, f32, fixed, i32, u32, values } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';
import { randomOf } from '../support/op-inputs.ts';

interface Weight {
  readonly out: number;
  readonly into: number;
  readonly bits: 4 | 8;
  readonly group: number;
  readonly zeros?: boolean;
  /** In the place of zeros. */
  readonly minimums?: boolean;
  readonly scales?: 'f32' | 'f16';
  readonly codebook?: 'nf4';
}

/** Words of random bits: every integer of every place occurs. */
function words({ out, into, bits }: Weight): InputSpec {
  const random = randomOf(`${out}x${into}`);
  const count = (out * into * bits) / 32;
  const list = Array.from({ length: count }, () => random.int(65536) * 65536 + random.int(65536));
  return values(list, { shape: [out, count / out], dtype: 'u32' });
}

const groups = ({ into, group }: Weight): number => Math.ceil(into / group);

function quantized(weight: Weight, x: readonly Tensor[]): tf.QuantizedTensor {
  const { out, into, bits, group, zeros, minimums, codebook } = weight;
  const origins = { ...(zeros ? { zeros: x[3]! } : {}), ...(minimums ? { minimums: x[3]! } : {}) };
  return { shape: [out, into], bits, group, packed: x[1]!, scales: x[2]!, codebook, ...origins };
}

/** The numbers of NF4, as the library bitsandbytes has them. */
const quantiles = [
  ...[-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635],
  ...[-0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725],
  ...[0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1],
];

/** Element [o, i] of the weight that the packed one stands for. */
function element({ bits, group, zeros, minimums, codebook }: Weight, x: readonly Nd[], o: number, i: number): number {
  const each = 32 / bits;
  const word = get(x[1]!, [o, Math.floor(i / each)]);
  const q = Math.floor(word / 2 ** ((i % each) * bits)) % 2 ** bits;
  const g = [o, Math.floor(i / group)];
  if (codebook) return quantiles[q]! * get(x[2]!, g);
  if (minimums) return q * get(x[2]!, g) + get(x[3]!, g);
  return (q - (zeros ? get(x[3]!, g) : 2 ** (bits - 1))) * get(x[2]!, g);
}

/** Scales, and zeros or minimums. */
function perGroup(weight: Weight): InputSpec[] {
  const { out, bits, zeros, minimums, scales = 'f32' } = weight;
  const within = (low: number, high: number): InputSpec =>
    fixed({ shape: [out, groups(weight)], dtype: scales, range: [low, high] });
  return [within(0.01, 0.1), ...(zeros ? [within(0, 2 ** bits - 1)] : []), ...(minimums ? [within(-0.8, 0.1)] : [])];
}

const noteOf = ({ bits, group, zeros, minimums, codebook }: Weight): string =>
  `${bits} bits by ${group}${zeros ? ' with zeros' : minimums ? ' with minimums' : codebook ? ` of ${codebook}` : ''}`;

/**
 * Elements reach 2^bits times a scale, up to 0.1: sums are that much larger, and in cancelling less exact.
 */
function linear(x: InputSpec, weight: Weight, bias = false, more: Partial<OpCase> = {}): OpCase {
  const { out, into, bits } = weight;
  const own = [x, words(weight), ...perGroup(weight)];
  return {
    op: 'quantizedLinear',
    note: `${noteOf(weight)}${bias ? ' and bias' : ''}${more.note ?? ''}`,
    inputs: [...own, ...(bias ? [{ shape: [out], dtype: x.dtype }] : [])],
    run: (...t) => tf.quantizedLinear(t[0]!, quantized(weight, t), bias ? t[own.length] : undefined),
    ref: (...t) =>
      build([...x.shape.slice(0, -1), out], (index) => {
        const o = index.at(-1)!;
        let sum = bias ? get(t[own.length]!, [o]) : 0;
        for (let i = 0; i < into; i++) sum += get(t[0]!, [...index.slice(0, -1), i]) * element(weight, t, o, i);
        return sum;
      }),
    loose: bits === 8 ? 16 : 8,
    ...more,
  };
}

const rows = (index: InputSpec, weight: Weight): OpCase => ({
  op: 'quantizedEmbedding',
  note: noteOf(weight),
  inputs: [index, words(weight), ...perGroup(weight)],
  run: (...t) => tf.quantizedEmbedding(quantized(weight, t), t[0]!),
  ref: (...t) =>
    build([...index.shape, weight.into], (place) => element(weight, t, get(t[0]!, place.slice(0, -1)), place.at(-1)!)),
  loose: weight.bits === 8 ? 16 : 8,
});

/** Whole numbers up to 127, which every row has: rounding to bytes changes nothing. */
const bytes = (rows: number, cols: number): InputSpec => {
  const random = randomOf('bytes');
  const list = Array.from({ length: rows * cols }, (_, i) => (i % cols === 0 ? 127 : random.int(255) - 127));
  return values(list, { shape: [rows, cols] });
};

const int8 = (x: InputSpec, weight: Omit<Weight, 'bits' | 'group'>, bias = false): OpCase => {
  const full: Weight = { ...weight, bits: 8, group: weight.into };
  return linear(x, full, bias, {
    note: ', int8 activations',
    covers: x.shape.length === 2 ? ['quantizedLinear'] : [],
    run: (...t) => tf.quantizedLinear(t[0]!, quantized(full, t), bias ? t[3] : undefined, { activations: 'int8' }),
    loose: 16,
  });
};

export const cases: readonly OpCase[] = [
  linear(f32([1, 8]), { out: 1, into: 8, bits: 4, group: 8 }),
  linear(f32([3, 8]), { out: 5, into: 8, bits: 8, group: 4 }, true, { second: true }),
  linear(f32([17, 24]), { out: 33, into: 24, bits: 4, group: 16, zeros: true }, true),
  linear(f32([2, 9, 40]), { out: 36, into: 40, bits: 4, group: 8 }),
  linear(f32([20, 36]), { out: 70, into: 36, bits: 8, group: 36, zeros: true }),
  linear(f32([0, 8]), { out: 5, into: 8, bits: 8, group: 8 }),
  linear(f16([5, 24], 0, 1), { out: 40, into: 24, bits: 4, group: 8, scales: 'f16' }, true, { strided: false }),
  linear(f16([18, 40], 0, 1), { out: 24, into: 40, bits: 8, group: 20, scales: 'f16', zeros: true }, false, {
    strided: false,
  }),
  linear(f32([3, 32]), { out: 9, into: 32, bits: 4, group: 16, minimums: true }, true, { second: true }),
  linear(f32([1, 96]), { out: 70, into: 96, bits: 4, group: 32, minimums: true }),
  linear(f32([20, 64]), { out: 36, into: 64, bits: 8, group: 32 }),
  linear(f16([5, 64], 0, 1), { out: 40, into: 64, bits: 4, group: 32, scales: 'f16', minimums: true }, false, {
    strided: false,
  }),
  linear(f32([3, 64]), { out: 9, into: 64, bits: 4, group: 64, codebook: 'nf4' }, true, { second: true }),
  linear(f32([20, 128]), { out: 70, into: 128, bits: 4, group: 64, codebook: 'nf4' }),
  linear(f16([5, 64], 0, 1), { out: 40, into: 64, bits: 4, group: 64, codebook: 'nf4' }, false, { strided: false }),
  rows(i32([6], 0, 4), { out: 5, into: 64, bits: 4, group: 64, codebook: 'nf4' }),
  rows(i32([7], 0, 4), { out: 5, into: 64, bits: 4, group: 32, minimums: true }),
  rows(i32([2, 3], 0, 4), { out: 5, into: 32, bits: 8, group: 32, scales: 'f16' }),
  rows(i32([3], 0, 4), { out: 5, into: 12, bits: 8, group: 12, zeros: true }),
  rows(u32([], 0, 0), { out: 1, into: 8, bits: 4, group: 8 }),
  rows(i32([0], 0, 4), { out: 5, into: 8, bits: 4, group: 8 }),
  int8(bytes(1, 4), { out: 1, into: 4 }),
  int8(bytes(19, 36), { out: 33, into: 36 }, true),
  int8(bytes(8, 64), { out: 24, into: 64 }),
];

/** A weight [3, 8] of 4 bits, in one group, whose parts have the given shapes. */
const weight = (packed: readonly number[], scales: readonly number[]): tf.QuantizedTensor => ({
  shape: [3, 8],
  bits: 4,
  group: 8,
  packed: tf.zeros(packed, { dtype: 'u32' }),
  scales: tf.zeros(scales),
});
const refuses = (run: () => unknown, says: RegExp): ErrorCase => ({ op: 'quantizedLinear', run, says });

export const errors: readonly ErrorCase[] = [
  refuses(() => tf.quantizedLinear(tf.zeros([2, 16]), weight([3, 1], [3, 1])), /\[2, 16\].*\[3, 8\]/),
  refuses(() => tf.quantizedLinear(tf.zeros([2, 8]), weight([3, 2], [3, 1])), /\[3, 2\].*u32 \[out, 1\]/),
  refuses(() => tf.quantizedLinear(tf.zeros([2, 8]), weight([3, 1], [3, 2])), /scales f32 \[3, 2\].*\[3, 1\]/),
  refuses(
    () => tf.quantizedLinear(tf.zeros([2, 8]), weight([3, 1], [3, 1]), undefined, { activations: 'int8' }),
    /int8 activations.*4 bits/,
  ),
  refuses(() => {
    const both = { ...weight([3, 1], [3, 1]), zeros: tf.zeros([3, 1]), minimums: tf.zeros([3, 1]) };
    return tf.quantizedLinear(tf.zeros([2, 8]), both);
  }, /zeros or minimums, not both/),
  refuses(() => {
    const book = { ...weight([3, 1], [3, 1]), codebook: 'nf4' as const, minimums: tf.zeros([3, 1]) };
    return tf.quantizedLinear(tf.zeros([2, 8]), book);
  }, /codebook has 4 bits, no zeros and no minimums/),
  {
    op: 'quantizedEmbedding',
    run: () => tf.quantizedEmbedding(weight([3, 2], [3, 1]), tf.arange(3)),
    says: /\[3, 2\].*u32/,
  },
  {
    op: 'quantizedEmbedding',
    run: () => tf.quantizedEmbedding(weight([3, 1], [3, 1]), tf.tensor([3], { dtype: 'i32' })),
    says: /index 3 is out of range for 3 entries/,
  },
];
