import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fromHalf, toHalf } from '../../common/half.ts';
import { acquire } from '../../gpu/index.ts';
import { contiguousLayout } from '../../kernels/layout.ts';
import { plainSink } from '../../kernels/map/elements.ts';
import { chooseMatmul, matmulDispatch, matmulPlans, planName } from '../../kernels/matmul/matmul.ts';
import type { MatmulPlan } from '../../kernels/matmul/matmul.ts';
import type { Product, MatrixOperand } from '../../kernels/matmul/product.ts';
import { packedPitch, packRows } from '../../kernels/matmul/pack.ts';
import { canSplit, splitProduct, sumSplits } from '../../kernels/matmul/split.ts';
import { subgroupFits, subgroupTile } from '../../kernels/matmul/subgroup.ts';
import type { VectorTile } from '../../kernels/matmul/vector.ts';
import { Random } from '../../common/random.ts';
import { runKernel, runKernelOutputs } from '../support/run-kernel.ts';

const test = suite('matmul variants');
const { target } = await acquire();

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
  /** First element of the operands, which rarely start at 0; default 8. */
  readonly offset?: number;
  /** Also sum the rows of a, or the columns of b, over k. */
  readonly sums?: 'a' | 'b';
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
  { m: 72, n: 40, k: 40, offset: 3, bias: true },
  { m: 70, n: 136, k: 64, bTransposed: true, bias: true },
  { m: 35, n: 40, k: 20, sums: 'a' },
  { m: 40, n: 72, k: 48, aTransposed: true, sums: 'a' },
  { m: 40, n: 72, k: 40, aTransposed: true, sums: 'b' },
  { m: 24, n: 33, k: 19, bTransposed: true, sums: 'b' },
  { m: 24, n: 16, k: 96, aTransposed: true, batch: [1, 2], bias: true },
  // Lines of whole pieces, of which the last crosses the end of k: what lies there does not count.
  { m: 20, n: 36, k: 21, bTransposed: true, bPitch: 24 },
  { m: 20, n: 36, k: 18, bTransposed: true, bPitch: 24, bias: true },
];

const plans: readonly MatmulPlan[] = [
  { variant: 'plain' },
  { variant: 'lanes', rows: 4 },
  { variant: 'lanes', rows: 16 },
  { variant: 'lanes', rows: 16, splits: 4 },
  // Smaller than those used, which compile for long and have no other paths.
  { variant: 'tiled', tile: { m: 32, n: 32, k: 8, threadM: 4, threadN: 4 } },
  { variant: 'tiled', tile: { m: 64, n: 32, k: 8, threadM: 8, threadN: 8 } },
  { variant: 'tiled', tile: { m: 16, n: 32, k: 16, threadM: 8, threadN: 4 }, splits: 2 },
];

/** Every matrix configuration of the device, in tiles of several subgroups. */
const subgroupPlans: readonly MatmulPlan[] = target.subgroupMatrix
  .filter(({ component }) => component === 'f16')
  .flatMap((matrix): MatmulPlan[] => {
    const { M, N, K } = matrix;
    return [
      { variant: 'subgroup', tile: subgroupTile(target, matrix, [2, 2], [2 * M, N], 2 * K) },
      { variant: 'subgroup', tile: subgroupTile(target, matrix, [1, 3], [M, 2 * N], 4 * K), splits: 2 },
      // Where k is five slabs of 8: parts of two, two and one.
      { variant: 'subgroup', tile: subgroupTile(target, matrix, [2, 1], [M, 2 * N], K), splits: 3 },
    ];
  });

const halves = (values: readonly number[]): Uint16Array => Uint16Array.from(values, toHalf);

