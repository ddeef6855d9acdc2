/**
 * Weights of 4 or 8 bits whose errors the weights after them make good (GPTQ, Frantar et al. 2023), in the
 * blocks of GGUF files.
 */
import { matmul, noGrad, reshape, transpose } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { toHalf } from '../../common/half.ts';
import { blockType, dequantize } from '../../models/gguf/blocks.ts';
import { withHooks } from '../../models/index.ts';
import type { ModuleHooks } from '../../models/index.ts';
import { halfTable } from '../../models/io/tensor-data.ts';
import { modulesWithWeights } from './smaller.ts';
import type { Shrinkable } from './smaller.ts';

/** The block types that a model may be written in. */
export const gptqTypes = ['q4_0', 'q4_1', 'q8_0'] as const;
export type GptqType = (typeof gptqTypes)[number];

/** The numbers that a block of 32 weights shares: w = scale code + minimum. */
interface Scale {
  readonly scale: number;
  readonly minimum: number;
}

interface Grid {
  /** The codes that there are. */
  readonly lowest: number;
  readonly highest: number;
  /** The scale for weights as they are, before it is narrowed. */
  of(values: Float64Array): Scale;
  /** Writes a block: its numbers as f16, and codes from 0 on. */
  write(view: DataView, at: number, scale: Scale, codes: Int32Array): void;
}

const size = 32;
const asHalf = (value: number): number => halfTable()[toHalf(value)]!;
const largest = (values: Float64Array): number =>
  values.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);

function writeNibbles(view: DataView, at: number, codes: Int32Array, zero: number): void {
  for (let i = 0; i < 16; i++) view.setUint8(at + i, (codes[i]! + zero) | ((codes[i + 16]! + zero) << 4));
}

