import { checkFinite, transposed } from './matrix.ts';

/** The largest singular values of a matrix, and their singular vectors. */
export interface SingularPart {
  /** Largest first. */
  readonly values: Float64Array;
  /** Of each value, of as many numbers as the matrix has rows. */
  readonly left: readonly Float64Array[];
  /** Of each value, of as many numbers as the matrix has columns. */
  readonly right: readonly Float64Array[];
}

export interface SingularOptions {
  /** How often the matrix is multiplied at most; default until no value moves by 1e-11 of the largest. */
  readonly rounds?: number;
}

/**
 * The `count` largest singular values of a matrix [rows, columns], row-major, and their vectors, in float64;
 * fewer where the matrix has fewer. Values below 1e-8 of the largest are rounding, and their vectors mean
 * nothing. Error, one line: numbers that are not finite.
 *
 * A randomised block Krylov method (Musco and Musco 2015): of X, A'A X, (A'A)^2 X, ... the best that lies in
 * all of them together. With so many rounds it is no worse than as many subspace iterations (Halko et al.
 * 2011). X is the same at each call. `svd` finds all values, small ones to the last digit, and takes longer.
 *
 * @example
 * largestSingular([3, 0, 0, 4], 2, 2).values; // [4]
 */
export function largestSingular(
  matrix: ArrayLike<number>,
  rows: number,
  columns: number,
  count = 1,
  { rounds = Infinity }: SingularOptions = {},
): SingularPart {
  checkFinite('largestSingular', matrix, rows, columns);
  if (rows < columns) {
    // The smaller side is the one whose vectors are looked for.
    const turned = transposed(matrix, rows, columns);
    const { values, left: right, right: left } = largestSingular(turned, columns, rows, count, { rounds });
    return { values, left, right };
  }
  const most = columns;
  const wanted = Math.min(count, most);
  const a = new Float64Array(matrix);
  const basis: Float64Array[] = []; // orthogonal, of length 1
  const images: Float64Array[] = []; // A times them
  let block = Array.from({ length: Math.min(wanted + 2, most) }, (_, k) => startVector(columns, k));
  let found: SingularPart = { values: new Float64Array(wanted), left: [], right: [] };
  let looked = 0;
  for (let round = 0; ; round++) {
    const room = Math.min(block.length, most - basis.length);
    const fresh = block.slice(0, room).map((x, k) => orthogonal(x, basis, columns, round * block.length + k));
    const before = images.length;
    for (const v of fresh) images.push(times(a, rows, columns, v));
    const isLast = images.length === most || round >= rounds;
    // The small problem grows with the cube: it is solved when it has grown by half.
    if (isLast || images.length >= 1.5 * looked) {
      const last = found.values;
      found = bestWithin(basis, images, wanted);
      looked = images.length;
      const moved = found.values.some((value, i) => Math.abs(value - last[i]!) > 1e-11 * found.values[0]!);
      if (isLast || (round > 0 && !moved)) return found;
    }
    block = images.slice(before).map((x) => timesTransposed(a, rows, columns, x));
  }
}

/** Numbers that no matrix that anyone writes is orthogonal to. */
function startVector(size: number, number: number): Float64Array {
  let state = 0x9e3779b9 ^ Math.imul(number + 1, 0x85ebca6b);
  return Float64Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  });
}

/** x without its part in `basis`, of length 1, added to that; another vector where nothing is left. */
function orthogonal(x: Float64Array, basis: Float64Array[], size: number, number: number): Float64Array {
  for (let attempt = 0; ; attempt++) {
    const whole = norm(x);
    // Twice, for what rounding left the first time.
    for (let pass = 0; pass < 2; pass++) for (const v of basis) addTimes(x, -dot(x, v), v);
    const left = norm(x);
    if (left > 1e-10 * whole) {
      for (let i = 0; i < size; i++) x[i]! /= left;
      basis.push(x);
      return x;
    }
    x = startVector(size, 1000 * (number + 1) + attempt);
  }
}

/** The best singular vectors that are sums of the basis, from the basis and its images. */
function bestWithin(basis: readonly Float64Array[], images: readonly Float64Array[], wanted: number): SingularPart {
  const size = basis.length;
  const gram = new Float64Array(size * size);
  for (let i = 0; i < size; i++)
    for (let j = 0; j <= i; j++) gram[i * size + j] = gram[j * size + i] = dot(images[i]!, images[j]!);
  const { values: squares, vectors } = symmetricEigen(gram, size);
  const order = Array.from(squares.keys()).sort((i, j) => squares[j]! - squares[i]!);
  const chosen = order.slice(0, wanted);
  const sumOf = (list: readonly Float64Array[], weights: Float64Array): Float64Array => {
    const sum = new Float64Array(list[0]!.length);
    for (let k = 0; k < size; k++) addTimes(sum, weights[k]!, list[k]!);
    return sum;
  };
  const coefficients = chosen.map((i) => vectors.subarray(i * size, (i + 1) * size));
  const left = coefficients.map((weights) => sumOf(images, weights));
  const values = Float64Array.from(left, norm);
  left.forEach((u, i) => {
    if (values[i]! > 0) for (let j = 0; j < u.length; j++) u[j]! /= values[i]!;
  });
  return { values, left, right: coefficients.map((weights) => sumOf(basis, weights)) };
}