async function check(plan: MatmulPlan, c: Case, dtype: 'f32' | 'f16', output: 'f32' | 'f16'): Promise<void> {
  const { m, n, k, batch = [1, 1], bias = false, offset = 8 } = c;
  const random = new Random(7);
  const stored = (value: number): number => (dtype === 'f16' ? fromHalf(toHalf(value)) : Math.fround(value));
  const fill = (count: number): number[] => Array.from({ length: count }, () => stored(random.normal()));
  const upload = (values: number[]) => (dtype === 'f16' ? halves(values) : Float32Array.from(values));
  const count = batch[0] * batch[1];
  const a = fill(offset + count * m * k);
  const bSize = c.bPitch ? c.bPitch * (c.bTransposed ? n : k) : k * n;
  const b = fill(offset + (c.shared ? 1 : count) * bSize);
  const biases = fill(n);
  const operand = (rows: number, cols: number, transposed = false, shared = false): MatrixOperand => ({
    dtype,
    offset,
    row: transposed ? 1 : cols,
    col: transposed ? rows : 1,
    batch: shared ? [0, 0] : [batch[1] * rows * cols, rows * cols],
  });
  const left = operand(m, k, c.aTransposed);
  const packed = operand(k, n, c.bTransposed, c.shared);
  const right = c.bPitch ? { ...packed, [c.bTransposed ? 'col' : 'row']: c.bPitch } : packed;
  const params: Product = {
    m,
    n,
    k,
    batch,
    a: left,
    b: right,
    bias: bias ? { dtype, offset: 0, stride: 1 } : undefined,
    sink: plainSink([count, m, n], output),
    sums: c.sums && { of: c.sums, dtype: 'f32' },
  };
  const inputs = [upload(a), upload(b)];
  const more = bias ? [upload(biases)] : [];
  const size = count * m * n;
  const words = output === 'f16' ? Math.ceil(size / 2) : size;
  const { splits } = plan;
  let result: Float32Array;
  const length = c.sums === 'a' ? m : n;
  if (c.sums) {
    let both;
    if (splits) {
      const outputs = [splits * size, splits * length];
      const parts = await runKernelOutputs(matmulDispatch(plan, splitProduct(params, plan)), inputs, outputs);
      const all = { dtype: 'f32' as const, ...contiguousLayout([count, splits, m, n]) };
      const sums = { dtype: 'f32' as const, ...contiguousLayout([length]) };
      const adding = sumSplits({ parts: all, partSums: sums, y: params.sink, sums });
      both = await runKernelOutputs(adding, parts, [words, length]);
    } else both = await runKernelOutputs(matmulDispatch(plan, params), [...inputs, ...more], [words, length]);
    result = both[0]!;
    checkSums(
      both[1]!,
      c.sums === 'a' ? a : b,
      c.sums === 'a' ? left.row : right.col,
      c.sums === 'a' ? left.col : right.row,
      k,
      offset,
    );
  } else if (splits) {
    const parts = await runKernel(matmulDispatch(plan, splitProduct(params, plan)), inputs, splits * size);
    const all = { dtype: 'f32' as const, ...contiguousLayout([count, splits, m, n]) };
    const row = { dtype, ...contiguousLayout([n]) };
    result = await runKernel(
      sumSplits({ parts: all, bias: bias ? row : undefined, y: params.sink }),
      [parts, ...more],
      words,
    );
  } else {
    result = await runKernel(matmulDispatch(plan, params), [...inputs, ...more], words);
  }
  const got = output === 'f16' ? Array.from(new Uint16Array(result.buffer), fromHalf) : result;
  // f32 sums are good to a rounding or two of the largest partial sum, f16 sums to a random walk of k of
  // them; then that of the stored output.
  const sums = plan.variant === 'subgroup' && plan.tile.matrix.result === 'f16' ? 2 ** -11 * (1 + Math.sqrt(k)) : 1e-6;
  const at = (x: MatrixOperand, z: number): number =>
    x.offset + Math.floor(z / batch[1]) * x.batch[0] + (z % batch[1]) * x.batch[1];
  for (let z = 0; z < count; z++) {
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = bias ? biases[j]! : 0;
        let scale = Math.abs(sum);
        for (let q = 0; q < k; q++) {
          const term = a[at(left, z) + i * left.row + q * left.col]! * b[at(right, z) + q * right.row + j * right.col]!;
          sum += term;
          scale += Math.abs(term);
        }
        const error = Math.abs(got[(z * m + i) * n + j]! - sum);
        const rounding = output === 'f16' ? 2 ** -11 * Math.abs(sum) + 2 ** -24 : 0;
        if (!(error <= sums * (scale + 1) + rounding))
          assert.unreachable(`(${z}, ${i}, ${j}): ${got[(z * m + i) * n + j]} is not ${sum}`);
      }
    }
  }
}

