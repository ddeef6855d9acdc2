/**
 * The element types of GGUF files, as ggml has them (ggml-common.h, ggml-quants.c): plain numbers, and blocks
 * of 32 or 256 weights of few bits that share scales. Numbers come out bit for bit as gguf-py's, which rounds
 * every product and sum to f32, and go in as it writes them.
 */
import { toHalf } from '../../common/half.ts';
import { bf16ToF32, halfTable } from '../io/tensor-data.ts';

export interface BlockType {
  /** As GGUF files number it. */
  readonly id: number;
  readonly name: string;
  /** Weights of a block. */
  readonly size: number;
  /** Bytes of a block. */
  readonly bytes: number;
  /** Writes the weights of the block that begins at `at` to `out` from `to` on. */
  readonly read: (view: DataView, at: number, out: Float32Array, to: number) => void;
  /** Writes the block of the weights of `values` from `from` on; missing where only reading is supported. */
  readonly write?: (values: Float32Array, from: number, view: DataView, at: number) => void;
}

const round = Math.fround;

const half = (view: DataView, at: number): number => halfTable()[view.getUint16(at, true)]!;

/**
 * A block of 32 weights of 4 or 5 bits: w = d q, q from -8 or -16 on, or w = d q + m. Bytes: d, m, the fifth
 * bits, the lower four of weights i and i + 16.
 */
function legacy(id: number, bits: 4 | 5, hasMinimum: boolean): BlockType {
  const high = hasMinimum ? 4 : 2;
  const low = high + (bits === 5 ? 4 : 0);
  const zero = hasMinimum ? 0 : 1 << (bits - 1);
  return {
    id,
    name: `Q${bits}_${hasMinimum ? 1 : 0}`,
    size: 32,
    bytes: low + 16,
    read(view, at, out, to) {
      const d = half(view, at);
      const m = hasMinimum ? half(view, at + 2) : 0;
      const fifth = bits === 5 ? view.getUint32(at + high, true) : 0;
      const weight = (q: number): number => (hasMinimum ? round(d * q) + m : d * (q - zero));
      for (let i = 0; i < 16; i++) {
        const pair = view.getUint8(at + low + i);
        out[to + i] = weight((pair & 15) | (((fifth >>> i) & 1) << 4));
        out[to + i + 16] = weight((pair >> 4) | (((fifth >>> (i + 16)) & 1) << 4));
      }
    },
  };
}

const q4_0: BlockType = {
  ...legacy(2, 4, false),
  write(values, from, view, at) {
    let largest = 0;
    for (let i = 0; i < 32; i++) if (Math.abs(values[from + i]!) > Math.abs(largest)) largest = values[from + i]!;
    const d = round(largest / -8);
    const inverse = d === 0 ? 0 : round(1 / d);
    const quantised = (i: number): number => {
      const q = Math.trunc(round(round(values[from + i]! * inverse) + 8.5));
      return Math.min(15, Math.max(0, q));
    };
    view.setUint16(at, toHalf(d), true);
    for (let i = 0; i < 16; i++) view.setUint8(at + 2 + i, quantised(i) | (quantised(i + 16) << 4));
  },
};

const q4_1: BlockType = {
  ...legacy(3, 4, true),
  write(values, from, view, at) {
    let [low, high] = [Infinity, -Infinity];
    for (let i = 0; i < 32; i++) {
      low = Math.min(low, values[from + i]!);
      high = Math.max(high, values[from + i]!);
    }
    const d = round(round(high - low) / 15);
    const inverse = d === 0 ? 0 : round(1 / d);
    const quantised = (i: number): number => {
      const q = Math.trunc(round(round(round(values[from + i]! - low) * inverse) + 0.5));
      return Math.min(15, Math.max(0, q));
    };
    view.setUint16(at, toHalf(d), true);
    view.setUint16(at + 2, toHalf(low), true);
    for (let i = 0; i < 16; i++) view.setUint8(at + 4 + i, quantised(i) | (quantised(i + 16) << 4));
  },
};

