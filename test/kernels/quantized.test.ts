import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fromHalf, toHalf } from '../../common/half.ts';
import { acquire } from '../../gpu/index.ts';
import { plainSink } from '../../kernels/map/elements.ts';
import { matmulDispatch, planName } from '../../kernels/matmul/matmul.ts';
import type { MatmulPlan } from '../../kernels/matmul/matmul.ts';
import { subgroupTile } from '../../kernels/matmul/subgroup.ts';
import type { QuantizedWeight } from '../../kernels/quant/weights.ts';
import { Random } from '../../common/random.ts';
import { runKernel } from '../support/run-kernel.ts';

/** Every variant reads quantised weights, along k (forward) and along the outputs (for the gradient). */
const test = suite('quantized weights');
const { target } = await acquire();

const plans: readonly MatmulPlan[] = [
  { variant: 'plain' },
  { variant: 'lanes', rows: 16 },
  { variant: 'tiled', tile: { m: 32, n: 32, k: 8, threadM: 4, threadN: 4 } },
  ...target.subgroupMatrix
    .filter(({ component, result }) => component === 'f16' && result === 'f32')
    .map((matrix): MatmulPlan => {
      const { M, N, K } = matrix;
      return { variant: 'subgroup', tile: subgroupTile(target, matrix, [2, 2], [2 * M, N], 2 * K) };
    }),
];

const [rows, out, into, group] = [19, 44, 72, 16];

for (const plan of plans) {
  for (const transposed of [false, true]) {
    for (const bits of [4, 8] as const) {
      const f16 = plan.variant === 'subgroup';
      test(`${planName(plan)} ${bits} bits${transposed ? ', transposed' : ''}`, async () => {
        const random = new Random(11);
        const stored = (x: number): number => (f16 ? fromHalf(toHalf(x)) : Math.fround(x));
        const zeros = bits === 4;
        const groups = Math.ceil(into / group);
        const [m, n, k] = transposed ? [rows, into, out] : [rows, out, into];
        const a = Array.from({ length: m * k }, () => stored(random.normal()));
        const words = Uint32Array.from(
          { length: (out * into * bits) / 32 },
          () => random.int(65536) * 65536 + random.int(65536),
        );
        const scales = Float32Array.from({ length: out * groups }, () => random.uniform() / 8);
        const origins = Float32Array.from({ length: out * groups }, () => random.int(16));
        const quantized: QuantizedWeight = { bits, inFeatures: into, group, scales: 'f32', zeros };
        const dispatch = matmulDispatch(plan, {
          m,
          n,
          k,
          batch: [1, 1],
          a: { dtype: f16 ? 'f16' : 'f32', offset: 0, row: k, col: 1, batch: [0, 0] },
          b: {
            dtype: 'u32',
            offset: 0,
            row: transposed ? into : 1,
            col: transposed ? 1 : into,
            batch: [0, 0],
            quantized,
          },
          sink: plainSink([m, n], 'f32'),
        });
        const left = f16 ? Uint16Array.from(a, toHalf) : Float32Array.from(a);
        const got = await runKernel(dispatch, [left, words, scales, ...(zeros ? [origins] : [])], m * n);
        const weight = (o: number, i: number): number => {
          const q = (words[Math.floor(((o * into + i) * bits) / 32)]! >>> ((i * bits) % 32)) & (2 ** bits - 1);
          const g = o * groups + Math.floor(i / group);
          return (q - (zeros ? origins[g]! : 128)) * scales[g]!;
        };
        for (let i = 0; i < m; i++) {
          for (let j = 0; j < n; j++) {
            let [sum, scale] = [0, 1];
            for (let q = 0; q < k; q++) {
              const term = a[i * k + q]! * (transposed ? weight(q, j) : weight(j, q));
              sum += term;
              scale += Math.abs(term);
            }
            // Tensor cores take the dequantised weight rounded to f16.
            const error = Math.abs(got[i * n + j]! - sum);
            if (!(error <= (f16 ? 2 ** -11 : 1e-6) * scale))
              assert.unreachable(`(${i}, ${j}): ${got[i * n + j]} is not ${sum}`);
          }
        }
      });
    }
  }
}

test.run();
