/** Weights set to zero whose part those that are left take over (SparseGPT, Frantar and Alistarh 2023). */
import { inverseFactor } from './gptq.ts';

/** Inputs whose weights are chosen among together. */
const block = 128;

export interface SparseOptions {
  /** Share of the weights that become zero, 0 up to below 1. */
  readonly sparsity: number;
  /** Or so many that stay of each so many in a row. */
  readonly group?: readonly [kept: number, of: number] | undefined;
  /** Added to the diagonal of H, as a share of its mean; default 0.01. */
  readonly damping?: number;
}

/**
 * Sets weights [out, in] to zero for the inputs that `hessian` = X^T X [in, in] is of, in place, and returns
 * the mask of those that stay, 1 and 0. Of 128 inputs at a time those go that cost least, w^2 over the
 * diagonal of H^-1; from left to right, the weights after one of them in its row take over what the layer
 * then lacks, as least squares say.
 */
export function sparseGpt(
  weights: Float32Array,
  hessian: Float64Array,
  { sparsity, group, damping = 0.01 }: SparseOptions,
): Float32Array {
  const n = Math.sqrt(hessian.length);
  const rows = weights.length / n;
  const upper = inverseFactor('sparseGpt', hessian, n, damping);
  const left = Float64Array.from(weights);
  const mask = new Float32Array(weights.length).fill(1);
  const cost = (row: number, i: number): number => (left[row * n + i]! / upper[i * n + i]!) ** 2;
  for (let from = 0; from < n; from += block) {
    const to = Math.min(n, from + block);
    if (!group) {
      const places = Array.from({ length: rows * (to - from) }, (_, k) => {
        const [row, i] = [Math.floor(k / (to - from)), from + (k % (to - from))];
        return { at: row * n + i, cost: cost(row, i) };
      });
      places.sort((a, b) => a.cost - b.cost);
      for (const { at } of places.slice(0, Math.round(sparsity * places.length))) mask[at] = 0;
    }
    for (let row = 0; row < rows; row++)
      for (let i = from; i < to; i++) {
        // Of a group the costs are those of the moment.
        if (group && i % group[1] === 0) {
          const inputs = Array.from({ length: group[1] }, (_, k) => i + k).sort((a, b) => cost(row, a) - cost(row, b));
          for (const input of inputs.slice(0, group[1] - group[0])) mask[row * n + input] = 0;
        }
        const at = row * n + i;
        if (mask[at] === 1) continue;
        const error = left[at]! / upper[i * n + i]!;
        left[at] = 0;
        if (error !== 0) for (let j = i + 1; j < n; j++) left[row * n + j]! -= error * upper[i * n + j]!;
      }
  }
  left.forEach((w, i) => (weights[i] = mask[i] === 0 ? 0 : w));
  return mask;
}
