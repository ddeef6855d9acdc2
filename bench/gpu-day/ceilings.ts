import { ready } from '../../autograd/index.ts';
import type { SubgroupMatrix } from '../../gpu/index.ts';
import { attempt } from './cases.ts';
import { sized } from './shared.ts';
import type { Half } from './shared.ts';
import { measure } from './timing.ts';

const groups = sized(132 * 16, 8);
const rounds = sized(128, 4);
const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** The most that WGSL gets of the device: multiply-adds, and matrices of subgroups, on registers alone. */
export async function ceilings(types: readonly Half[]): Promise<void> {
  for (const type of types) await attempt(`ceiling of multiply-adds ${type}`, () => multiplyAdds(type));
  const { subgroupMatrix, subgroupSizes } = (await ready()).target;
  const usable = subgroupMatrix.filter(({ component, result }) => component === 'f16' && /^f(16|32)$/.test(result));
  const largest = Math.max(...usable.map(({ M, N, K }) => M * N * K));
  const subgroup = Math.max(1, subgroupSizes[1]);
  for (const shape of usable.filter(({ M, N, K }) => M * N * K === largest))
    await attempt(`ceiling of matrices to ${shape.result}`, () => matrices(shape, subgroup));
}

/** Times a kernel without inputs that writes `bytes` to its only binding. */
async function timeKernel(key: string, type: string, wgsl: string, bytes: number, flops: number): Promise<void> {
  const gpu = await ready();
  const out = gpu.allocate(bytes, 'gpu-day');
  const dispatch = {
    name: key,
    wgsl,
    names: ['out'],
    access: ['read_write'] as const,
    params: new Uint8Array(0),
    draws: [],
    grid: [groups, 1, 1] as const,
    cost: { flops, bytes: 0 },
  };
  await measure(key, type, { flops }, () => gpu.dispatch(dispatch, [out]));
  gpu.release(out);
}

async function multiplyAdds(type: Half): Promise<void> {
  const V = `vec4<${type}>`;
  const lanes = range(8);
  const unrolled = 4;
  const step = lanes.map((i) => `c${i} = fma(c${i}, a, b);`).join(' ');
  const wgsl = `${type === 'f16' ? 'enable f16;' : ''}
@group(0) @binding(0) var<storage, read_write> out: array<${V}>;
@compute @workgroup_size(256) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let a = out[id.x % 64u] + ${V}(0.5);
  let b = a * ${V}(0.25);
  ${lanes.map((i) => `var c${i} = a + ${V}(${i}.0);`).join('\n  ')}
  for (var t = 0u; t < ${rounds}u; t++) {
    ${range(unrolled)
      .map(() => step)
      .join('\n    ')}
  }
  out[id.x] = ${lanes.map((i) => `c${i}`).join(' + ')};
}`;
  const flops = groups * 256 * rounds * unrolled * lanes.length * 4 * 2;
  await timeKernel('ceiling of multiply-adds', type, wgsl, (type === 'f16' ? 8 : 16) * 256 * groups, flops);
}

/** 4 x 2 products of matrices a subgroup, four subgroups a workgroup. */
async function matrices({ M, N, K, result }: SubgroupMatrix, subgroup: number): Promise<void> {
  const threads = 4 * subgroup;
  const [rows, columns] = [range(4), range(2)];
  const cells = rows.flatMap((i) => columns.map((j) => `${i}${j}`));
  const [left, right] = [`subgroup_matrix_left<f16, ${K}, ${M}>`, `subgroup_matrix_right<f16, ${N}, ${K}>`];
  const staged = 4 * Math.max(M * K, K * N);
  const lines = (list: readonly string[]): string => list.join('\n  ');
  const load = (name: string, type: string, at: number, stride: number): string =>
    `let ${name} = subgroupMatrixLoad<${type}, row_major>(&stage, ${at}u, ${stride}u);`;
  const wgsl = `enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
@group(0) @binding(0) var<storage, read_write> out: array<${result}>;
var<workgroup> stage: array<f16, ${staged}>;
@compute @workgroup_size(${threads})
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
  for (var e = lane; e < ${staged}u; e += ${threads}u) { stage[e] = f16(f32(e % 13u) / 16.0 - 0.4); }
  workgroupBarrier();
  ${lines(rows.map((i) => load(`a${i}`, left, i * M * K, K)))}
  ${lines(columns.map((j) => load(`b${j}`, right, j * K * N, N)))}
  ${lines(cells.map((c) => `var c${c}: subgroup_matrix_result<${result}, ${N}, ${M}>;`))}
  for (var t = 0u; t < ${rounds}u; t++) {
    ${lines(cells.map((c) => `c${c} = subgroupMatrixMultiplyAccumulate(a${c[0]}, b${c[1]}, c${c});`))}
  }
  let at = group.x * ${cells.length * M * N}u;
  ${lines(cells.map((c, e) => `subgroupMatrixStore<row_major>(&out, at + ${e * M * N}u, c${c}, ${N}u);`))}
}`;
  const bytes = (result === 'f16' ? 2 : 4) * groups * cells.length * M * N;
  const flops = groups * 4 * rounds * cells.length * 2 * M * N * K;
  await timeKernel(`ceiling of matrices ${M}x${N}x${K} to ${result}`, 'f16', wgsl, bytes, flops);
}