function checkSums(
  got: Float32Array,
  x: readonly number[],
  stride: number,
  strideK: number,
  k: number,
  offset: number,
): void {
  got.forEach((value, i) => {
    const terms = Array.from({ length: k }, (_, q) => x[offset + i * stride + q * strideK]!);
    const sum = terms.reduce((total, term) => total + term, 0);
    const scale = terms.reduce((total, term) => total + Math.abs(term), 1);
    if (!(Math.abs(value - sum) <= 1e-6 * scale)) assert.unreachable(`sum ${i}: ${value} is not ${sum}`);
  });
}

cases.forEach((c, i) => {
  const fitting = (plan: MatmulPlan): boolean =>
    !plan.splits || canSplit({ k: c.k, batch: c.batch ?? [1, 1], sums: c.sums && { of: c.sums, dtype: 'f32' } }, plan);
  for (const plan of plans.filter(fitting)) {
    test(`${planName(plan)} ${JSON.stringify(c)}`, () => check(plan, c, 'f32', 'f32'));
    if (target.f16 && c.bias && i % 2 === 1)
      test(`${planName(plan)} f16 ${JSON.stringify(c)}`, () => check(plan, c, 'f16', 'f16'));
  }
  const summing = (plan: MatmulPlan): boolean =>
    !c.sums || (plan.variant === 'subgroup' && plan.tile.matrix.result === 'f32');
  for (const plan of subgroupPlans.filter(fitting).filter(summing)) {
    const output = i % 2 === 0 ? 'f32' : 'f16';
    test(`${planName(plan)} f16 to ${output} ${JSON.stringify(c)}`, () => check(plan, c, 'f16', output));
  }
});

// Rows and columns that cross the edges of tiles, one panel of k and several, every order of the operands.
const panelCases: readonly Case[] = [
  { m: 40, n: 70, k: 32, bPitch: 72, bias: true },
  { m: 150, n: 132, k: 64, bTransposed: true, batch: [2, 3] },
  { m: 70, n: 64, k: 192, bTransposed: true, bias: true },
  { m: 45, n: 61, k: 80, bTransposed: true },
  { m: 300, n: 52, k: 96 },
  { m: 37, n: 128, k: 120, aTransposed: true, bias: true },
  { m: 33, n: 64, k: 72, aTransposed: true, bTransposed: true, offset: 4 },
  { m: 64, n: 64, k: 128, aTransposed: true, offset: 4, batch: [1, 3], shared: true, bPitch: 68 },
];

for (const c of panelCases) test(`panel ${JSON.stringify(c)}`, () => check({ variant: 'panel' }, c, 'f32', 'f32'));

// Few rows: columns that cross the edge of a tile, k of one step and of several fetches, gaps, batches.
const vectorCases: readonly Case[] = [
  { m: 1, n: 3, k: 8, bTransposed: true },
  { m: 1, n: 70, k: 24, bTransposed: true, bPitch: 32, bias: true },
  { m: 1, n: 33, k: 1064, bTransposed: true, batch: [2, 2] },
  { m: 1, n: 1030, k: 64, bTransposed: true, shared: true, batch: [1, 2] },
  { m: 3, n: 37, k: 64, bTransposed: true, bias: true, batch: [1, 2] },
  { m: 8, n: 70, k: 24, bTransposed: true, bPitch: 32 },
];

// Of software drivers and of GPUs.
const vectorTiles: readonly VectorTile[] = [
  { threads: 1, columns: 4 },
  { threads: 8, columns: 2 },
  { threads: 32, columns: 4 },
];