const grids: Readonly<Record<GptqType, Grid>> = {
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

const codeOf = ({ lowest, highest }: Grid, { scale, minimum }: Scale, value: number): number =>
  scale === 0 ? Math.max(lowest, 0) : Math.min(highest, Math.max(lowest, Math.round((value - minimum) / scale)));

/**
 * Shares of a block's full range that are tried as its scale: weights at the ends may be cut for the others.
 */
const ranges = [1, 0.95, 0.9, 0.85, 0.8, 0.75];

/** The scale of a block of weights with the least squared error, each weighed by what its input counts. */
function bestScale(grid: Grid, values: Float64Array, importance: Float64Array, from: number): Scale {
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

/**
 * The upper Cholesky factor of the inverse of H + damping, row-major [n, n]: row i says how much of the error
 * of weight i each weight after it takes over.
 */
function inverseFactor(hessian: Float64Array, n: number, damping: number): Float64Array {
  const h = Float64Array.from(hessian);
  let mean = 0;
  for (let i = 0; i < n; i++) mean += h[i * n + i]! / n;
  for (let i = 0; i < n; i++) h[i * n + i]! += damping * (mean || 1);
  const lower = cholesky(h, n);
  // The inverse of L, then H^-1 = L^-T L^-1, and its own factor: upper, so that rows come out in order.
  const inverse = new Float64Array(n * n);
  for (let j = 0; j < n; j++) {
    inverse[j * n + j] = 1 / lower[j * n + j]!;
    for (let i = j + 1; i < n; i++) {
      let sum = 0;
      for (let k = j; k < i; k++) sum += lower[i * n + k]! * inverse[k * n + j]!;
      inverse[i * n + j] = -sum / lower[i * n + i]!;
    }
  }
  const whole = new Float64Array(n * n);
  for (let k = 0; k < n; k++)
    for (let i = 0; i <= k; i++) {
      const left = inverse[k * n + i]!;
      if (left !== 0) for (let j = 0; j <= k; j++) whole[i * n + j]! += left * inverse[k * n + j]!;
    }
  const factor = cholesky(whole, n);
  const upper = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = i; j < n; j++) upper[i * n + j] = factor[j * n + i]!;
  return upper;
}

/** L of A = L L^T, row-major [n, n]. Error: A is not positive definite. */
function cholesky(a: Float64Array, n: number): Float64Array {
  const lower = new Float64Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) {
      let sum = a[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= lower[i * n + k]! * lower[j * n + k]!;
      if (i !== j) lower[i * n + j] = sum / lower[j * n + j]!;
      else if (sum > 0) lower[i * n + i] = Math.sqrt(sum);
      else
        throw new Error('gptq: what a layer reads has no use for all of its inputs; give more texts, or more damping');
    }
  return lower;
}

export interface GptqOptions {
  /** Added to the diagonal of H, as a share of its mean; default 0.01. */
  readonly damping?: number;
}

/**
 * Blocks of weights [out, in] of 4 or 8 bits, with the least error of what the layer computes for the inputs
 * that `hessian` = X^T X [in, in] is of: each weight is rounded in turn, and those after it in its row take
 * over its error. Error: rows that are no whole blocks of 32.
 */
export function gptq(
  type: GptqType,
  weights: Float32Array,
  hessian: Float64Array,
  { damping = 0.01 }: GptqOptions = {},
): Uint8Array {
  const n = Math.sqrt(hessian.length);
  if (n % size !== 0) throw new Error(`gptq: rows of ${n} weights are no whole blocks of ${size}`);
  const grid = grids[type];
  const { bytes } = blockType(type.toUpperCase())!;
  const upper = inverseFactor(hessian, n, damping);
  const importance = Float64Array.from({ length: n }, (_, i) => hessian[i * n + i]!);
  const rows = weights.length / n;
  const data = new Uint8Array(rows * (n / size) * bytes);
  const view = new DataView(data.buffer);
  const left = new Float64Array(n);
  const codes = new Int32Array(size);
  for (let row = 0; row < rows; row++) {
    left.set(weights.subarray(row * n, (row + 1) * n));
    for (let from = 0; from < n; from += size) {
      const scale = bestScale(grid, left.subarray(from, from + size), importance, from);
      for (let i = from; i < from + size; i++) {
        const code = codeOf(grid, scale, left[i]!);
        codes[i - from] = code;
        const error = (left[i]! - (scale.scale * code + scale.minimum)) / upper[i * n + i]!;
        if (error !== 0) for (let j = i + 1; j < n; j++) left[j]! -= error * upper[i * n + j]!;
      }
      grid.write(view, (row * (n / size) + from / size) * bytes, scale, codes);
    }
  }
  return data;
}

/** The weights of blocks, as they are computed with. */
export const blockValues = (type: GptqType, data: Uint8Array): Float32Array =>
  dequantize(blockType(type.toUpperCase())!, data);

/** What the linear layers of a model read: X^T X over the tokens, by the name of the weight. */
export class InputProducts {
  /** Layers that read the same, as queries, keys and values do, share one. */
  readonly #sums = new Map<string, Float64Array>();

  /** Adds a batch that `run` runs through the model. All of its tokens count. */
  async add(model: Shrinkable, run: () => void): Promise<void> {
    const products = new Map<Tensor, { readonly product: Tensor; readonly readers: string[] }>();
    const hooks = modulesWithWeights('gptq', model).map(([name, module]): ModuleHooks => ({
      module,
      before: (_, [x]) => {
        const read = x as Tensor; // (..., in)
        const known = products.get(read);
        if (known) return void known.readers.push(name);
        const rows = reshape(read, [-1, read.shape.at(-1)!]);
        products.set(read, { product: matmul(transpose(rows), rows), readers: [name] }); // (in, in)
      },
    }));
    withHooks(hooks, () => noGrad(run), 'gptq');
    for (const { product, readers } of products.values()) {
      const values = await product.data();
      const [leader] = readers;
      const sum = this.#sums.get(leader!) ?? new Float64Array(values.length);
      values.forEach((value, i) => (sum[i]! += Number(value)));
      for (const name of readers) this.#sums.set(name, sum);
    }
  }

  /** X^T X [in, in] of what the layer of a weight reads; undefined where none was seen. */
  of(weight: string): Float64Array | undefined {
    return this.#sums.get(weight.replace(/\.weight$/, ''));
  }
}
