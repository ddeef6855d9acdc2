/** A matrix [rows, columns], row-major, the other way round. */
export function transposed(a: ArrayLike<number>, rows: number, columns: number): Float64Array {
  const out = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = a[i * columns + j]!;
  return out;
}

/** Error, one line: a matrix [rows, columns] with numbers that are not finite. */
export function checkFinite(op: string, a: ArrayLike<number>, rows: number, columns: number): void {
  const odd = Array.prototype.findIndex.call(a, (x: number) => !Number.isFinite(x));
  if (odd >= 0)
    throw new Error(
      `${op}: the matrix [${rows}, ${columns}] has ${a[odd]} in row ${Math.floor(odd / columns)}; it must be finite`,
    );
}
