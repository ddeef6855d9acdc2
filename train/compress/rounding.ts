/** Rounding weights to the blocks of 32 that GGUF files have. */
import { toHalf } from '../../common/half.ts';
import { blockType, dequantize } from '../../models/gguf/blocks.ts';
import { halfTable } from '../../models/io/tensor-data.ts';

/** The block types that a model may be written in. */
export const precisions = ['q4_0', 'q4_1', 'q8_0'] as const;
export type Precision = (typeof precisions)[number];

/** The numbers that a block of 32 weights shares: w = scale code + minimum. */
export interface Scale {
  readonly scale: number;
  readonly minimum: number;
}

export interface Grid {
  /** The codes that there are. */
  readonly lowest: number;
  readonly highest: number;
  /** The scale for weights as they are, before it is narrowed. */
  of(values: Float64Array): Scale;
  /** Writes a block: its numbers as f16, and codes from 0 on. */
  write(view: DataView, at: number, scale: Scale, codes: Int32Array): void;
}

/** Weights of a block. */
export const size = 32;
export const asHalf = (value: number): number => halfTable()[toHalf(value)]!;
const largest = (values: Float64Array): number =>
  values.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);

function writeNibbles(view: DataView, at: number, codes: Int32Array, zero: number): void {
  for (let i = 0; i < 16; i++) view.setUint8(at + i, (codes[i]! + zero) | ((codes[i + 16]! + zero) << 4));
}

export const grids: Readonly<Record<Precision, Grid>> = {
  q4_0: {
    lowest: -8,
    highest: 7,
    of: (values) => ({ scale: largest(values) / -8, minimum: 0 }),
    write(view, at, { scale }, codes) {
      view.setUint16(at, toHalf(scale), true);
      writeNibbles(view, at + 2, codes, 8);
    },
  },
  q4_1: {
    lowest: 0,
    highest: 15,
    of(values) {
      const low = Math.min(...values);
      return { scale: (Math.max(...values) - low) / 15, minimum: low };
    },
    write(view, at, { scale, minimum }, codes) {
      view.setUint16(at, toHalf(scale), true);
      view.setUint16(at + 2, toHalf(minimum), true);
      writeNibbles(view, at + 4, codes, 0);
    },
  },
  q8_0: {
    lowest: -127,
    highest: 127,
    of: (values) => ({ scale: Math.abs(largest(values)) / 127, minimum: 0 }),
    write(view, at, { scale }, codes) {
      view.setUint16(at, toHalf(scale), true);
      for (let i = 0; i < size; i++) view.setInt8(at + 2 + i, codes[i]!);
    },
  },
};

export const codeOf = ({ lowest, highest }: Grid, { scale, minimum }: Scale, value: number): number =>
  scale === 0 ? Math.max(lowest, 0) : Math.min(highest, Math.max(lowest, Math.round((value - minimum) / scale)));

/**
 * Shares of a block's full range that are tried as its scale: weights at the ends may be cut for the others.
 */
const ranges = [1, 0.95, 0.9, 0.85, 0.8, 0.75];

/** The scale of a block of weights with the least squared error, each weighed by what its input counts. */
export function bestScale(grid: Grid, values: Float64Array, importance: Float64Array, from: number): Scale {
  const { scale, minimum } = grid.of(values);
  let best: Scale = { scale: asHalf(scale), minimum: asHalf(minimum) };
  let least = Infinity;
  for (const range of ranges) {
    // A narrower range of weights with a minimum shrinks towards its middle.
    const middle = minimum === 0 ? 0 : minimum + (scale * (grid.highest - grid.lowest)) / 2;
    const tried = { scale: asHalf(scale * range), minimum: asHalf(middle + (minimum - middle) * range) };
    let error = 0;
    for (let i = 0; i < size; i++) {
      const back = tried.scale * codeOf(grid, tried, values[i]!) + tried.minimum;
      error += importance[from + i]! * (values[i]! - back) ** 2;
    }
    if (error < least) {
      least = error;
      best = tried;
    }
  }
  return best;
}

/** The weights of blocks, as they are computed with. */
export const blockValues = (type: Precision, data: Uint8Array): Float32Array =>
  dequantize(blockType(type.toUpperCase())!, data);

/** The diagonal of X^T X [n, n]: the sum of squares of each input, which says what its weights count. */
export function diagonalOf(product: Float64Array): Float64Array {
  const n = Math.sqrt(product.length);
  return Float64Array.from({ length: n }, (_, i) => product[i * n + i]!);
}

/** Bytes of a block. Error: rows of so many weights are no whole blocks. */
export function blockBytes(op: string, type: Precision, width: number): number {
  if (width % size !== 0) throw new Error(`${op}: rows of ${width} weights are no whole blocks of ${size}`);
  return blockType(type.toUpperCase())!.bytes;
}

/**
 * Weights [out, in] rounded to nearest, with the scale of each block that has the least squared error, each
 * weighed by what its input counts (in).
 */
export function roundBlocks(type: Precision, weights: Float32Array, importance: Float64Array): Uint8Array {
  const n = importance.length;
  const bytes = blockBytes('roundBlocks', type, n);
  const grid = grids[type];
  const data = new Uint8Array((weights.length / size) * bytes);
  const view = new DataView(data.buffer);
  const codes = new Int32Array(size);
  for (let from = 0; from < weights.length; from += size) {
    const values = Float64Array.from(weights.subarray(from, from + size));
    const scale = bestScale(grid, values, importance, from % n);
    values.forEach((value, i) => (codes[i] = codeOf(grid, scale, value)));
    grid.write(view, (from / size) * bytes, scale, codes);
  }
  return data;
}
