import type { Dispatch } from '../../gpu/dispatch.ts';
import type { SubgroupMatrix, Target } from '../../gpu/device.ts';
import { read } from '../kernel.ts';
import { assembleMatmul, tileOrigin } from '../matmul/product.ts';
import type { Product } from '../matmul/product.ts';

/**
 * Returns the largest matrix of signed bytes, summed in i32, that the device has and whose rows are whole
 * words.
 */
export function byteMatrix({ subgroupMatrix, subgroupSizes, subgroupSizeControl }: Target): SubgroupMatrix | undefined {
  const [smallest, largest] = subgroupSizes;
  if (largest === 0 || (smallest !== largest && !subgroupSizeControl)) return undefined;
  return subgroupMatrix
    .filter(({ component, result, N, K }) => component === 'i8' && result === 'i32' && N % 4 === 0 && K % 4 === 0)
    .sort((x, y) => y.M * y.N * y.K - x.M * x.N * x.K)[0];
}

/** Matrices along each side of a workgroup's tile. */
const side = 2;
/** Matrices along a slab of k. */
const depth = 4;

/**
 * Computes the products of `matmulInt8` on hardware that multiplies small matrices of bytes. A workgroup is
 * one subgroup. It stages slabs of both operands in workgroup memory, turning weights from unsigned to
 * signed, and passes its exact sums through workgroup memory to scale them. Bytes outside of a are zeros, so
 * the bytes of b beside them may be anything. Bindings as in `matmulInt8`. Tested on a software driver's 8 x
 * 8 x 8; not timed on a GPU yet.
 */
export function matmulInt8Subgroup(
  params: Product,
  { M, N, K }: SubgroupMatrix,
  { subgroupSizes: [smallest, largest] }: Pick<Target, 'subgroupSizes'>,
): Dispatch {
  const { m, n, b } = params;
  const [tileM, tileN, words] = [side * M, side * N, (depth * K) / 4];
  const fixSize = smallest !== largest;
  const each = (count: number, fn: (i: number) => string): string =>
    Array.from({ length: count }, (_, i) => fn(i)).join('\n');
  const results = (fn: (i: number, j: number) => string): string => each(side, (i) => each(side, (j) => fn(i, j)));
  const stage = (name: 'A' | 'B', rows: number, origin: string, limit: string, value: string): string => `
  for (var e = lane; e < ${rows * words}u; e += ${largest}u) {
    let x = ${origin} + e / ${words}u; let w = w0 + e % ${words}u;
    var v = 0u;
    if (x < ${limit} && w < words) { v = ${value}; }
    stage${name}[e] = bitcast<i32>(v);
  }`;
  const left = `subgroup_matrix_left<i8, ${K}, ${M}>, row_major`;
  const right = `subgroup_matrix_right<i8, ${N}, ${K}>, col_major`;
  const loadA = (i: number): string =>
    `let a${i} = subgroupMatrixLoad<${left}>(&stageA, ${i * M * words}u + kk, ${words}u);`;
  const loadB = (j: number): string =>
    `let b${j} = subgroupMatrixLoad<${right}>(&stageB, ${j * N * words}u + kk, ${words}u);`;
  return assembleMatmul(params, {
    name: `matmul.int8.subgroup.${M}x${N}x${K}`,
    inputs: [read('a', 'u32'), read('aScales', 'f32'), read('b', 'u32'), read('scales', b.quantized?.scales ?? 'f32')],
    workgroup: largest,
    groups: Math.ceil(m / tileM) * Math.ceil(n / tileN),
    enables: [
      'enable subgroups;',
      'enable chromium_experimental_subgroup_matrix;',
      ...(fixSize ? ['enable subgroup_size_control;'] : []),
    ],
    attributes: fixSize ? ` @subgroup_size(${largest})` : '',
    declarations: `
var<workgroup> stageA: array<i32, ${tileM * words}>;
var<workgroup> stageB: array<i32, ${tileN * words}>;
var<workgroup> sums: array<i32, ${tileM * tileN}>;`,
    body: `
${tileOrigin(tileM, tileN)}
let words = p.k / 4u;
${results((i, j) => `var c${i}_${j}: subgroup_matrix_result<i32, ${N}, ${M}>;`)}
for (var w0 = 0u; w0 < words; w0 += ${words}u) {
  workgroupBarrier();
  ${stage('A', tileM, 'row0', 'p.m', 'a[x * words + w]')}
  ${stage('B', tileN, 'col0', 'p.n', 'b[x * words + w] ^ 0x80808080u')}
  workgroupBarrier();
  for (var kk = 0u; kk < ${words}u; kk += ${K / 4}u) {
    ${each(side, loadA)}
    ${each(side, loadB)}
    ${results((i, j) => `c${i}_${j} = subgroupMatrixMultiplyAccumulate(a${i}, b${j}, c${i}_${j});`)}
  }
}
${results((i, j) => `subgroupMatrixStore<row_major>(&sums, ${i * M * tileN + j * N}u, c${i}_${j}, ${tileN}u);`)}
workgroupBarrier();
for (var e = lane * 4u; e < ${tileM * tileN}u; e += ${4 * largest}u) {
  let row = row0 + e / ${tileN}u;
  let j = col0 + e % ${tileN}u;
  if (row >= p.m) { continue; }
  let sum = vec4<f32>(f32(sums[e]), f32(sums[e + 1u]), f32(sums[e + 2u]), f32(sums[e + 3u]));
  let scale = vec4<f32>(${[0, 1, 2, 3].map((q) => `f32(scales[min(j + ${q}u, p.n - 1u)])`).join(', ')});
  finishFour(row * p.n + j, j, sum * (scale * aScales[row]));
}`,
  });
}
