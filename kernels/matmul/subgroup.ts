import type { Dispatch } from '../../gpu/dispatch.ts';
import type { SubgroupMatrix, Target } from '../../gpu/device.ts';
import { storedType } from '../kernel.ts';
import { batchBases, assembleMatmul, tileOrigin } from './product.ts';
import type { Product } from './product.ts';
import { overSlabs, slabBindings, slabLoader, slabOf } from './slab.ts';
import type { Slab } from './slab.ts';

/**
 * For hardware that multiplies small matrices (tensor cores): f16 operands, sums in f32 where it is offered.
 * A workgroup of several subgroups stages slabs of both operands in workgroup memory, in lines padded by 16
 * bytes so that the rows of a matrix lie in different banks. Registers take the next slab while the current
 * one is multiplied. The elements of a result can only be addressed in workgroup memory: results go there,
 * and then through `finish` as in every variant.
 *
 * Operands are staged in the order in which they lie in memory and loaded as row- or column-major, so none is
 * transposed. Out-of-range elements are zeros. Tested on a software driver's 8 x 8 x 8; not timed on a GPU
 * yet.
 */
export interface SubgroupTile {
  readonly matrix: SubgroupMatrix;
  /** Outputs of a workgroup. */
  readonly m: number;
  readonly n: number;
  /** Length of a slab along k. */
  readonly k: number;
  /** Outputs of a subgroup. */
  readonly subgroupM: number;
  readonly subgroupN: number;
  /** Invocations of a subgroup. */
  readonly subgroupSize: number;
  /** The device has several sizes, and the kernel must ask for this one. */
  readonly fixSize: boolean;
}

/** f16 elements of a vec4<u32>. */
const wide = 8 as const;

/**
 * Returns the matrices of the device that can compute a product, the best first; none where a or b is not
 * f16.
 */
export function subgroupMatrices(target: Target, { a, b }: Product): readonly SubgroupMatrix[] {
  if (a.dtype !== 'f16' || (!b.quantized && b.dtype !== 'f16')) return [];
  // A piece of eight must not cross the end of k.
  if (b.quantized && b.row === 1 && b.quantized.inFeatures % wide !== 0) return [];
  const fits = (x: SubgroupMatrix): boolean =>
    x.component === 'f16' && /^f(16|32)$/.test(x.result) && [x.M, x.N, x.K].every((length) => length % wide === 0);
  // f32 sums first, then the largest matrix: fewer instructions for the same product.
  const rank = (x: SubgroupMatrix): number => (x.result === 'f32' ? 1e6 : 0) + x.M * x.N * x.K;
  return target.subgroupMatrix.filter(fits).sort((x, y) => rank(y) - rank(x));
}

/** Returns the tile of a workgroup of rows x columns subgroups, each with subgroupM x subgroupN outputs. */
export function subgroupTile(
  { subgroupSizes: [smallest, largest] }: Target,
  matrix: SubgroupMatrix,
  [rows, columns]: readonly [number, number],
  [subgroupM, subgroupN]: readonly [number, number],
  k: number,
): SubgroupTile {
  const size = { subgroupSize: largest, fixSize: smallest !== largest };
  return { matrix, m: rows * subgroupM, n: columns * subgroupN, k, subgroupM, subgroupN, ...size };
}

/** Whether a device can run a tile: it holds whole matrices, and workgroup memory and invocations suffice. */
export function subgroupFits(target: Target, tile: SubgroupTile): boolean {
  const { matrix, m, n, k, subgroupM, subgroupN, subgroupSize, fixSize } = tile;
  const subgroups = (m * n) / (subgroupM * subgroupN);
  // A slab, in the larger of its two orders, or the results of a row of matrices of each subgroup.
  const bytes = 2 * Math.max((m + n) * (k + wide), k * (m + n + 2 * wide));
  const results = 4 * subgroups * matrix.M * (subgroupN + wide);
  return (
    subgroupM % matrix.M === 0 &&
    subgroupN % matrix.N === 0 &&
    k % matrix.K === 0 &&
    Math.max(bytes, results) <= target.workgroupMemory &&
    subgroups * subgroupSize <= target.maxInvocations &&
    (!fixSize || target.subgroupSizeControl)
  );
}

/** A slab in workgroup memory: lines of vec4<u32> along the operand's contiguous axis. */
interface StagedLines {
  readonly perLine: number;
  /** Distance from one line to the next. */
  readonly pitch: number;
  readonly vectors: number;
}

