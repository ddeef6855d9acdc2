/** Rows of numbers, [rows][columns]. */
export type Matrix = readonly ArrayLike<number>[];

/**
 * The w that makes sum_i weight_i (y_i - x_i w)^2 + sum_j ridge_j w_j^2 least, by Cholesky's decomposition of
 * the normal equations in float64. Where columns depend on each other, the ridge is raised to 1e-10 of the
 * largest diagonal element.
 */
export function leastSquares(
  x: Matrix,
  y: ArrayLike<number>,
  weights: ArrayLike<number>,
  ridge: ArrayLike<number>,
): Float64Array {
  const size = ridge.length;
  const normal = new Float64Array(size * size);
  const right = new Float64Array(size);
  for (const [i, row] of x.entries()) {
    for (let a = 0; a < size; a++) {
      const weighted = weights[i]! * row[a]!;
      if (weighted === 0) continue;
      right[a]! += weighted * y[i]!;
      for (let b = 0; b <= a; b++) normal[a * size + b]! += weighted * row[b]!;
    }
  }
  for (let a = 0; a < size; a++) normal[a * size + a]! += ridge[a]!;
  const largest = Math.max(...Array.from({ length: size }, (_, a) => normal[a * size + a]!), Number.MIN_VALUE);
  const factor = cholesky(normal, size) ?? cholesky(raised(normal, size, 1e-10 * largest), size)!;
  for (let a = 0; a < size; a++) {
    for (let b = 0; b < a; b++) right[a]! -= factor[a * size + b]! * right[b]!;
    right[a]! /= factor[a * size + a]!;
  }
  for (let a = size - 1; a >= 0; a--) {
    for (let b = a + 1; b < size; b++) right[a]! -= factor[b * size + a]! * right[b]!;
    right[a]! /= factor[a * size + a]!;
  }
  return right;
}

function raised(matrix: Float64Array, size: number, by: number): Float64Array {
  const copy = matrix.slice();
  for (let a = 0; a < size; a++) copy[a * size + a]! += by;
  return copy;
}

/** The lower factor of a symmetric matrix, whose lower half is read; undefined where it is not positive. */
function cholesky(matrix: Float64Array, size: number): Float64Array | undefined {
  const factor = new Float64Array(size * size);
  for (let a = 0; a < size; a++) {
    for (let b = 0; b <= a; b++) {
      let sum = matrix[a * size + b]!;
      for (let k = 0; k < b; k++) sum -= factor[a * size + k]! * factor[b * size + k]!;
      if (a !== b) factor[a * size + b] = sum / factor[b * size + b]!;
      else if (sum > 1e-13 * matrix[a * size + a]!) factor[a * size + a] = Math.sqrt(sum);
      else return undefined;
    }
  }
  return factor;
}
