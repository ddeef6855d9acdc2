/** Weights set to zero whose part those that are left take over (SparseGPT, Frantar and Alistarh 2023). */
import { subtractProducts } from '../../common/cholesky.ts';
import { takenOver } from './gptq.ts';

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
  const lower = takenOver('sparseGpt', hessian, n, damping);
  const left = Float64Array.from(weights);
  const errors = new Float64Array(left.length);
  const mask = new Float32Array(weights.length).fill(1);
  const cost = (row: number, i: number): number => (left[row * n + i]! / lower[i * n + i]!) ** 2;
  // Whole groups, whose costs depend on all that went before them.
  const step = group ? Math.max(group[1], block - (block % group[1])) : block;
  for (let from = 0; from < n; from += step) {
    const to = Math.min(n, from + step);
    subtractProducts(left, errors, lower, n, { rows: [0, rows], columns: [from, to], over: [0, from] });
    if (!group) {
      const costs = Float64Array.from({ length: rows * (to - from) }, (_, k) =>
        cost(Math.floor(k / (to - from)), from + (k % (to - from))),
      );
      const places = Uint32Array.from(costs.keys()).sort((a, b) => costs[a]! - costs[b]!);
      for (const k of places.subarray(0, Math.round(sparsity * places.length)))
        mask[Math.floor(k / (to - from)) * n + from + (k % (to - from))] = 0;
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
        const error = left[at]! / lower[i * n + i]!;
        errors[at] = error;
        for (let j = i + 1; j < to; j++) left[row * n + j]! -= error * lower[j * n + i]!;
      }
  }
  left.forEach((w, i) => (weights[i] = mask[i] === 0 ? 0 : w));
  return mask;
}
