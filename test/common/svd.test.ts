// The singular value decomposition: what it is by definition, and matrices whose values are known.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../common/random.ts';
import { svd } from '../../common/svd.ts';
import { throwsOneLine } from '../support/failure.ts';

const test = suite('svd');

/** Largest |(a b)[i, j] - wanted(i, j)| of a [m, k] and b [k, n], each read by a function. */
function farthest(
  [m, k, n]: readonly [number, number, number],
  a: (i: number, j: number) => number,
  b: (i: number, j: number) => number,
  wanted: (i: number, j: number) => number,
): number {
  let most = 0;
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let l = 0; l < k; l++) sum += a(i, l) * b(l, j);
      most = Math.max(most, Math.abs(sum - wanted(i, j)));
    }
  return most;
}

/** Singular values, after all that defines them was checked. */
function checked(a: ArrayLike<number>, rows: number, columns: number, rank = Math.min(rows, columns)): Float64Array {
  const { u, s, vh } = svd(a, rows, columns);
  const k = Math.min(rows, columns);
  assert.equal([u.length, s.length, vh.length], [rows * k, k, k * columns]);
  const scale = s[0]! || 1;
  const place = `${rows} x ${columns}`;
  const at = (i: number, j: number): number => u[i * k + j]!;
  const right = (i: number, j: number): number => vh[i * columns + j]!;
  const product = farthest(
    [rows, k, columns],
    (i, l) => at(i, l) * s[l]!,
    right,
    (i, j) => a[i * columns + j]!,
  );
  assert.ok(product < 1e-13 * scale * Math.sqrt(k), `${place}: product off by ${product}`);
  const one = (i: number, j: number): number => Number(i === j);
  const left = farthest([rank, rows, rank], (i, l) => at(l, i), at, one);
  assert.ok(left < 1e-13 * k, `${place}: u off by ${left}`);
  const other = farthest([rank, columns, rank], right, (l, j) => right(j, l), one);
  assert.ok(other < 1e-13 * k, `${place}: vh off by ${other}`);
  assert.ok(
    s.every((x, i) => x >= 0 && (i === 0 || x <= s[i - 1]!)),
    `${place}: ${[...s]} is not sorted`,
  );
  return s;
}

test('u diag(s) vh is the matrix, u and v are orthonormal; any shape and scale', () => {
  const random = new Random(1);
  for (const [rows, columns] of [
    [1, 1],
    [1, 5],
    [5, 1],
    [7, 7],
    [30, 8],
    [8, 30],
    [64, 64],
  ] as const)
    for (const scale of [1, 1e-160, 1e150])
      checked(
        Float64Array.from({ length: rows * columns }, () => scale * random.normal()),
        rows,
        columns,
      );
});

test('values that are known: diagonals, rank 1 and 2, equal ones, none, Hilbert', () => {
  const diagonal = checked([0, -3, 0, 2, 0, 0, 0, 0, 5], 3, 3);
  assert.ok([5, 3, 2].every((x, i) => Math.abs(diagonal[i]! - x) < 1e-14));
  const one = checked([1, 2, 3, 2, 4, 6, 3, 6, 9, 4, 8, 12], 4, 3, 1);
  assert.ok(Math.abs(one[0]! - Math.sqrt(30 * 14)) < 1e-12 && one[1]! < 1e-14 && one[2]! < 1e-14);
  assert.equal([...checked([1, 0, 0, 0, 1, 0, 0, 0, 1], 3, 3)], [1, 1, 1]);
  assert.equal([...checked(new Float64Array(6), 2, 3, 0)], [0, 0]);
  // numpy.linalg.svd of the Hilbert matrix [8, 8], whose condition is 1.5e10.
  const hilbert = Float64Array.from({ length: 64 }, (_, at) => 1 / (1 + Math.floor(at / 8) + (at % 8)));
  const known = [
    1.6959389969219496, 0.2981252113169307, 0.026212843578119035, 0.0014676881177418427, 5.436943369749979e-5,
    1.2943320918688685e-6, 1.798873745949071e-8, 1.1115389812040764e-10,
  ];
  const found = checked(hilbert, 8, 8);
  known.forEach((x, i) => assert.ok(Math.abs(found[i]! - x) < 1e-15, `${i}: ${found[i]}, not ${x}`));
});

test('what is no matrix of finite numbers is refused in one line', () => {
  throwsOneLine(() => svd([1, 2, 3], 2, 2), /^svd: 3 numbers are no matrix \[2, 2\]$/);
  throwsOneLine(() => svd([1, 2, NaN, 4], 2, 2), /^svd: the matrix \[2, 2\] has NaN in row 1; it must be finite$/);
});

test.run();