// The same of GPUs where rows of b lie along n: few columns, and those that cross the edge of a tile.
const rowsCases: readonly Case[] = [
  { m: 1, n: 8, k: 4 },
  { m: 1, n: 1032, k: 72, bias: true, bPitch: 1040 },
  { m: 3, n: 264, k: 268, batch: [2, 2], bias: true },
  { m: 8, n: 48, k: 520, shared: true, batch: [1, 2], offset: 8 },
];
for (const c of rowsCases)
  for (const dtype of target.f16 ? (['f32', 'f16'] as const) : (['f32'] as const))
    for (const threads of [8, 16, 32, 64]) {
      const plan: MatmulPlan = { variant: 'vector', threads, columns: dtype === 'f16' ? 8 : 4 };
      test(`${planName(plan)} ${dtype} ${JSON.stringify(c)}`, () => check(plan, c, dtype, dtype));
    }

for (const c of vectorCases)
  for (const dtype of target.f16 ? (['f32', 'f16'] as const) : (['f32'] as const))
    for (const tile of vectorTiles) {
      const plan: MatmulPlan = { variant: 'vector', ...tile };
      test(`${planName(plan)} ${dtype} ${JSON.stringify(c)}`, () => check(plan, c, dtype, dtype));
    }

for (const [m, k, pitch] of [
  [36, 12, 40],
  [1152, 8, 1160],
] as const)
  test(`a matrix [${m}, ${k}] by columns is copied into rows and added up`, async () => {
    const random = new Random(3);
    const a = Float32Array.from({ length: 4 + k * pitch }, () => random.normal());
    const to = packedPitch(k);
    const [rows, sums] = await runKernelOutputs(
      packRows({
        a: { dtype: 'f32', shape: [m, k], strides: [1, pitch], offset: 4 },
        packed: { dtype: 'f32', shape: [m, k], strides: [to, 1], offset: 0 },
        sums: { dtype: 'f32', shape: [m], strides: [1], offset: 0 },
      }),
      [a],
      [m * to, m],
    );
    for (let i = 0; i < m; i++) {
      const row = Array.from({ length: k }, (_, q) => a[4 + i + q * pitch]!);
      assert.equal(Array.from(rows!.subarray(i * to, i * to + k)), row);
      const sum = row.reduce((x, y) => x + y, 0);
      assert.ok(Math.abs(sums![i]! - sum) < 1e-5, `sum ${i}: ${sums![i]} is not ${sum}`);
    }
  });

test('panels are taken for large products in f32 whose k they divide, where lanes load together', () => {
  const software = { ...target, gathers: true, workgroupMemory: 32768 };
  const operand = (row: number): MatrixOperand => ({ dtype: 'f32', offset: 0, row, col: 1, batch: [0, 0] });
  const sized = (m: number, n: number, k: number): Product => {
    const sink = plainSink([m, n], 'f32');
    return { m, n, k, batch: [1, 1], a: operand(k), b: operand(n), sink };
  };
  const names = (on: typeof target, params: Product): string[] =>
    matmulPlans(on, params)
      .map(planName)
      .filter((name) => name.startsWith('panel'));
  assert.equal(names(software, sized(512, 256, 384)), ['panel', 'panel/2', 'panel/4', 'panel/8']); // 24 is too short
  assert.equal(names({ ...software, gathers: false }, sized(512, 256, 384)), []);
  assert.equal(names({ ...software, workgroupMemory: 16384 }, sized(512, 256, 384)), ['panel/8']); // no sums wait
  for (const [m, n, k] of [
    [512, 256, 394], // no panel divides k
    [16, 512, 512], // too few rows
    [512, 68, 512], // a second tile of 4 columns
    [64, 64, 64], // too small
    [512, 257, 384], // rows of b cannot be read as vectors
  ] as const)
    assert.equal(names(software, sized(m, n, k)), [], `${m}x${n}x${k}`);
});

