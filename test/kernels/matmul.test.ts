import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { matmulVariants } from '../../kernels/matmul/matmul.ts';
import type { MatmulParams, MatrixOperand } from '../../kernels/matmul/params.ts';
import { Random } from '../../train/random.ts';
import { runKernel } from '../support/run-kernel.ts';

const test = suite('matmul variants');

interface Case {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly batch?: readonly [number, number];
  readonly aTransposed?: boolean;
  readonly bTransposed?: boolean;
  readonly bias?: boolean;
  /** b is one matrix for all batches. */
  readonly shared?: boolean;
  /** Elements from one row of b (or of its transpose) to the next, where there are gaps. */
  readonly bPitch?: number;
}

const cases: readonly Case[] = [
  { m: 1, n: 1, k: 1 },
  { m: 17, n: 65, k: 5, bias: true },
  { m: 64, n: 64, k: 16 },
  { m: 33, n: 68, k: 20, aTransposed: true, bias: true },
  { m: 48, n: 64, k: 32, aTransposed: true },
  { m: 20, n: 36, k: 7, bTransposed: true },
  { m: 20, n: 70, k: 12, bTransposed: true, bias: true },
  { m: 17, n: 9, k: 10, bTransposed: true, bPitch: 12 },
  { m: 9, n: 10, k: 6, bPitch: 12 },
  { m: 16, n: 64, k: 8, bTransposed: true, batch: [2, 2] },
  { m: 3, n: 2, k: 130, aTransposed: true, bTransposed: true },
  { m: 8, n: 12, k: 9, batch: [2, 3], bias: true },
  { m: 5, n: 7, k: 4, batch: [3, 2], shared: true },
];

for (const [name, variant] of Object.entries(matmulVariants)) {
  for (const c of cases) {
    test(`${name} ${JSON.stringify(c)}`, async () => {
      const { m, n, k, batch = [1, 1], bias = false } = c;
      const random = new Random(7);
      const fill = (count: number): Float32Array => Float32Array.from({ length: count }, () => random.normal());
      const count = batch[0] * batch[1];
      const offset = 4; // operands rarely start at 0
      const a = fill(offset + count * m * k);
      const bSize = c.bPitch ? c.bPitch * (c.bTransposed ? n : k) : k * n;
      const b = fill(offset + (c.shared ? 1 : count) * bSize);
      const biases = fill(n);
      const operand = (rows: number, cols: number, transposed = false, shared = false): MatrixOperand => ({
        dtype: 'f32',
        offset,
        row: transposed ? 1 : cols,
        col: transposed ? rows : 1,
        batch: shared ? [0, 0] : [batch[1] * rows * cols, rows * cols],
      });
      const left = operand(m, k, c.aTransposed);
      const packed = operand(k, n, c.bTransposed, c.shared);
      const right = c.bPitch ? { ...packed, [c.bTransposed ? 'col' : 'row']: c.bPitch } : packed;
      const params: MatmulParams = {
        m,
        n,
        k,
        batch,
        a: left,
        b: right,
        bias: bias ? { dtype: 'f32', offset: 0, stride: 1 } : undefined,
        output: 'f32',
      };
      const got = await runKernel(variant(params), bias ? [a, b, biases] : [a, b], count * m * n);
      for (let z = 0; z < count; z++) {
        for (let i = 0; i < m; i++) {
          for (let j = 0; j < n; j++) {
            let sum = bias ? biases[j]! : 0;
            let size = Math.abs(sum);
            const at = (x: MatrixOperand): number =>
              x.offset + Math.floor(z / batch[1]) * x.batch[0] + (z % batch[1]) * x.batch[1];
            for (let q = 0; q < k; q++) {
              const term = a[at(left) + i * left.row + q * left.col]! * b[at(right) + q * right.row + j * right.col]!;
              sum += term;
              size += Math.abs(term);
            }
            const error = Math.abs(got[(z * m + i) * n + j]! - sum);
            if (!(error <= 1e-6 * (size + 1)))
              assert.unreachable(`(${z}, ${i}, ${j}): ${got[(z * m + i) * n + j]} is not ${sum}`);
          }
        }
      }
    });
  }
}

test.run();
