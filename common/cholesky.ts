/**
 * Cholesky factors of large matrices, in float64: the work is in sums of products of contiguous rows, four by
 * four of which are made at once, so that a number that was read from memory counts four times.
 */

/** Columns that are solved for together; those after them are made good by `subtractProducts` before. */
const block = 32;

/** Rows or columns of a matrix, from the first to before the last. */
type Span = readonly [from: number, to: number];

/**
 * c[i, j] -= sum over k of a[i, k] b[j, k], for i of `rows`, j of `columns` and k of `over`. All three are
 * row-major, n wide, and c may be a or b where k is not of `columns`.
 */
export function subtractProducts(
  c: Float64Array,
  a: Float64Array,
  b: Float64Array,
  n: number,
  { rows, columns, over }: Readonly<Record<'rows' | 'columns' | 'over', Span>>,
): void {
  const [k0, k1] = over;
  if (k1 <= k0) return;
  const [i1, j1] = [rows[1], columns[1]];
  let i = rows[0];
  for (; i + 4 <= i1; i += 4) {
    let j = columns[0];
    for (; j + 4 <= j1; j += 4) {
      let [s00, s01, s02, s03] = [0, 0, 0, 0];
      let [s10, s11, s12, s13] = [0, 0, 0, 0];
      let [s20, s21, s22, s23] = [0, 0, 0, 0];
      let [s30, s31, s32, s33] = [0, 0, 0, 0];
      const [a0, b0] = [i * n, j * n];
      for (let k = k0; k < k1; k++) {
        const x0 = a[a0 + k]!;
        const x1 = a[a0 + n + k]!;
        const x2 = a[a0 + 2 * n + k]!;
        const x3 = a[a0 + 3 * n + k]!;
        const y0 = b[b0 + k]!;
        s00 += x0 * y0;
        s10 += x1 * y0;
        s20 += x2 * y0;
        s30 += x3 * y0;
        const y1 = b[b0 + n + k]!;
        s01 += x0 * y1;
        s11 += x1 * y1;
        s21 += x2 * y1;
        s31 += x3 * y1;
        const y2 = b[b0 + 2 * n + k]!;
        s02 += x0 * y2;
        s12 += x1 * y2;
        s22 += x2 * y2;
        s32 += x3 * y2;
        const y3 = b[b0 + 3 * n + k]!;
        s03 += x0 * y3;
        s13 += x1 * y3;
        s23 += x2 * y3;
        s33 += x3 * y3;
      }
      const sums = [s00, s01, s02, s03, s10, s11, s12, s13, s20, s21, s22, s23, s30, s31, s32, s33];
      for (let at = 0; at < 16; at++) c[(i + (at >> 2)) * n + j + (at & 3)]! -= sums[at]!;
    }
    for (; j < j1; j++) for (let row = i; row < i + 4; row++) c[row * n + j]! -= dot(a, row * n, b, j * n, k0, k1);
  }
  for (; i < i1; i++) for (let j = columns[0]; j < j1; j++) c[i * n + j]! -= dot(a, i * n, b, j * n, k0, k1);
}

function dot(a: Float64Array, at: number, b: Float64Array, bt: number, from: number, to: number): number {
  let sum = 0;
  for (let k = from; k < to; k++) sum += a[at + k]! * b[bt + k]!;
  return sum;
}

/**
 * x U^T = right, solved in place for rows of x [., n] that hold the right side, with U of `upperFactor`;
 * columns of `columns` alone, whose later ones are solved.
 */
function solveRows(x: Float64Array, rows: Span, upper: Float64Array, n: number, [from, to]: Span): void {
  for (let i = rows[0]; i < rows[1]; i++)
    for (let j = to - 1; j >= from; j--) {
      const known = dot(x, i * n, upper, j * n, j + 1, to);
      x[i * n + j] = (x[i * n + j]! - known) / upper[j * n + j]!;
    }
}

/** From the last on: columns in blocks. */
function blocksBackwards(n: number): Span[] {
  const starts = Array.from({ length: Math.ceil(n / block) }, (_, i) => i * block).reverse();
  return starts.map((from) => [from, Math.min(n, from + block)]);
}

/**
 * U of a positive definite matrix A = U U^T [n, n], row-major; A's upper part is read. Undefined where A is
 * not positive definite.
 */
function upperFactor(a: Float64Array, n: number): Float64Array | undefined {
  const u = new Float64Array(n * n);
  for (let i = 0; i < n; i++) u.set(a.subarray(i * n + i, (i + 1) * n), i * n + i);
  for (const [from, to] of blocksBackwards(n)) {
    subtractProducts(u, u, u, n, { rows: [0, to], columns: [from, to], over: [to, n] });
    for (let j = to - 1; j >= from; j--) {
      const left = u[j * n + j]! - dot(u, j * n, u, j * n, j + 1, to);
      if (!(left > 0)) return undefined;
      u[j * n + j] = Math.sqrt(left);
      for (let i = from; i < j; i++)
        u[i * n + j] = (u[i * n + j]! - dot(u, i * n, u, j * n, j + 1, to)) / u[j * n + j]!;
      u.fill(0, j * n + from, j * n + j); // What was subtracted below the diagonal.
    }
    solveRows(u, [0, from], u, n, [from, to]);
  }
  return u;
}

/**
 * L of the inverse of a positive definite matrix, A^-1 = L L^T [n, n], row-major. The inverse itself is never
 * made: with A = U U^T it is U^-T U^-1, and so L U^T = 1. Undefined where A is not positive definite.
 */
export function inverseLowerFactor(a: Float64Array, n: number): Float64Array | undefined {
  const upper = upperFactor(a, n);
  if (!upper) return undefined;
  const lower = new Float64Array(n * n);
  for (let i = 0; i < n; i++) lower[i * n + i] = 1;
  for (const [from, to] of blocksBackwards(n)) {
    // Row i is 0 behind its column i.
    for (let row = to; row < n; row += block) {
      const rows: Span = [row, Math.min(n, row + block)];
      subtractProducts(lower, lower, upper, n, { rows, columns: [from, to], over: [to, rows[1]] });
    }
    solveRows(lower, [from, n], upper, n, [from, to]);
  }
  return lower;
}