function stagedLines({ kFast }: Slab, side: number, k: number): StagedLines {
  const perLine = (kFast ? k : side) / wide;
  return { perLine, pitch: perLine + 1, vectors: perLine * (kFast ? side : k) };
}

export function matmulSubgroup(params: Product, tile: SubgroupTile): Dispatch {
  const { m, n, k, batch, a, b, sums } = params;
  const { matrix, subgroupM, subgroupN, subgroupSize } = tile;
  const { M, N, K, result } = matrix;
  const subgroups = (tile.m / subgroupM) * (tile.n / subgroupN);
  const workgroup = subgroups * subgroupSize;
  const [rows, columns] = [subgroupM / M, subgroupN / N];
  const slabs = { A: slabOf(a, a.row, a.col, k, wide), B: slabOf(b, b.col, b.row, k, wide) };
  const lines = { A: stagedLines(slabs.A, tile.m, tile.k), B: stagedLines(slabs.B, tile.n, tile.k) };
  const sizeOfLines = ({ vectors, perLine, pitch }: StagedLines): number => (vectors / perLine) * pitch;
  const start = { A: 0, B: sizeOfLines(lines.A) };
  const perVector = result === 'f32' ? 4 : wide; // results in a vec4<u32>
  const outPitch = subgroupN / perVector + 1;
  const each = (count: number, fn: (i: number) => string): string =>
    Array.from({ length: count }, (_, i) => fn(i)).join('\n');

  /**
   * Emits a statement for each vector that an invocation stages, with `l` its line and `v` its place in it.
   */
  const staged = (name: 'A' | 'B', fn: (s: number) => string): string => {
    const { vectors, perLine } = lines[name];
    return each(Math.ceil(vectors / workgroup), (s) => {
      const guard = (s + 1) * workgroup > vectors ? `if (lane + ${s * workgroup}u < ${vectors}u) ` : '';
      const place = `let e = lane + ${s * workgroup}u; let l = e / ${perLine}u; let v = e % ${perLine}u;`;
      return `${guard}{ ${place} ${fn(s)} }`;
    });
  };
  const registers = (name: 'A' | 'B'): string =>
    each(Math.ceil(lines[name].vectors / workgroup), (s) => `var next${name}${s}: vec4<u32>;`);
  const fetch = (name: 'A' | 'B'): string => {
    const [base, origin] = name === 'A' ? ['aBase', 'row0'] : ['bBase', 'col0'];
    const at = slabs[name].kFast ? `${origin} + l, k0 + v * ${wide}u` : `${origin} + v * ${wide}u, k0 + l`;
    return staged(name, (s) => `next${name}${s} = load${name}(${base}, ${at});`);
  };
  const put = (name: 'A' | 'B'): string =>
    staged(name, (s) => `stage[${start[name]}u + l * ${lines[name].pitch}u + v] = next${name}${s};`);

  /** Emits the load of matrix i of an operand at place kk of the slab. */
  const load = (name: 'A' | 'B', i: number): string => {
    const [type, side, origin] =
      name === 'A'
        ? [`subgroup_matrix_left<f16, ${K}, ${M}>`, M, 'sgRow']
        : [`subgroup_matrix_right<f16, ${N}, ${K}>`, N, 'sgCol'];
    const { kFast } = slabs[name];
    // a is row-major where its pieces lie along k, b where they lie along n.
    const order = kFast === (name === 'A') ? 'row_major' : 'col_major';
    const { pitch } = lines[name];
    const across = `(${origin} + ${i * side}u)`;
    const at = kFast ? `${across} * ${pitch}u + kk / ${wide}u` : `kk * ${pitch}u + ${across} / ${wide}u`;
    const from = `&stage, ${start[name]}u + ${at}, ${pitch}u`;
    return `let ${name.toLowerCase()}${i} = subgroupMatrixLoad<${type}, ${order}>(${from});`;
  };

  // The tiles that make the sums add up each slab, one row (or column) an invocation.
  const summed = sums?.of === 'a' ? 'A' : 'B';
  const [side, origin, other, limit] =
    summed === 'A' ? [tile.m, 'row0', 'col0', 'p.m'] : [tile.n, 'col0', 'row0', 'p.n'];
  const summing = (fn: (s: number) => string): string => {
    if (!sums) return '';
    const guarded = (s: number): string =>
      `{ let x = lane + ${s * workgroup}u; if (x < ${side}u && ${origin} + x < ${limit}) { ${fn(s)} } }`;
    return `if (${other} == 0u) {\n${each(Math.ceil(side / workgroup), guarded)}\n}`;
  };
  const addSums = summing((s) => {
    const { pitch } = lines[summed];
    const at = slabs[summed].kFast ? `x * ${pitch}u + q / ${wide}u` : `q * ${pitch}u + x / ${wide}u`;
    const e = slabs[summed].kFast ? 'q' : 'x';
    const word = `stage[${start[summed]}u + ${at}][(${e} / 2u) % 4u]`;
    return `for (var q = 0u; q < ${tile.k}u; q++) { sum${s} += unpack2x16float(${word})[${e} % 2u]; }`;
  });

  const results = (fn: (i: number, j: number) => string): string => each(rows, (i) => each(columns, (j) => fn(i, j)));
  const resultAt =
    result === 'f32'
      ? 'bitcast<vec4<f32>>(stage[at])'
      : 'vec4<f32>(bitcast<vec4<f16>>(select(stage[at].xy, stage[at].zw, (e & 1u) == 1u)))';
  const storeResult = (i: number) => (j: number) =>
    `subgroupMatrixStore<row_major>(&stage, out + ${(j * N) / perVector}u, c${i}_${j}, ${outPitch}u);`;
  const vectorsOut = (M * subgroupN) / 4;
  const perRow = subgroupN / 4;

  return assembleMatmul(params, {
    name: `matmul.subgroup.${M}x${N}x${K}.${tile.m}x${tile.n}x${tile.k}`,
    inputs: [...slabBindings('a', slabs.A), ...slabBindings('b', slabs.B)],
    workgroup,
    groups: Math.ceil(m / tile.m) * Math.ceil(n / tile.n) * batch[0] * batch[1],
    enables: [
      'enable f16;',
      'enable subgroups;',
      'requires subgroup_id;',
      'enable chromium_experimental_subgroup_matrix;',
      ...(tile.fixSize ? ['enable subgroup_size_control;'] : []),
    ],
    attributes: tile.fixSize ? ` @subgroup_size(${subgroupSize})` : '',
    builtins: ['@builtin(subgroup_id) subgroup: u32', '@builtin(subgroup_invocation_id) member: u32'],
    declarations: `
var<workgroup> stage: array<vec4<u32>, ${Math.max(start.B + sizeOfLines(lines.B), subgroups * M * outPitch)}>;
${slabLoader('A', slabs.A)}
${slabLoader('B', slabs.B)}`,
    body: `
${tileOrigin(tile.m, tile.n)}
${batchBases}
let sgRow = (subgroup / ${tile.n / subgroupN}u) * ${subgroupM}u;
let sgCol = (subgroup % ${tile.n / subgroupN}u) * ${subgroupN}u;
${results((i, j) => `var c${i}_${j}: subgroup_matrix_result<${result}, ${N}, ${M}>;`)}
${sums ? each(Math.ceil(side / workgroup), (s) => `var sum${s} = 0.0;`) : ''}
${overSlabs(
  { registers, fetch, put },
  tile.k,
  `${addSums}
  for (var kk = 0u; kk < ${tile.k}u; kk += ${K}u) {
    ${each(rows, (i) => load('A', i))}
    ${each(columns, (j) => load('B', j))}
    ${results((i, j) => `c${i}_${j} = subgroupMatrixMultiplyAccumulate(a${i}, b${j}, c${i}_${j});`)}
  }`,
)}
${sums ? summing((s) => `sums[${origin} + x] = ${storedType(sums.dtype)}(sum${s});`) : ''}
let out = subgroup * ${M * outPitch}u;
${each(
  rows,
  (i) => `
workgroupBarrier();
${each(columns, storeResult(i))}
workgroupBarrier();
for (var e = member; e < ${vectorsOut}u; e += ${subgroupSize}u) {
  let row = row0 + sgRow + ${i * M}u + e / ${perRow}u;
  let j = col0 + sgCol + (e % ${perRow}u) * 4u;
  let at = out + (e / ${perRow}u) * ${outPitch}u + (e % ${perRow}u) / ${perVector / 4}u;
  if (row < p.m) { finishFour(cBase + row * p.n + j, j, ${resultAt}); }
}`,
)}`,
  });
}
