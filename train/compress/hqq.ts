/** Weights of 4 bits without any texts: half-quadratic quantisation (HQQ, Badri and Shaji 2023). */
import { asHalf, blockBytes, codeOf, grids, size } from './rounding.ts';

/** The settings of the authors' code: p, beta, and the most rounds. */
const [power, beta, most] = [0.7, 10, 20];

/** What of an error a sparse part takes over: |x| less |x|^(p - 1) / beta, with the sign of x. */
const shrunk = (x: number): number =>
  x === 0 ? 0 : Math.sign(x) * Math.max(0, Math.abs(x) - Math.abs(x) ** (power - 1) / beta);

/**
 * Zeros and inverse scales of blocks of weights, codes from 0 to `highest`: w ~ (code - zero) / inverse. The
 * scale is that of the block's range; the zero is the one for which |w - (code - zero) / inverse|^0.7 is
 * least, found by turns: a sparse part of the error is split off, and the zero is the mean of what is left.
 * Ends where the mean error of all no longer falls.
 */
export function halfQuadratic(
  weights: Float32Array,
  highest: number,
): { readonly zeros: Float64Array; readonly inverses: Float64Array } {
  const blocks = weights.length / size;
  const [zeros, inverses] = [new Float64Array(blocks), new Float64Array(blocks)];
  for (let block = 0; block < blocks; block++) {
    let [low, high] = [Infinity, -Infinity];
    for (let i = block * size; i < (block + 1) * size; i++) {
      low = Math.min(low, weights[i]!);
      high = Math.max(high, weights[i]!);
    }
    inverses[block] = high - low <= 1e-4 ? 1 : Math.min(2e4, highest / (high - low));
    zeros[block] = Math.round(-low * inverses[block]!);
  }
  let least = Infinity;
  for (let round = 0; round < most; round++) {
    let error = 0;
    const next = new Float64Array(blocks);
    for (let block = 0; block < blocks; block++) {
      const [zero, inverse] = [zeros[block]!, inverses[block]!];
      for (let i = block * size; i < (block + 1) * size; i++) {
        const code = Math.min(highest, Math.max(0, Math.round(weights[i]! * inverse + zero)));
        const off = weights[i]! - (code - zero) / inverse;
        error += Math.abs(off) / weights.length;
        next[block]! += (code - (weights[i]! - shrunk(off)) * inverse) / size;
      }
    }
    if (!(error < least)) break;
    least = error;
    zeros.set(next);
  }
  return { zeros, inverses };
}

/**
 * Weights as blocks of q4_1, whose minimum is -zero / inverse.
 *
 * @example
 * hqq(Float32Array.from({ length: 32 }, (_, i) => i / 31)).length; // 20
 */
export function hqq(weights: Float32Array): Uint8Array {
  const grid = grids.q4_1;
  const bytes = blockBytes('hqq', 'q4_1', size);
  const { zeros, inverses } = halfQuadratic(weights, grid.highest);
  const data = new Uint8Array(zeros.length * bytes);
  const view = new DataView(data.buffer);
  const codes = new Int32Array(size);
  for (const [block, zero] of zeros.entries()) {
    const scale = { scale: asHalf(1 / inverses[block]!), minimum: asHalf(-zero / inverses[block]!) };
    for (let i = 0; i < size; i++) codes[i] = codeOf(grid, scale, weights[block * size + i]!);
    grid.write(view, block * bytes, scale, codes);
  }
  return data;
}
