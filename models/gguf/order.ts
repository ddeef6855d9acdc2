import type { Order } from './architectures.ts';

/**
 * A tensor of a file in the order of Transformers, or with `back` the other way round.
 *
 * Pairs: llama.cpp turns the rows x0 y0 x1 y1 ... of a head, a pair side by side; Transformers has the halves
 * x0 x1 ... y0 y1 ... Transposed: GPT-2's weights, [out, in] in the file and [in, out] in Transformers.
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
  const out = new (data.constructor as new (length: number) => T)(data.length);
  if (order === 'transposed') {
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j]!;
    return out;
  }
  const size = rows / heads;
  if (!Number.isInteger(size / 2)) throw new Error(`${rows} rows are no whole pairs of ${heads} heads`);
  for (let row = 0; row < rows; row++) {
    const within = row % size;
    const half = row - within + (within % 2) * (size / 2) + Math.floor(within / 2);
    const [from, to] = back ? [half, row] : [row, half];
    out.set(data.subarray(from * columns, (from + 1) * columns), to * columns);
  }
  return out;
}
