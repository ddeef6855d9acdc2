import type { Dispatch } from '../../gpu/dispatch.ts';
import type { SubgroupMatrix, Target } from '../../gpu/device.ts';
import { storedType } from '../kernel.ts';
import { batchBases, matmulKernel, tileOrigin } from './product.ts';
import type { Product } from './product.ts';
import { overSlabs, slabBindings, slabLoader, slabOf } from './slab.ts';
import type { Slab } from './slab.ts';

/**
 * For hardware that multiplies small matrices (tensor cores): f16 operands, sums in the configuration's
 * result type, f32 wherever it is offered. A workgroup of several subgroups stages slabs of both operands in
 * workgroup memory, sixteen bytes at a time into rows padded by sixteen, so that the rows of a matrix lie in
 * different banks; the next slab is on its way into registers while the current one is multiplied. Results
 * leave through workgroup memory, since their elements have no other address, and from there like those of
 * any variant, through `finish`.
 *
 * Operands are staged in the order in which they lie in memory, and loaded as row- or column-major
 * accordingly: no operand is transposed. Out-of-range elements are zeros. Correct on a software driver's 8 x
 * 8 x 8; not timed on a GPU yet.
 */
export interface SubgroupTile {
  readonly matrix: SubgroupMatrix;
  /** Outputs of a workgroup, and the slab of k between two barriers. */
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Outputs of a subgroup. */
  readonly subgroupM: number;
  readonly subgroupN: number;
  /** Invocations of a subgroup, and whether the kernel must ask for that size. */
  readonly subgroupSize: number;
  readonly fixSize: boolean;
}

/** Elements of f16 in a vec4<u32>. */
const wide = 8 as const;

/** Whether a product can be computed so at all: both operands f16, and a matrix configuration for them. */
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

/** A workgroup of `rows` x `columns` subgroups, each with subgroupM x subgroupN outputs. */
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

/** Whether the device can run this tile: whole matrices, enough workgroup memory and invocations. */
export function subgroupFits(target: Target, tile: SubgroupTile): boolean {
  const { matrix, m, n, k, subgroupM, subgroupN, subgroupSize, fixSize } = tile;
  const subgroups = (m * n) / (subgroupM * subgroupN);
  // The larger of both layouts of a slab, and the results of a row of matrices for each subgroup.
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

/** A slab in workgroup memory: lines along the operand's contiguous axis, in vec4<u32>. */
interface Lines {
  readonly perLine: number;
  /** From one line to the next. */
  readonly pitch: number;
  readonly vectors: number;
}

function linesOf({ kFast }: Slab, side: number, k: number): Lines {
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
  const lines = { A: linesOf(slabs.A, tile.m, tile.k), B: linesOf(slabs.B, tile.n, tile.k) };
  const sizeOfLines = ({ vectors, perLine, pitch }: Lines): number => (vectors / perLine) * pitch;
  const start = { A: 0, B: sizeOfLines(lines.A) };
  const perVector = result === 'f32' ? 4 : wide; // results in a vec4<u32>
  const outPitch = subgroupN / perVector + 1;
  const each = (count: number, fn: (i: number) => string): string =>
    Array.from({ length: count }, (_, i) => fn(i)).join('\n');

  /**
   * Statements for each vector of the slab that an invocation stages: `l` is its line, `v` its place in the
   * line.
   */
  const staged = (name: 'A' | 'B', fn: (s: number) => string): string => {
    const { vectors, perLine } = lines[name];
    return each(Math.ceil(vectors / workgroup), (s) => {
      const guard = (s + 1) * workgroup > vectors ? `if (lane + ${s * workgroup}u < ${vectors}u) ` : '';
      return `${guard}{ let e = lane + ${s * workgroup}u; let l = e / ${perLine}u; let v = e % ${perLine}u; ${fn(s)} }`;
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

  /** Loads matrix i of one operand at depth kk of the slab. */
  const load = (name: 'A' | 'B', i: number): string => {
    const [type, side, origin] =
      name === 'A'
        ? [`subgroup_matrix_left<f16, ${K}, ${M}>`, M, 'sgRow']
        : [`subgroup_matrix_right<f16, ${N}, ${K}>`, N, 'sgCol'];
    const { kFast } = slabs[name];
    // A left matrix is row-major where its rows lie along k, a right one where they lie along n.
    const order = kFast === (name === 'A') ? 'row_major' : 'col_major';
    const { pitch } = lines[name];
    const across = `(${origin} + ${i * side}u)`;
    const at = kFast ? `${across} * ${pitch}u + kk / ${wide}u` : `kk * ${pitch}u + ${across} / ${wide}u`;
    return `let ${name.toLowerCase()}${i} = subgroupMatrixLoad<${type}, ${order}>(&stage, ${start[name]}u + ${at}, ${pitch}u);`;
  };

  // The tiles that make the sums add up each slab, a row (or column) an invocation.
  const summed = sums?.of === 'a' ? 'A' : 'B';
  const [side, origin, other, limit] =
    summed === 'A' ? [tile.m, 'row0', 'col0', 'p.m'] : [tile.n, 'col0', 'row0', 'p.n'];
  const summing = (fn: (s: number) => string): string =>
    sums
      ? `if (${other} == 0u) {\n${each(Math.ceil(side / workgroup), (s) => `{ let x = lane + ${s * workgroup}u; if (x < ${side}u && ${origin} + x < ${limit}) { ${fn(s)} } }`)}\n}`
      : '';
  const addSums = summing((s) => {
    const { pitch } = lines[summed];
    const at = slabs[summed].kFast ? `x * ${pitch}u + q / ${wide}u` : `q * ${pitch}u + x / ${wide}u`;
    const e = slabs[summed].kFast ? 'q' : 'x';
    return `for (var q = 0u; q < ${tile.k}u; q++) { sum${s} += unpack2x16float(stage[${start[summed]}u + ${at}][(${e} / 2u) % 4u])[${e} % 2u]; }`;
  });

  const results = (fn: (i: number, j: number) => string): string => each(rows, (i) => each(columns, (j) => fn(i, j)));
  const resultAt =
    result === 'f32'
      ? 'bitcast<vec4<f32>>(stage[at])'
      : 'vec4<f32>(bitcast<vec4<f16>>(select(stage[at].xy, stage[at].zw, (e & 1u) == 1u)))';
  const vectorsOut = (M * subgroupN) / 4;
  const perRow = subgroupN / 4;

  return matmulKernel(params, {
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
${each(columns, (j) => `subgroupMatrixStore<row_major>(&stage, out + ${(j * N) / perVector}u, c${i}_${j}, ${outPitch}u);`)}
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
