import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fromHalf, toHalf } from '../../common/half.ts';
import { acquire } from '../../gpu/index.ts';
import { plainSink } from '../../kernels/map/elements.ts';
import { matmulDispatch, planName } from '../../kernels/matmul/matmul.ts';
import type { MatmulPlan } from '../../kernels/matmul/matmul.ts';
import { subgroupTile } from '../../kernels/matmul/subgroup.ts';
import type { Product } from '../../kernels/matmul/product.ts';
import { nf4 } from '../../kernels/quant/weights.ts';
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

// One row of a, on GPUs also three, by weights of every kind, whose groups are shorter than a step, as long
// or longer.
for (const [bits, into, group, extra] of [
  [4, 64, 32, 'minimums'],
  [4, 96, 32, 'zeros'],
  [4, 1216, 32, undefined],
  [4, 320, 64, 'codebook'],
  [4, 192, 192, 'zeros'],
  [8, 96, 16, undefined],
  [8, 64, 32, 'zeros'],
  [8, 1088, 1088, undefined],
  [8, 96, 32, 'minimums'],
] as const)
  for (const scaleType of target.f16 ? (['f32', 'f16'] as const) : (['f32'] as const))
    test(`vector: ${bits} bits in groups of ${group} of ${into}, ${extra ?? 'no'}, ${scaleType}`, async () => {
      const random = new Random(5);
      const n = 41;
      const groups = Math.ceil(into / group);
      const stored = (x: number): number => (scaleType === 'f16' ? fromHalf(toHalf(x)) : Math.fround(x));
      const fill = (fn: () => number): number[] => Array.from({ length: n * groups }, () => stored(fn()));
      const upload = (values: number[]) =>
        scaleType === 'f16' ? Uint16Array.from(values, toHalf) : Float32Array.from(values);
      const a = Array.from({ length: 3 * into }, () => Math.fround(random.normal()));
      const words = Uint32Array.from(
        { length: (n * into * bits) / 32 },
        () => random.int(65536) * 65536 + random.int(65536),
      );
      const scales = fill(() => random.uniform() / 8);
      const origins = fill(() => (extra === 'zeros' ? random.int(2 ** bits) : random.normal()));
      const codebook = extra === 'codebook' ? 'nf4' : undefined;
      const weight: QuantizedWeight = {
        ...{ bits, inFeatures: into, group, scales: scaleType, codebook },
        ...{ zeros: extra === 'zeros', minimums: extra === 'minimums' },
      };
      const place = { offset: 0, batch: [0, 0] } as const;
      const productOf = (m: number): Product => ({
        ...{ m, n, k: into, batch: [1, 1], sink: plainSink([m, n], 'f32') },
        a: { ...place, dtype: 'f32', row: into, col: 1 },
        b: { ...place, dtype: 'u32', row: 1, col: into, quantized: weight },
      });
      const extras = extra === 'zeros' || extra === 'minimums' ? [upload(origins)] : [];
      const inputs = [Float32Array.from(a), words, upload(scales), ...extras];
      const run = (m: number, threads: number, columns: number) =>
        runKernel(matmulDispatch({ variant: 'vector', threads, columns }, productOf(m)), inputs, m * n);
      // Of a software driver and of a GPU.
      const [lanes, team, rows] = [await run(1, 1, 4), await run(1, 8, 2), await run(3, 8, 2)];
      [...rows, ...lanes, ...team].forEach((value, at) => {
        const [row, j] = [at < 3 * n ? Math.floor(at / n) : 0, at % n];
        let [sum, scale] = [0, 1];
        for (let i = 0; i < into; i++) {
          const q = (words[Math.floor(((j * into + i) * bits) / 32)]! >>> ((i * bits) % 32)) & (2 ** bits - 1);
          const g = j * groups + Math.floor(i / group);
          const zero = extra === 'zeros' ? origins[g]! : extra === 'minimums' ? 0 : 2 ** (bits - 1);
          const number = (codebook ? nf4[q]! : q - zero) * scales[g]! + (extra === 'minimums' ? origins[g]! : 0);
          const x = a[row * into + i]!;
          sum += x * number;
          scale += Math.abs(x) * (codebook ? 1 : q + zero) * scales[g]!;
        }
        if (!(Math.abs(value - sum) <= 1e-6 * scale)) assert.unreachable(`${j}: ${value} is not ${sum}`);
      });
    });

test.run();
