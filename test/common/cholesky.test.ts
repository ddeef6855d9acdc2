// Cholesky factors of inverses, against the definition, at sizes around those of the blocks.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { inverseLowerFactor, subtractProducts } from '../../common/cholesky.ts';
import { Random } from '../../common/random.ts';

const test = suite('Cholesky factors');

/** X^T X of 2 n rows, and 0.1 on the diagonal. */
function positiveDefinite(n: number, random: Random): Float64Array {
  const a = new Float64Array(n * n);
  for (let row = 0; row < 2 * n; row++) {
    const x = Array.from({ length: n }, () => random.normal());
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) a[i * n + j]! += x[i]! * x[j]!;
  }
  for (let i = 0; i < n; i++) a[i * n + i]! += 0.1;
  return a;
}

test('L of the inverse: A L L^T = 1, and nothing above the diagonal', () => {
  const random = new Random(1);
  for (const n of [0, 1, 3, 4, 31, 32, 33, 70, 97]) {
    const a = positiveDefinite(n, random);
    const given = a.slice();
    const lower = inverseLowerFactor(a, n)!;
    assert.equal(a, given, 'what is given stays');
    const at = (m: Float64Array, i: number, j: number): number => m[i * n + j]!;
    const product = (i: number, j: number): number => {
      let sum = 0;
      for (let k = 0; k < n; k++)
        for (let m = 0; m <= Math.min(j, k); m++) sum += at(a, i, k) * at(lower, k, m) * at(lower, j, m);
      return sum;
    };
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) {
        if (j > i) assert.is(at(lower, i, j), 0, `${n}: ${i}, ${j}`);
        assert.ok(Math.abs(product(i, j) - Number(i === j)) < 1e-9, `${n}: ${i}, ${j} is ${product(i, j)}`);
      }
  }
});

test('a matrix that is not positive definite has none', () => {
  const a = positiveDefinite(40, new Random(2));
  for (const [i, value] of [
    [0, -1],
    [20, 0],
    [39, NaN],
  ] as const) {
    const bad = a.slice();
    bad[i * 40 + i] = value;
    assert.is(inverseLowerFactor(bad, 40), undefined, `${i}`);
  }
});

test('products are taken off where they are asked for', () => {
  const random = new Random(3);
  const n = 11;
  const make = (): Float64Array => Float64Array.from({ length: n * n }, () => random.normal());
  for (const [rows, columns, over] of [
    [
      [0, 11],
      [0, 11],
      [0, 11],
    ],
    [
      [1, 10],
      [2, 7],
      [3, 4],
    ],
    [
      [4, 8],
      [4, 8],
      [0, 0],
    ],
    [
      [5, 6],
      [3, 11],
      [0, 9],
    ],
  ] as const) {
    const [a, b, c] = [make(), make(), make()];
    const wanted = c.map((value, at) => {
      const [i, j] = [Math.floor(at / n), at % n];
      if (i < rows[0] || i >= rows[1] || j < columns[0] || j >= columns[1]) return value;
      for (let k = over[0]; k < over[1]; k++) value -= a[i * n + k]! * b[j * n + k]!;
      return value;
    });
    subtractProducts(c, a, b, n, { rows, columns, over });
    for (let at = 0; at < n * n; at++) assert.ok(Math.abs(c[at]! - wanted[at]!) < 1e-12, `${rows.join()} ${at}`);
  }
});

test.run();