const q8_0: BlockType = {
  id: 8,
  name: 'Q8_0',
  size: 32,
  bytes: 34,
  read(view, at, out, to) {
    const d = half(view, at);
    for (let i = 0; i < 32; i++) out[to + i] = view.getInt8(at + 2 + i) * d;
  },
  write(values, from, view, at) {
    let largest = 0;
    for (let i = 0; i < 32; i++) largest = Math.max(largest, Math.abs(values[from + i]!));
    const d = round(largest / 127);
    const inverse = d === 0 ? 0 : round(1 / d);
    view.setUint16(at, toHalf(d), true);
    for (let i = 0; i < 32; i++) {
      const x = round(values[from + i]! * inverse);
      const whole = Math.floor(Math.abs(x));
      // Halves go away from zero.
      view.setInt8(at + 2 + i, Math.sign(x) * (whole + Math.floor(round(2 * round(Math.abs(x) - whole)))));
    }
  },
};

const q2K: BlockType = {
  id: 10,
  name: 'Q2_K',
  size: 256,
  bytes: 84,
  read(view, at, out, to) {
    const [d, dMin] = [half(view, at + 80), half(view, at + 82)];
    for (let group = 0; group < 16; group++) {
      const scales = view.getUint8(at + group);
      const [scale, minimum] = [round(d * (scales & 15)), round(dMin * (scales >> 4))];
      const [byte, shift] = [at + 16 + 32 * (group >> 3) + 16 * (group & 1), 2 * ((group >> 1) & 3)];
      for (let i = 0; i < 16; i++)
        out[to + 16 * group + i] = round(scale * ((view.getUint8(byte + i) >> shift) & 3)) - minimum;
    }
  },
};

const q3K: BlockType = {
  id: 11,
  name: 'Q3_K',
  size: 256,
  bytes: 110,
  read(view, at, out, to) {
    const d = half(view, at + 108);
    for (let group = 0; group < 16; group++) {
      const low = (view.getUint8(at + 96 + (group & 7)) >> (4 * (group >> 3))) & 15;
      const high = (view.getUint8(at + 104 + (group & 3)) >> (2 * (group >> 2))) & 3;
      const scale = round(d * ((low | (high << 4)) - 32));
      const [byte, shift] = [at + 32 + 32 * (group >> 3) + 16 * (group & 1), 2 * ((group >> 1) & 3)];
      const mask = at + 16 * (group & 1);
      for (let i = 0; i < 16; i++) {
        // A set bit of the mask means that nothing is taken off.
        const off = (view.getUint8(mask + i) >> (group >> 1)) & 1 ? 0 : 4;
        out[to + 16 * group + i] = scale * (((view.getUint8(byte + i) >> shift) & 3) - off);
      }
    }
  },
};

/** A scale (`half` 0) or minimum (1) of six bits, of the eight that Q4_K and Q5_K pack into 12 bytes. */
function packedScale(view: DataView, at: number, group: number, which: 0 | 1): number {
  const byte = view.getUint8(at + 4 * which + (group & 3));
  if (group < 4) return byte & 63;
  return ((view.getUint8(at + 8 + (group & 3)) >> (4 * which)) & 15) | ((byte >> 2) & 48);
}

/** Eight groups of 32 weights of 4 or 5 bits, w = d s q - dMin m, with s and m of six bits. */
function superBlock(id: number, bits: 4 | 5): BlockType {
  const low = bits === 5 ? 48 : 16;
  return {
    id,
    name: `Q${bits}_K`,
    size: 256,
    bytes: low + 128,
    read(view, at, out, to) {
      const [d, dMin] = [half(view, at), half(view, at + 2)];
      for (let group = 0; group < 8; group++) {
        const scale = round(d * packedScale(view, at + 4, group, 0));
        const minimum = round(dMin * packedScale(view, at + 4, group, 1));
        const [byte, shift] = [at + low + 32 * (group >> 1), 4 * (group & 1)];
        for (let i = 0; i < 32; i++) {
          const fifth = bits === 5 ? (view.getUint8(at + 16 + i) >> group) & 1 : 0;
          const q = ((view.getUint8(byte + i) >> shift) & 15) | (fifth << 4);
          out[to + 32 * group + i] = round(scale * q) - minimum;
        }
      }
    },
  };
}

