import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { acquire } from '../../gpu/index.ts';
import { plainSink } from '../../kernels/map/elements.ts';
import type { Product } from '../../kernels/matmul/product.ts';
import { matmulInt8 } from '../../kernels/quant/int8.ts';
import { matmulInt8Subgroup } from '../../kernels/quant/int8-subgroup.ts';
import { Random } from '../../common/random.ts';
import { runKernel } from '../support/run-kernel.ts';

/** Products of bytes are exact in every variant: only the scales round. */
const test = suite('int8 products');
const { target } = await acquire();

const variants = [
  { name: 'dot4I8Packed', make: matmulInt8 },
  ...target.subgroupMatrix
    .filter(({ component, result }) => component === 'i8' && result === 'i32')
    .map((matrix) => ({
      name: `subgroup ${matrix.M}x${matrix.N}x${matrix.K}`,
      make: (params: Product) => matmulInt8Subgroup(params, matrix, target),
    })),
];
const shapes = [
  [1, 1, 4],
  [16, 16, 32],
  [17, 20, 36],
  [40, 33, 132],
  [5, 64, 8],
] as const;

for (const { name, make } of variants) {
  for (const [m, n, k] of shapes) {
    for (const withBias of [false, true]) {
      test(`${name} ${m}x${n}x${k}${withBias ? ' bias' : ''}`, async () => {
        const random = new Random(5);
        const bytes = (count: number, from: number): number[] =>
          Array.from({ length: count }, () => from + random.int(256));
        const [a, b] = [bytes(m * k, -128), bytes(n * k, 0)];
        // exact products
        const scale = (count: number): Float32Array => Float32Array.from({ length: count }, () => 2 ** -random.int(8));
        const [rowScales, scales, bias] = [scale(m), scale(n), Float32Array.from({ length: n }, () => random.int(100))];
        const operand = { dtype: 'u32' as const, offset: 0, row: k, col: 1, batch: [0, 0] as const };
        const quantized = { bits: 8 as const, inFeatures: k, group: k, scales: 'f32' as const, zeros: false };
        const dispatch = make({
          m,
          n,
          k,
          batch: [1, 1],
          a: operand,
          b: { ...operand, quantized },
          bias: withBias ? { dtype: 'f32', offset: 0, stride: 1 } : undefined,
          sink: plainSink([m, n], 'f32'),
        });
        const packed = [Int8Array.from(a), Uint8Array.from(b)].map((x) => new Float32Array(x.buffer));
        const inputs = [packed[0]!, rowScales, packed[1]!, scales, ...(withBias ? [bias] : [])];
        const got = await runKernel(dispatch, inputs, m * n);
        for (let i = 0; i < m; i++) {
          for (let j = 0; j < n; j++) {
            let sum = 0;
            for (let q = 0; q < k; q++) sum += a[i * k + q]! * (b[j * k + q]! - 128);
            const want = sum * rowScales[i]! * scales[j]! + (withBias ? bias[j]! : 0);
            assert.ok(
              Math.abs(got[i * n + j]! - want) <= 1e-6 * Math.abs(want),
              `(${i}, ${j}): ${got[i * n + j]} is not ${want}`,
            );
          }
        }
      });
    }
  }
}

test.run();
