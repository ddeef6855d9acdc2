// Rows of tokens of different lengths, run through a model in padded batches of like length.
import { compile, noGrad, scope, tensor } from '../../autograd/index.ts';
import type { Compiled, Tensor } from '../../autograd/index.ts';
import type { RowLimits } from '../bert/model.ts';
import { evalMode } from '../module.ts';
import type { Module } from '../module.ts';

/** A text, or a pair of texts, as a model reads it, unpadded. */
export interface TokenRow {
  readonly inputIds: Int32Array;
  readonly tokenTypeIds: Int32Array;
}

/** B rows padded to T tokens; the arrays are row-major [B, T]. */
export interface PaddedRows {
  readonly shape: readonly [B: number, T: number];
  readonly inputIds: Int32Array;
  /** 1 for tokens, 0 for padding. */
  readonly attentionMask: Int32Array;
  /** undefined for a model that tells no types apart. */
  readonly tokenTypeIds: Int32Array | undefined;
}

/**
 * The length that sequences up to `longest` are padded to: 8, 16, 24, 32, 48, 64, 96, 128, ..., at most
 * `limit`. Few lengths occur, for each of which a compiled step is captured.
 */
export function paddedLength(longest: number, limit = Infinity): number {
  let step = 8;
  while (4 * step < longest) step *= 2;
  return Math.max(longest, Math.min(Math.ceil(longest / step) * step, limit));
}

/** Pads rows to one length, see `paddedLength`; without limits to any, with types of tokens. */
export function padRows(
  rows: readonly TokenRow[],
  padTokenId: number,
  { positions, tokenTypes }: RowLimits = { positions: Infinity, tokenTypes: true },
): PaddedRows {
  const length = paddedLength(Math.max(...rows.map(({ inputIds }) => inputIds.length)), positions);
  const padded = (pick: (row: TokenRow) => Int32Array, empty: number): Int32Array => {
    const values = new Int32Array(rows.length * length).fill(empty);
    rows.forEach((row, i) => values.set(pick(row), i * length));
    return values;
  };
  return {
    shape: [rows.length, length],
    inputIds: padded(({ inputIds }) => inputIds, padTokenId),
    attentionMask: padded(({ inputIds }) => new Int32Array(inputIds.length).fill(1), 0),
    tokenTypeIds: tokenTypes ? padded(({ tokenTypeIds }) => tokenTypeIds, 0) : undefined,
  };
}

/** Padded rows as a model takes them: (B, T) each. */
export function inputsOf({ shape, inputIds, attentionMask, tokenTypeIds }: PaddedRows): {
  readonly inputIds: Tensor;
  readonly attentionMask: Tensor;
  readonly tokenTypeIds?: Tensor;
} {
  const onDevice = (data: Int32Array): Tensor => tensor(data, { shape: [...shape] });
  return {
    inputIds: onDevice(inputIds),
    attentionMask: onDevice(attentionMask),
    ...(tokenTypeIds ? { tokenTypeIds: onDevice(tokenTypeIds) } : {}),
  };
}

/**
 * Batches of like length for evaluation: every row once, longest first (what does not fit into memory fails
 * at once), in fixed order. Errors: no rows; a batchSize that is no positive integer.
 *
 * @example
 * evaluationBatches([5, 9, 7], 2); // [[1, 2], [0]]
 */
export function evaluationBatches(lengths: ArrayLike<number>, batchSize: number): number[][] {
  checkBatches(lengths, batchSize);
  const order = Array.from({ length: lengths.length }, (_, i) => i).sort((a, b) => lengths[b]! - lengths[a]!);
  return chunks(order, batchSize);
}

/** A list in runs of `size`, the last one shorter. */
export function chunks<T>(list: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(list.length / size) }, (_, i) => list.slice(i * size, (i + 1) * size));
}

/** Throws unless there are rows to make batches of. */
export function checkBatches(lengths: ArrayLike<number>, batchSize: number): void {
  if (!Number.isInteger(batchSize) || batchSize < 1)
    throw new Error(`batches: batchSize must be a positive integer, got ${batchSize}`);
  if (lengths.length === 0) throw new Error('batches: there are no examples; pass the length of each in tokens');
}

/**
 * Runs batches of rows through a model with dropout off; its mode is put back afterwards. `run` gets the
 * numbers of a batch's rows; what it makes on the device is freed when it ends.
 */
export async function forEachBatch(
  model: Module,
  rows: readonly Pick<TokenRow, 'inputIds'>[],
  batchSize: number,
  run: (indices: readonly number[]) => Promise<void>,
): Promise<void> {
  const lengths = rows.map(({ inputIds }) => inputIds.length);
  using _mode = evalMode(model);
  for (const indices of evaluationBatches(lengths, batchSize)) {
    using _ = scope();
    await run(indices);
  }
}

/**
 * A function of a model and a batch, without gradients and compiled once for each model, so that its programs
 * serve every call.
 */
export function compiledFor<M extends Module, Batch, Result>(
  name: string,
  forward: (model: M, batch: Batch) => Result,
): (model: M) => Compiled<[batch: Batch], Result> {
  const known = new WeakMap<M, Compiled<[batch: Batch], Result>>();
  return (model) => {
    let compiled = known.get(model);
    if (!compiled) {
      const options = { name, maxPrograms: 32, log: () => undefined };
      compiled = compile((batch: Batch) => noGrad(() => forward(model, batch)), options);
      known.set(model, compiled);
    }
    return compiled;
  };
}
