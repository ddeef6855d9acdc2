import type { Order } from './architectures.ts';

/**
 * A tensor of a file in the order of Transformers, or with `back` the other way round.
 *
 * Pairs: llama.cpp turns the rows x0 y0 x1 y1 ... of a head, a pair side by side; Transformers has the halves
 * x0 x1 ... y0 y1 ... Parts: all queries, then all keys, then all values, which Transformers has head by head
 * (GPT-NeoX). Transposed: GPT-2's weights, [out, in] in the file and [in, out] in Transformers. Plus one: the
 * weights of norms that count from 1 (Gemma).
 */
export function reorder<T extends Float32Array | Uint8Array>(
  data: T,
  shape: readonly number[],
  order: Order,
  heads: number,
  back = false,
): T {
  const [rows = 0, columns = 1] = shape;
  if (order === undefined || (order === 'transposed' && shape.length !== 2)) return data;
  if (order === 'plus one') return data.map((value) => value + (back ? 1 : -1)) as T;
  const out = new (data.constructor as new (length: number) => T)(data.length);
  if (order === 'transposed') {
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j]!;
    return out;
  }
  const size = rows / heads;
  /** Where a row of the file lies in Transformers. */
  const placeOf = (row: number): number => {
    if (order === 'pairs') {
      const within = row % size;
      return row - within + (within % 2) * (size / 2) + Math.floor(within / 2);
    }
    const dim = size / 3;
    const [part, within] = [Math.floor(row / (dim * heads)), row % (dim * heads)];
    return Math.floor(within / dim) * size + part * dim + (within % dim);
  };
  if (!Number.isInteger(order === 'pairs' ? size / 2 : size / 3))
    throw new Error(`${rows} rows are no whole pairs of ${heads} heads`);
  for (let row = 0; row < rows; row++) {
    const place = placeOf(row);
    const [from, to] = back ? [place, row] : [row, place];
    out.set(data.subarray(from * columns, (from + 1) * columns), to * columns);
  }
  return out;
}