/**
 * All eigenvalues of a symmetric matrix [size, size], in no order, and their eigenvectors, one a row: made
 * tridiagonal by reflections (Householder), then diagonal by rotations (QL with shifts; Golub and Van Loan
 * 2013, 8.3).
 */
function symmetricEigen(matrix: Float64Array, size: number): { values: Float64Array; vectors: Float64Array } {
  const a = matrix.slice();
  const q = new Float64Array(size * size); // rows are the vectors so far
  for (let i = 0; i < size; i++) q[i * size + i] = 1;
  const row = (of: Float64Array, i: number): Float64Array => of.subarray(i * size, (i + 1) * size);
  const side = new Float64Array(size); // side[i] joins i and i + 1
  for (let k = 0; k < size - 1; k++) {
    const v = row(a, k).slice();
    v.fill(0, 0, k + 1);
    const length = norm(v);
    const head = v[k + 1]!;
    side[k] = head > 0 ? -length : length;
    v[k + 1]! -= side[k]!;
    const half = dot(v, v) / 2;
    if (half === 0) continue;
    // (1 - v v' / half) A (1 - v v' / half) = A - v w' - w v'
    const w = new Float64Array(size);
    for (let i = k; i < size; i++) w[i] = dot(row(a, i), v) / half;
    addTimes(w, -dot(v, w) / (2 * half), v);
    for (let i = k; i < size; i++) {
      addTimes(row(a, i), -v[i]!, w);
      addTimes(row(a, i), -w[i]!, v);
    }
    // The product of the reflections, transposed: row i of q is what e_i becomes.
    const along = new Float64Array(size);
    for (let i = k + 1; i < size; i++) addTimes(along, v[i]! / half, row(q, i));
    for (let i = k + 1; i < size; i++) addTimes(row(q, i), -v[i]!, along);
  }
  const values = Float64Array.from({ length: size }, (_, i) => a[i * size + i]!);
  const scale = Math.max(...values.map(Math.abs), ...side.map(Math.abs));
  for (let first = 0; first < size;) {
    let last = first;
    const isSmall = (i: number): boolean => Math.abs(side[i]!) <= Number.EPSILON * scale;
    while (last < size - 1 && !isSmall(last)) last++;
    if (last === first) {
      first++;
      continue;
    }
    // Wilkinson's shift, then rotations from the last row to the first.
    const [d, e] = [values[first]!, side[first]!];
    const half = (values[first + 1]! - d) / (2 * e);
    let g = values[last]! - d + e / (half + (half >= 0 ? 1 : -1) * Math.hypot(half, 1));
    let [sine, cosine, moved] = [1, 1, 0];
    let isSplit = false;
    for (let i = last - 1; i >= first; i--) {
      const f = sine * side[i]!;
      const b = cosine * side[i]!;
      const r = Math.hypot(f, g);
      side[i + 1] = r;
      if (r === 0) {
        values[i + 1]! -= moved;
        side[last] = 0;
        isSplit = true;
        break;
      }
      sine = f / r;
      cosine = g / r;
      g = values[i + 1]! - moved;
      const t = (values[i]! - g) * sine + 2 * cosine * b;
      moved = sine * t;
      values[i + 1] = g + moved;
      g = cosine * t - b;
      const [upper, lower] = [row(q, i), row(q, i + 1)];
      for (let j = 0; j < size; j++) {
        const z = lower[j]!;
        lower[j] = sine * upper[j]! + cosine * z;
        upper[j] = cosine * upper[j]! - sine * z;
      }
    }
    if (isSplit) continue;
    values[first]! -= moved;
    side[first] = g;
    side[last] = 0;
  }
  return { values, vectors: q };
}

function dot(x: Float64Array, y: Float64Array): number {
  let [s, t, u, v] = [0, 0, 0, 0]; // four sums, which need not wait for each other
  const size = x.length;
  let i = 0;
  for (; i + 3 < size; i += 4) {
    s += x[i]! * y[i]!;
    t += x[i + 1]! * y[i + 1]!;
    u += x[i + 2]! * y[i + 2]!;
    v += x[i + 3]! * y[i + 3]!;
  }
  for (; i < size; i++) s += x[i]! * y[i]!;
  return s + t + u + v;
}

const norm = (x: Float64Array): number => Math.sqrt(dot(x, x));

function addTimes(x: Float64Array, factor: number, y: Float64Array): void {
  if (factor === 0) return;
  for (let i = 0; i < x.length; i++) x[i]! += factor * y[i]!;
}

/** A x */
function times(a: Float64Array, rows: number, columns: number, x: Float64Array): Float64Array {
  const y = new Float64Array(rows);
  for (let i = 0; i < rows; i++) {
    let [s, t, j] = [0, 0, 0]; // two sums, which need not wait for each other
    const at = i * columns;
    for (; j + 1 < columns; j += 2) {
      s += a[at + j]! * x[j]!;
      t += a[at + j + 1]! * x[j + 1]!;
    }
    y[i] = s + t + (j < columns ? a[at + j]! * x[j]! : 0);
  }
  return y;
}

/** A' x */
function timesTransposed(a: Float64Array, rows: number, columns: number, x: Float64Array): Float64Array {
  const y = new Float64Array(columns);
  for (let i = 0; i < rows; i++) {
    const [at, factor] = [i * columns, x[i]!];
    for (let j = 0; j < columns; j++) y[j]! += a[at + j]! * factor;
  }
  return y;
}
