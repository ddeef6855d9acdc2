import * as tf from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { build, get } from '../support/nd.ts';
import type { Nd } from '../support/nd.ts';
import { f16, f32, fixed, values } from '../support/op-case.ts';
import type { ErrorCase, InputSpec, OpCase } from '../support/op-case.ts';
import { randomOf } from '../support/op-inputs.ts';

interface Weight {
  readonly out: number;
  readonly into: number;
  readonly bits: 4 | 8;
  readonly group: number;
  readonly zeros?: boolean;
  readonly scales?: 'f32' | 'f16';
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
  const { out, into, bits, group, zeros } = weight;
  return { shape: [out, into], bits, group, packed: x[1]!, scales: x[2]!, ...(zeros ? { zeros: x[3]! } : {}) };
}

/** Element [o, i] of the weight that the packed one stands for. */
function element({ bits, group, zeros }: Weight, x: readonly Nd[], o: number, i: number): number {
  const each = 32 / bits;
  const word = get(x[1]!, [o, Math.floor(i / each)]);
  const q = Math.floor(word / 2 ** ((i % each) * bits)) % 2 ** bits;
  const g = [o, Math.floor(i / group)];
  return (q - (zeros ? get(x[3]!, g) : 2 ** (bits - 1))) * get(x[2]!, g);
}

/**
 * Elements reach 2^bits times a scale, up to 0.1: sums are that much larger, and in cancelling less exact.
 */
function linear(x: InputSpec, weight: Weight, bias = false, more: Partial<OpCase> = {}): OpCase {
  const { out, into, bits, group, zeros = false, scales = 'f32' } = weight;
  const perGroup = (low: number, high: number): InputSpec =>
    fixed({ shape: [out, groups(weight)], dtype: scales, range: [low, high] });
  return {
    op: 'quantizedLinear',
    note: `${bits} bits by ${group}${zeros ? ' with zeros' : ''}${bias ? ' and bias' : ''}${more.note ?? ''}`,
    inputs: [
      x,
      words(weight),
      perGroup(0.01, 0.1),
      ...(zeros ? [perGroup(0, 2 ** bits - 1)] : []),
      ...(bias ? [{ shape: [out], dtype: x.dtype }] : []),
    ],
    run: (...t) => tf.quantizedLinear(t[0]!, quantized(weight, t), bias ? t[zeros ? 4 : 3] : undefined),
    ref: (...t) =>
      build([...x.shape.slice(0, -1), out], (index) => {
        const o = index.at(-1)!;
        let sum = bias ? get(t[zeros ? 4 : 3]!, [o]) : 0;
        for (let i = 0; i < into; i++) sum += get(t[0]!, [...index.slice(0, -1), i]) * element(weight, t, o, i);
        return sum;
      }),
    loose: bits === 8 ? 16 : 8,
    ...more,
  };
}

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
];
