/**
 * Blocks of 32 weights of 4 or 8 bits as the device takes them: the integers of a row in u32 words, its
 * scales and minimums beside them. Nothing is rounded: what kernels make of them is what `dequantize` makes
 * of the blocks, bit for bit.
 */
import { tensor } from '../../autograd/index.ts';
import type { QuantizedTensor } from '../../autograd/index.ts';
import { halfTable } from '../io/tensor-data.ts';
import type { BlockType } from './blocks.ts';

/** The types that stay packed. */
export const packedTypes = ['Q4_0', 'Q4_1', 'Q8_0'] as const;

export const isPacked = ({ name }: BlockType): boolean => (packedTypes as readonly string[]).includes(name);

/** Whole blocks of a matrix [out, in], for the device; scales in f16 where it has that, else in f32. */
export function packBlocks(
  type: BlockType,
  data: Uint8Array,
  [out, into]: readonly [number, number],
  scaleType: 'f16' | 'f32',
): QuantizedTensor {
  const bits = type.name === 'Q8_0' ? 8 : 4;
  const hasMinimum = type.name === 'Q4_1';
  const count = (out * into) / 32;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const halves = halfTable();
  const packed = new Uint32Array(count * bits);
  const scales = new Float32Array(count);
  const minimums = new Float32Array(hasMinimum ? count : 0);
  const first = type.bytes - 4 * bits; // behind the scale, and the minimum
  for (let block = 0; block < count; block++) {
    const at = block * type.bytes;
    scales[block] = halves[view.getUint16(at, true)]!;
    if (hasMinimum) minimums[block] = halves[view.getUint16(at + 2, true)]!;
    if (bits === 8) {
      // Signed bytes become unsigned, 128 above.
      for (let word = 0; word < 8; word++)
        packed[8 * block + word] = view.getUint32(at + first + 4 * word, true) ^ 0x80808080;
      continue;
    }
    // The lower halves of the bytes are the first 16 weights, the upper ones the others.
    for (let word = 0; word < 2; word++) {
      const [left, right] = [0, 4].map((more) => view.getUint32(at + first + 8 * word + more, true)) as [
        number,
        number,
      ];
      packed[4 * block + word] = nibbles(left) | (nibbles(right) << 16);
      packed[4 * block + 2 + word] = nibbles(left >>> 4) | (nibbles(right >>> 4) << 16);
    }
  }
  const perGroup = (values: Float32Array): ReturnType<typeof tensor> =>
    tensor(values, { shape: [out, into / 32], dtype: scaleType });
  return {
    shape: [out, into],
    bits,
    group: 32,
    packed: tensor(packed, { shape: [out, (into * bits) / 32], dtype: 'u32' }),
    scales: perGroup(scales),
    ...(hasMinimum ? { minimums: perGroup(minimums) } : {}),
  };
}

/** Number `i` of those that lie in words of 32 bits, the first in the lowest bits. */
export const packedNumber = (words: ArrayLike<number>, bits: 4 | 8, i: number): number =>
  (words[Math.floor((i * bits) / 32)]! >>> ((i * bits) % 32)) & (2 ** bits - 1);

/**
 * The blocks of such words, as `packBlocks` makes them, and of their scales in f16 bits: the way back. Types
 * without minimums only.
 */
export function blocksOfWords(type: BlockType, words: ArrayLike<number>, scales: Uint16Array): Uint8Array {
  const bits = type.name === 'Q8_0' ? 8 : 4;
  const data = new Uint8Array(scales.length * type.bytes);
  const view = new DataView(data.buffer);
  scales.forEach((scale, block) => {
    const at = block * type.bytes;
    view.setUint16(at, scale, true);
    const weight = (i: number): number => packedNumber(words, bits, 32 * block + i);
    for (let i = 0; i < type.bytes - 2; i++)
      data[at + 2 + i] = bits === 8 ? weight(i) ^ 0x80 : weight(i) | (weight(i + 16) << 4);
  });
  return data;
}

/** The lower halves of four bytes, side by side in 16 bits. */
function nibbles(word: number): number {
  const pairs = (word & 0x000f000f) | ((word & 0x0f000f00) >>> 4); // in bytes 0 and 2
  return (pairs & 0xff) | ((pairs >>> 8) & 0xff00);
}

/**
 * A matrix [out, in] of whole numbers, each times the scale of its 32 neighbours, for the device: from -8 to
 * 7 (4 bits), or from -128 to 127.
 */
export function packCodes(
  codes: ArrayLike<number>,
  scales: Float32Array,
  [out, into]: readonly [number, number],
  bits: 4 | 8,
  scaleType: 'f16' | 'f32',
): QuantizedTensor {
  const packed = new Uint32Array((out * into * bits) / 32);
  const each = 32 / bits;
  for (let i = 0; i < out * into; i++)
    packed[Math.floor(i / each)]! |= (codes[i]! + 2 ** (bits - 1)) << (bits * (i % each));
  return {
    shape: [out, into],
    bits,
    group: 32,
    packed: tensor(packed, { shape: [out, (into * bits) / 32], dtype: 'u32' }),
    scales: tensor(scales, { shape: [out, into / 32], dtype: scaleType }),
  };
}