const q6K: BlockType = {
  id: 14,
  name: 'Q6_K',
  size: 256,
  bytes: 210,
  read(view, at, out, to) {
    const d = half(view, at + 208);
    for (let i = 0; i < 256; i++) {
      const [side, within] = [i >> 7, i & 127];
      const low = (view.getUint8(at + 64 * side + (within & 63)) >> (4 * (within >> 6))) & 15;
      const high = (view.getUint8(at + 128 + 32 * side + (within & 31)) >> (2 * (within >> 5))) & 3;
      out[to + i] = round(d * view.getInt8(at + 192 + (i >> 4))) * ((low | (high << 4)) - 32);
    }
  },
};

/** Numbers that are not in blocks. */
function plain(
  id: number,
  name: string,
  bytes: number,
  get: (view: DataView, at: number) => number,
  set?: (view: DataView, at: number, value: number) => void,
): BlockType {
  return {
    ...{ id, name, size: 1, bytes },
    read: (view, at, out, to) => (out[to] = get(view, at)),
    ...(set && { write: (values, from, view, at) => set(view, at, values[from]!) }),
  };
}

const types: readonly BlockType[] = [
  plain(
    ...([0, 'F32', 4] as const),
    (view, at) => view.getFloat32(at, true),
    (view, at, value) => view.setFloat32(at, value, true),
  ),
  plain(...([1, 'F16', 2] as const), half, (view, at, value) => view.setUint16(at, toHalf(value), true)),
  plain(30, 'BF16', 2, (view, at) => bf16ToF32(view.getUint16(at, true))),
  plain(28, 'F64', 8, (view, at) => view.getFloat64(at, true)),
  q4_0,
  q4_1,
  legacy(6, 5, false),
  legacy(7, 5, true),
  q8_0,
  q2K,
  q3K,
  superBlock(12, 4),
  superBlock(13, 5),
  q6K,
];

/** The types that can be read, by their number in files. */
export const blockTypes: ReadonlyMap<number, BlockType> = new Map(types.map((type) => [type.id, type]));

/** The type of this name, such as Q4_0; undefined where there is none. */
export const blockType = (name: string): BlockType | undefined => types.find((type) => type.name === name);

/** The weights of whole blocks, dequantised. */
export function dequantize({ size, bytes, read }: BlockType, data: Uint8Array): Float32Array {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const blocks = data.byteLength / bytes;
  const out = new Float32Array(blocks * size);
  for (let block = 0; block < blocks; block++) read(view, block * bytes, out, block * size);
  return out;
}

/**
 * Weights as whole blocks of a type. Throws where the type is only read here, the weights are no whole number
 * of blocks, or one of them is not finite: its scale would spoil the block.
 */
export function quantize({ name, size, bytes, write }: BlockType, values: Float32Array): Uint8Array {
  if (!write) throw new Error(`weights cannot be written as ${name} here; use F32, F16, Q8_0, Q4_0 or Q4_1`);
  if (values.length % size !== 0)
    throw new Error(`${values.length} weights are no whole number of blocks of ${size}, as ${name} needs`);
  if (size > 1 && !values.every(Number.isFinite))
    throw new Error(`weights that are not finite cannot be written as ${name}`);
  const blocks = values.length / size;
  const data = new Uint8Array(blocks * bytes);
  const view = new DataView(data.buffer);
  for (let block = 0; block < blocks; block++) write(values, block * size, view, block * bytes);
  return data;
}
