import type { Target } from '../../gpu/device.ts';

/**
 * How a workgroup works: it owns some rows (queries, or keys in the pass for dK and dV) and walks along the
 * other side's tokens, four at a time. Each row is held by `share` threads, which take every share-th vec4 of
 * it; each thread holds its part of `rows` rows.
 *
 * Measured on llvmpipe (Mesa 26) on 2 cores that other work shared, GFLOP/s a processor second, where a
 * product of 512^3 had 13 and register-only multiply-adds 20 (4 heads, D 64, T 512): products, softmax and
 * products in three kernels 8; lanes as rows of queries, keys read uniformly and unrolled by four, 2 rows a
 * lane 7, 4 rows 11; the same with a loop over the four keys 12 and 14, and compiled in 0.5 and 1.5 s instead
 * of 2.0 and 3.7 (each load is a branch there, and costs 12 ms of compilation); rows in an array instead of
 * variables 3-6; keys as 4 x 4 matrices 6. Backward: four keys at a time, each read twice 9; one at a time,
 * read once 15 (7 products, where the composite has 4, and still 1.2 to 6 times as fast as it, see
 * bench/attention.ts). The way for GPUs (tiles in workgroup memory, rows shared by threads where registers
 * would not hold them) has been tested on software only.
 */
export interface Walk {
  /** Threads along the rows. */
  readonly lanes: number;
  readonly rows: number;
  readonly share: number;
  /**
   * Tokens of the other side staged in workgroup memory at once, a multiple of 4; 0: they are read from where
   * they lie, uniformly.
   */
  readonly tile: number;
}

/**
 * Passes differ in how many rows of D numbers a thread must hold: q, o; q, dO, dQ and k, v, dK, dV in one
 * kernel.
 */
export type Pass = 'forward' | 'backward';
const held: Record<Pass, number> = { forward: 2, backward: 4 };

/** Numbers of rows that a GPU's thread can hold in registers beside the rest. */
const registers = 128;
/** Half of the workgroup memory that every device has; the other half is for exchanges. */
const tileBytes = 8192;

export function chooseWalk({ software }: Pick<Target, 'software'>, pass: Pass, width: number): Walk {
  if (software) return { lanes: 8, rows: pass === 'forward' && width <= 64 ? 4 : 2, share: 1, tile: 0 };
  const wanted = (held[pass] * width) / registers;
  const share = wanted <= 1 ? 1 : wanted <= 2 ? 2 : 4;
  const tokenBytes = 2 * 16 * chunksOf({ share }, width) * share;
  const tile = Math.min(64, Math.floor(tileBytes / tokenBytes / 4) * 4);
  return { lanes: 64, rows: 1, share, tile };
}

export const threadsOf = ({ lanes, share }: Walk): number => lanes * share;
export const rowsOf = ({ lanes, rows }: Walk): number => lanes * rows;

/** vec4s of a row that a thread holds; the last may lie past the row's end. */
export const chunksOf = ({ share }: Pick<Walk, 'share'>, width: number): number => Math.ceil(width / 4 / share);
