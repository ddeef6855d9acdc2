/**
 * Weights of 4 or 8 bits whose errors the weights after them make good (GPTQ, Frantar et al. 2023), in the
 * blocks of GGUF files.
 */
import { inverseLowerFactor, subtractProducts } from '../../common/cholesky.ts';
import { matmul, mul, noGrad, reshape, transpose } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { withHooks } from '../../models/index.ts';
import type { ModuleHooks } from '../../models/index.ts';
import { bestScale, blockBytes, codeOf, diagonalOf, grids, size } from './rounding.ts';
import type { Precision } from './rounding.ts';
import { modulesWithWeights } from './smaller.ts';
import type { Shrinkable } from './smaller.ts';

/**
 * L of the inverse of H + damping, (H + damping)^-1 = L L^T, row-major [n, n]: row j says how much of the
 * error of each weight before it weight j takes over. Error: inputs that have no use.
 */
export function takenOver(op: string, hessian: Float64Array, n: number, damping: number): Float64Array {
  const damped = Float64Array.from(hessian);
  const diagonal = diagonalOf(hessian);
  const more = damping * (diagonal.reduce((sum, value) => sum + value / n, 0) || 1);
  diagonal.forEach((value, i) => (damped[i * n + i] = value + more));
  const lower = inverseLowerFactor(damped, n);
  if (lower) return lower;
  throw new Error(`${op}: what a layer reads has no use for all of its inputs; give more texts, or more damping`);
}

export interface GptqOptions {
  /** Added to the diagonal of H, as a share of its mean; default 0.01. */
  readonly damping?: number;
}

/**
 * Blocks of weights [out, in] of 4 or 8 bits, with the least error of what the layer computes for the inputs
 * that `hessian` = X^T X [in, in] is of: each weight is rounded in turn, and those after it in its row take
 * over its error. Error: rows that are no whole blocks of 32.
 *
 * @example
 * const weights = Float32Array.from({ length: 32 }, (_, i) => Math.sin(i));
 * const identity = Float64Array.from({ length: 32 * 32 }, (_, i) => (i % 33 === 0 ? 1 : 0));
 * gptq('q4_0', weights, identity).length; // 18
 */
export function gptq(
  type: Precision,
  weights: Float32Array,
  hessian: Float64Array,
  { damping = 0.01 }: GptqOptions = {},
): Uint8Array {
  const n = Math.sqrt(hessian.length);
  const bytes = blockBytes('gptq', type, n);
  const grid = grids[type];
  const lower = takenOver('gptq', hessian, n, damping);
  const importance = diagonalOf(hessian);
  const rows = weights.length / n;
  const data = new Uint8Array((weights.length / size) * bytes);
  const view = new DataView(data.buffer);
  // A weight as those before it left it, and once it is rounded, its error.
  const left = Float64Array.from(weights);
  const codes = new Int32Array(size);
  for (let from = 0; from < n; from += size) {
    const to = from + size;
    subtractProducts(left, left, lower, n, { rows: [0, rows], columns: [from, to], over: [0, from] });
    for (let row = 0; row < rows; row++) {
      const block = left.subarray(row * n + from, row * n + to);
      const scale = bestScale(grid, block, importance, from);
      for (let i = 0; i < size; i++) {
        const code = codeOf(grid, scale, block[i]!);
        codes[i] = code;
        const at = (from + i) * n + from + i;
        const error = (block[i]! - (scale.scale * code + scale.minimum)) / lower[at]!;
        block[i] = error;
        if (error !== 0) for (let j = i + 1; j < size; j++) block[j]! -= error * lower[at + (j - i) * n]!;
      }
      grid.write(view, ((row * n + from) / size) * bytes, scale, codes);
    }
  }
  return data;
}

/**
 * What the linear layers of a model read: X^T X over the tokens, by the name of the weight.
 *
 * @example
 * const config = { vocabSize: 50, hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const [model, products] = [BertForMaskedLM.fromConfig(config), new InputProducts()];
 * products.add(model, () => model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }));
 */
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
