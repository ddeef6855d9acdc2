import { ignoredLabel } from '../../models/nn/token-loss.ts';
import type { HostArray } from './task.ts';

export { ignoredLabel };

/** Rows of tokens by number, cut from a corpus: what objectives make batches of. */
export interface Rows {
  /** Rows of one pass over the data. */
  readonly count: number;
  /** Tokens of the longest row. */
  readonly length: number;
  /** Every row has `length` tokens, so that nothing is padded. */
  readonly full: boolean;
  /** One pass in order, each row once, as evaluation wants it; else an endless sequence. */
  readonly ordered: boolean;
  /** Ids are below this. */
  readonly vocabSize: number;
  /**
   * Row `index`, from 0 up without end (up to `count` where ordered): a pure function of it. The caller's to
   * keep and change.
   */
  row(index: number): Int32Array;
}

/** A row of a batch and the number that its random choices are drawn by. */
export interface NumberedRow {
  readonly ids: Int32Array;
  readonly index: number;
}

/** Batches that make one pass. */
export function passOf({ count }: Pick<Rows, 'count'>, batchSize: number): number {
  if (!Number.isInteger(batchSize) || batchSize < 1)
    throw new Error(`batches: batchSize must be a positive integer, got ${batchSize}`);
  return Math.ceil(count / batchSize);
}

/**
 * Row numbers of batch `index`. Ordered rows begin anew after each pass, whose last batch is filled up with
 * null.
 */
export function rowNumbers(rows: Pick<Rows, 'count' | 'ordered'>, batchSize: number, index: number): (number | null)[] {
  if (!Number.isSafeInteger(index) || index < 0)
    throw new Error(`batches: a batch's number must be a whole number from 0 up, got ${index}`);
  const pass = passOf(rows, batchSize);
  const first = (rows.ordered ? index % pass : index) * batchSize;
  return Array.from({ length: batchSize }, (_, i) => (rows.ordered && first + i >= rows.count ? null : first + i));
}

/** The rows of batch `index`, empty ones where a pass of ordered rows has ended. */
export function batchOf(rows: Rows, batchSize: number, index: number): NumberedRow[] {
  return rowNumbers(rows, batchSize, index).map((row) =>
    row === null ? { ids: new Int32Array(0), index: 0 } : { ids: rows.row(row), index: row },
  );
}

export function i32(data: Int32Array, ...shape: number[]): HostArray {
  return { data, shape };
}

/** Lists of numbers below one another as [B, length], the rest of each `fill`. */
export function padRows(rows: readonly ArrayLike<number>[], length: number, fill: number): HostArray {
  const data = new Int32Array(rows.length * length).fill(fill);
  rows.forEach((row, i) => data.set(row, i * length));
  return i32(data, rows.length, length);
}

/**
 * 1 for the tokens of each row, 0 for its padding. The first token of an empty row is 1, so that each row
 * attends to something.
 */
export function attentionOf(rows: readonly ArrayLike<number>[], length: number): HostArray {
  return padRows(
    rows.map((row) => new Int32Array(Math.max(row.length, 1)).fill(1)),
    length,
    0,
  );
}

/** The number of labels that count. */
export function labelCount({ data }: HostArray): number {
  let count = 0;
  for (const label of data) if (label !== ignoredLabel) count++;
  return count;
}

/** Tokens of a batch, padding left out. */
export function tokensOf(rows: readonly NumberedRow[]): number {
  return rows.reduce((sum, { ids }) => sum + ids.length, 0);
}