// The tiles of GPUs, which a software driver compiles for long, at a size that crosses their edges.
const large = target.subgroupMatrix.find(({ component, result }) => component === 'f16' && result === 'f32');
for (const [outputs, k] of [
  [[32, 32], 32],
  [[32, 64], 16],
  [[64, 64], 16],
] as const) {
  if (!large) break;
  const tile = subgroupTile(target, large, [4, 2], outputs, k);
  const c: Case = { m: tile.m + 8, n: tile.n + 8, k: 40, aTransposed: true, sums: 'b' };
  test(`${tile.m}x${tile.n}x${tile.k} ${JSON.stringify(c)}`, () =>
    check({ variant: 'subgroup', tile }, c, 'f16', 'f32'));
}

test('the default plan fills the units of a device, with parts of k where outputs are few', () => {
  const operand = (row: number, col: number): MatrixOperand => ({ dtype: 'f16', offset: 0, row, col, batch: [0, 0] });
  const matrix = { M: 16, N: 16, K: 16, component: 'f16', result: 'f32' };
  const limits = { workgroupMemory: 49152, maxInvocations: 1024, subgroupSizes: [32, 32] } as const;
  const gpu = { ...target, ...limits, software: false, units: 132, subgroupMatrix: [matrix] };
  const groupsOf = (m: number, n: number, k: number): number => {
    const sink = plainSink([m, n], 'f32');
    const params: Product = { m, n, k, batch: [1, 1], a: operand(1, m), b: operand(n, 1), sink };
    const plan = chooseMatmul(gpu, { ...params, sums: { of: 'b', dtype: 'f32' } });
    const { grid } = matmulDispatch(plan, plan.splits ? splitProduct(params, plan) : params);
    return grid[0] * grid[1];
  };
  for (const [m, n] of [
    [768, 768],
    [768, 2304],
    [768, 3072],
  ] as const) {
    const groups = groupsOf(m, n, 16384);
    const rounds = Math.ceil(groups / 132);
    assert.ok(groups / (132 * rounds) > 0.8, `${m}x${n}: ${groups} workgroups for 132 units`);
  }
  assert.is(groupsOf(16384, 3072, 768), 64 * 24); // enough as they are
});

test("sources for other devices' matrices are valid", async () => {
  if (target.subgroupMatrix.length === 0) return;
  const { device } = await acquire();
  const operand = { dtype: 'f16', offset: 0, row: 64, col: 1, batch: [0, 0] } as const;
  const params: Product = {
    m: 64,
    n: 64,
    k: 64,
    batch: [1, 1],
    a: operand,
    b: operand,
    sink: plainSink([64, 64], 'f16'),
  };
  for (const [M, N, K] of [
    [16, 16, 16],
    [16, 8, 16],
    [16, 8, 8],
    [8, 16, 16],
  ] as const) {
    for (const result of ['f32', 'f16']) {
      for (const subgroupSizes of [
        [32, 32],
        [8, 32],
      ] as const) {
        const gpu = { ...target, subgroupSizes };
        const tile = subgroupTile(gpu, { M, N, K, component: 'f16', result }, [2, 2], [32, 64], 32);
        const { wgsl } = matmulDispatch({ variant: 'subgroup', tile }, params);
        const { messages } = await device.createShaderModule({ code: wgsl }).getCompilationInfo();
        assert.equal(
          messages.map(({ message }) => message),
          [],
          `${M}x${N}x${K} ${result}`,
        );
      }
    }
  }
});

test('tiles of matrices that do not divide them, or beyond the device, are not offered', () => {
  const gpu = { ...target, subgroupSizes: [32, 32] as const, workgroupMemory: 49152, maxInvocations: 1024 };
  const matrix = { M: 16, N: 8, K: 16, component: 'f16', result: 'f32' };
  const fits = (outputs: readonly [number, number], k: number): boolean =>
    subgroupFits(gpu, subgroupTile(gpu, matrix, [2, 2], outputs, k));
  assert.is(fits([64, 64], 32), true);
  assert.is(fits([24, 64], 32), false);
  assert.is(fits([64, 64], 24), false);
  assert.is(fits([64, 64], 128), false);
});

test.run();
