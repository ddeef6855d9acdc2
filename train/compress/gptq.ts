/**
 * Weights of 4 or 8 bits whose errors the weights after them make good (GPTQ, Frantar et al. 2023), in the
 * blocks of GGUF files.
 */
import { matmul, mul, noGrad, reshape, transpose } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { withHooks } from '../../models/index.ts';
import type { ModuleHooks } from '../../models/index.ts';
import { bestScale, codeOf, diagonalOf, grids, rowBytes, size } from './rounding.ts';
import type { Precision } from './rounding.ts';
import { modulesWithWeights } from './smaller.ts';
import type { Shrinkable } from './smaller.ts';

/**
 * The upper Cholesky factor of the inverse of H + damping, row-major [n, n]: row i says how much of the error
 * of weight i each weight after it takes over.
 */
export function inverseFactor(op: string, hessian: Float64Array, n: number, damping: number): Float64Array {
  const h = Float64Array.from(hessian);
  let mean = 0;
  for (let i = 0; i < n; i++) mean += h[i * n + i]! / n;
  for (let i = 0; i < n; i++) h[i * n + i]! += damping * (mean || 1);
  const lower = cholesky(op, h, n);
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
  const factor = cholesky(op, whole, n);
  const upper = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = i; j < n; j++) upper[i * n + j] = factor[j * n + i]!;
  return upper;
}

/** L of A = L L^T, row-major [n, n]. Error: A is not positive definite. */
function cholesky(op: string, a: Float64Array, n: number): Float64Array {
  const lower = new Float64Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) {
      let sum = a[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= lower[i * n + k]! * lower[j * n + k]!;
      if (i !== j) lower[i * n + j] = sum / lower[j * n + j]!;
      else if (sum > 0) lower[i * n + i] = Math.sqrt(sum);
      else
        throw new Error(`${op}: what a layer reads has no use for all of its inputs; give more texts, or more damping`);
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
  type: Precision,
  weights: Float32Array,
  hessian: Float64Array,
  { damping = 0.01 }: GptqOptions = {},
): Uint8Array {
  const n = Math.sqrt(hessian.length);
  const width = rowBytes('gptq', type, n);
  const grid = grids[type];
  const upper = inverseFactor('gptq', hessian, n, damping);
  const importance = diagonalOf(hessian);
  const rows = weights.length / n;
  const data = new Uint8Array(rows * width);
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
      grid.write(view, row * width + (from / n) * width, scale, codes);
    }
  }
  return data;
}

/** What the linear layers of a model read: X^T X over the tokens, by the name of the weight. */
export class InputProducts {
  /** Layers that read the same, as queries, keys and values do, share one. */
  readonly #sums = new Map<string, Float64Array>();

  /** Adds a batch that `run` runs through the model; `mask` (B, T) of 1 and 0 says which tokens count. */
  async add(model: Shrinkable, run: () => void, mask?: Tensor): Promise<void> {
    const products = new Map<Tensor, { readonly product: Tensor; readonly readers: string[] }>();
    const hooks = modulesWithWeights('gptq', model).map(([name, module]): ModuleHooks => ({
      module,
      before: (_, [x]) => {
        const read = x as Tensor; // (..., in)
        const known = products.get(read);
        if (known) return void known.readers.push(name);
        const rows = reshape(mask ? mul(read, mask.unsqueeze(2)) : read, [-1, read.shape.at(-1)!]);
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
