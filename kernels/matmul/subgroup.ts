import type { Dispatch } from '../../gpu/dispatch.ts';
import type { SubgroupMatrix, Target } from '../../gpu/device.ts';
import { storedType, u32 } from '../kernel.ts';
import { batchBases, assembleMatmul, tileOrigin } from './product.ts';
import type { Product } from './product.ts';
import { slabAdvance, slabBindings, slabCursor, slabLoader, slabOf, slabPiece, slabStep } from './slab.ts';
import type { Piece, Slab } from './slab.ts';

/**
 * For hardware that multiplies small matrices (tensor cores): f16 operands, sums in f32 where it is offered.
 * A workgroup of several subgroups stages slabs of both operands in workgroup memory, in lines padded by 16
 * bytes so that the rows of a matrix lie in different banks. Registers take the next slab while the current
 * one is multiplied, and go to a second buffer then: one barrier a slab. Places in memory are found before
 * the loop, which only adds to them. The elements of a result can only be addressed in workgroup memory:
 * results go there, and then through `finish` as in every variant.
 *
 * Operands are staged in the order in which they lie in memory and loaded as row- or column-major, so none is
 * transposed. Rows and columns beyond the last repeat it, since what is made of them is not stored; beyond
 * the end of k are zeros. Tested on a software driver's 8 x 8 x 8; not timed on a GPU yet.
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
 * f16. Sums of an operand are made as results are, and want f32.
 */
export function subgroupMatrices(target: Target, { a, b, sums }: Product): readonly SubgroupMatrix[] {
  if (a.dtype !== 'f16' || (!b.quantized && b.dtype !== 'f16')) return [];
  // A piece of eight must not cross the end of k.
  if (b.quantized && b.row === 1 && b.quantized.inFeatures % wide !== 0) return [];
  const fits = (x: SubgroupMatrix): boolean =>
    x.component === 'f16' &&
    (sums ? /^f32$/ : /^f(16|32)$/).test(x.result) &&
    [x.M, x.N, x.K].every((length) => length % wide === 0);
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
  // Two slabs, in the larger of their two orders, or the results of a row of matrices of each subgroup.
  const bytes = 4 * Math.max((m + n) * (k + wide), k * (m + n + 2 * wide));
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
  const { m, n, k, batch, a, b, sums, halves = false } = params;
  const { matrix, subgroupM, subgroupN, subgroupSize } = tile;
  const { M, N, K, result } = matrix;
  const subgroups = (tile.m / subgroupM) * (tile.n / subgroupN);
  const workgroup = subgroups * subgroupSize;
  const [rows, columns] = [subgroupM / M, subgroupN / N];
  const whole = { m: m % tile.m === 0, n: n % tile.n === 0, k: k > 0 && k % tile.k === 0 };
  const slabs = { A: slabOf(a, a.row, a.col, k, wide), B: slabOf(b, b.col, b.row, k, wide) };
  const lines = { A: stagedLines(slabs.A, tile.m, tile.k), B: stagedLines(slabs.B, tile.n, tile.k) };
  const sizeOfLines = ({ vectors, perLine, pitch }: StagedLines): number => (vectors / perLine) * pitch;
  const start = { A: 0, B: sizeOfLines(lines.A) };
  const slabSize = start.B + sizeOfLines(lines.B);
  const perVector = result === 'f32' ? 4 : wide; // results in a vec4<u32>
  const outPitch = subgroupN / perVector + 1;
  const each = (count: number, fn: (i: number) => string): string =>
    Array.from({ length: count }, (_, i) => fn(i)).join('\n');

  /** Emits a statement for each piece that an invocation stages, of which the last may be of fewer. */
  const staged = (name: 'A' | 'B', fn: (s: number) => string, guards = true): string => {
    const { vectors } = lines[name];
    return each(Math.ceil(vectors / workgroup), (s) =>
      guards && (s + 1) * workgroup > vectors ? `if (lane + ${s * workgroup}u < ${vectors}u) { ${fn(s)} }` : fn(s),
    );
  };
  /** Piece `s` of an invocation: its line of the slab, and its place in that. */
  const pieceOf = (name: 'A' | 'B', s: number): Piece => {
    const { perLine } = lines[name];
    if (workgroup % perLine === 0) {
      const ahead = s === 0 ? '' : ` + ${(s * workgroup) / perLine}u`;
      return { at: `at${name}${s}`, line: `(lane / ${perLine}u${ahead})`, place: `lane % ${perLine}u` };
    }
    const e = `(lane + ${s * workgroup}u)`;
    return { at: `at${name}${s}`, line: `(${e} / ${perLine}u)`, place: `${e} % ${perLine}u` };
  };
  /** Declares where the pieces of a slab come from and go to, and registers between. */
  const cursors = (name: 'A' | 'B'): string => {
    const declared = staged(
      name,
      (s) => {
        const { line, place } = pieceOf(name, s);
        return `${slabCursor(name, slabs[name], pieceOf(name, s), name === 'A' ? whole.m : whole.n)}
let to${name}${s} = ${start[name]}u + ${line} * ${lines[name].pitch}u + ${place};
var next${name}${s}: vec4<u32>;`;
      },
      false,
    );
    return `${declared}\n${slabStep(name, slabs[name], tile.k)}`;
  };
  const fetch = (name: 'A' | 'B', inside: boolean): string =>
    staged(name, (s) => `next${name}${s} = ${slabPiece(name, slabs[name], pieceOf(name, s), inside)};`);
  const put = (name: 'A' | 'B'): string => staged(name, (s) => `stage[now + to${name}${s}] = next${name}${s};`);

  /** WGSL of where the matrices of a subgroup begin in a slab. */
  const fromSlab = (name: 'A' | 'B'): string => {
    const across = name === 'A' ? 'sgRow' : 'sgCol';
    return `${start[name]}u + ${across} ${slabs[name].kFast ? `* ${lines[name].pitch}` : `/ ${wide}`}u`;
  };
  /** Emits the load of matrix i of an operand at place kk of the slab. */
  const load = (name: 'A' | 'B', i: number, kk: number): string => {
    const [type, side] =
      name === 'A' ? [`subgroup_matrix_left<f16, ${K}, ${M}>`, M] : [`subgroup_matrix_right<f16, ${N}, ${K}>`, N];
    const { kFast } = slabs[name];
    // a is row-major where its pieces lie along k, b where they lie along n.
    const order = kFast === (name === 'A') ? 'row_major' : 'col_major';
    const { pitch } = lines[name];
    const ahead = kFast ? i * side * pitch + kk / wide : kk * pitch + (i * side) / wide;
    const at = `now + from${name} + ${ahead}u`;
    return `let ${name.toLowerCase()}${i} = subgroupMatrixLoad<${type}, ${order}>(&stage, ${at}, ${pitch}u);`;
  };

  const results = (fn: (i: number, j: number) => string): string => each(rows, (i) => each(columns, (j) => fn(i, j)));
  const accumulator = (name: string): string => `var ${name}: subgroup_matrix_result<${result}, ${N}, ${M}>;`;
  const multiply = (x: string, y: string, c: string): string =>
    `${c} = subgroupMatrixMultiplyAccumulate(${x}, ${y}, ${c});`;
  const store = (c: string, at: number): string =>
    `subgroupMatrixStore<row_major>(&stage, out + ${at}u, ${c}, ${outPitch}u);`;

  // The tiles that make the sums multiply each slab by a matrix of ones, too. Of a, each column of what comes
  // of matrix i holds its sums; of b, each row.
  const [ones, count, length, origin, other, sgOther, limit] =
    sums?.of === 'a'
      ? [`right<f16, ${N}, ${K}>`, rows, M, 'row0 + sgRow', 'col0', 'sgCol', 'p.m']
      : [`left<f16, ${K}, ${M}>`, columns, N, 'col0 + sgCol', 'row0', 'sgRow', 'p.n'];
  const sumAt = sums?.of === 'a' ? `stage[out + e * ${outPitch}u].x` : 'stage[out + e / 4u][e % 4u]';
  const summing = (fn: (i: number) => string): string => (sums ? `if (${other} == 0u) {\n${each(count, fn)}\n}` : '');
  const addSums = summing((i) =>
    sums?.of === 'a' ? multiply(`a${i}`, 'ones', `s${i}`) : multiply('ones', `b${i}`, `s${i}`),
  );
  const storeSums = (dtype: string): string =>
    summing(
      (i) => `workgroupBarrier();
${store(`s${i}`, 0)}
workgroupBarrier();
for (var e = member; e < ${length}u; e += ${subgroupSize}u) {
  let x = ${origin} + ${i * length}u + e;
  if (${sgOther} == 0u && x < ${limit}) { sums[z * ${limit} + x] = ${dtype}(bitcast<f32>(${sumAt})); }
}`,
    );

  const perRow = subgroupN / 4; // outputs by fours
  const resultAt =
    result === 'f32'
      ? 'bitcast<vec4<f32>>(stage[there])'
      : 'vec4<f32>(bitcast<vec4<f16>>(select(stage[there].xy, stage[there].zw, ((j / 4u) & 1u) == 1u)))';
  // Where a pass of the subgroup takes whole rows, a place counts on from that of the first pass.
  const wholeRows = subgroupSize % perRow === 0;
  const passes = Math.ceil((M * perRow) / subgroupSize);
  const place = (e: string): string => `let line = ${e} / ${perRow}u;
let j = col0 + sgCol + (${e} % ${perRow}u) * 4u;
let row1 = row0 + sgRow + line;
let at1 = cBase + row1 * p.n + j;
let there1 = out + line * ${outPitch}u + (${e} % ${perRow}u) / ${perVector / 4}u;`;
  const storeRows = (i: number): string => `
workgroupBarrier();
${each(columns, (j) => store(`c${i}_${j}`, (j * N) / perVector))}
workgroupBarrier();
for (var turn = 0u; turn < ${passes}u; turn++) {
  ${wholeRows ? '' : place(`(member + turn * ${subgroupSize}u)`)}
  let ahead = ${wholeRows ? `turn * ${subgroupSize / perRow}u` : '0u'};
  let there = there1 + ahead * ${outPitch}u;
  ${whole.m ? '' : `if (row1 + ${i * M}u + ahead >= p.m) { continue; }`}
  finishFour(at1 + (${i * M}u + ahead) * p.n, j, ${resultAt});
}`;

  const uneven = params.kAll !== undefined;
  const fetchBoth = (inside: boolean): string => `${fetch('A', inside)}\n${fetch('B', inside)}`;
  // Of halves: the two that lie along k are multiplied with those of the other operand crosswise, lo first,
  // and then hi with hi.
  const kEnd = uneven ? 'min(p.k, p.kAll - u32(z1) * p.k)' : halves ? '3u * p.k' : 'p.k';
  const turn = `let turns = k0 == 2u * p.k;
  if (turns) { overA -= p.k / ${tile.k}u * stepA; overB -= p.k / ${tile.k / 2}u * stepB; }`;
  const scaled = (c: string): string => `${c} = subgroupMatrixScalarMultiply(${c}, 1.0 / 2048.0);`;
  const fetchSlab = `${
    whole.k ? fetchBoth(true) : `if (left == 0u) {\n${fetchBoth(false)}\n} else {\nleft--;\n${fetchBoth(true)}\n}`
  }
${slabAdvance('A', slabs.A)}${slabAdvance('B', slabs.B)}`;
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
    params: uneven ? { kAll: u32(params.kAll) } : {},
    declarations: `
var<workgroup> stage: array<vec4<u32>, ${Math.max(2 * slabSize, subgroups * M * outPitch)}>;
${slabLoader('A', slabs.A)}
${slabLoader('B', slabs.B)}`,
    body: `
${tileOrigin(tile.m, tile.n)}
${batchBases}
let sgRow = (subgroup / ${tile.n / subgroupN}u) * ${subgroupM}u;
let sgCol = (subgroup % ${tile.n / subgroupN}u) * ${subgroupN}u;
${results((i, j) => accumulator(`c${i}_${j}`))}
${
  sums
    ? `${each(count, (i) => accumulator(`s${i}`))}
let ones = subgroup_matrix_${ones}(f16(1));`
    : ''
}
${cursors('A')}
${cursors('B')}
let fromA = ${fromSlab('A')};
let fromB = ${fromSlab('B')};
let kEnd = ${kEnd};
${whole.k ? '' : `var left = kEnd / ${tile.k}u; // whole slabs`}
var k0 = 0u;
var now = 0u; // the slab that is multiplied; the other one takes the next
${fetchSlab}
${put('A')}
${put('B')}
workgroupBarrier();
while (true) {
  k0 += ${tile.k}u;
  let more = k0 < kEnd;
  ${halves ? turn : ''}
  if (more) {
    ${fetchSlab}
  }
  ${each(
    tile.k / K,
    (kk) => `{
    ${each(rows, (i) => load('A', i, kk * K))}
    ${each(columns, (j) => load('B', j, kk * K))}
    ${results((i, j) => multiply(`a${i}`, `b${j}`, `c${i}_${j}`))}
    ${addSums}
  }`,
  )}
  ${halves ? `if (turns) { ${results((i, j) => scaled(`c${i}_${j}`))} }` : ''}
  if (!more) { break; }
  now = ${slabSize}u - now;
  ${put('A')}
  ${put('B')}
  workgroupBarrier();
}
let out = subgroup * ${M * outPitch}u;
${sums ? storeSums(storedType(sums.dtype)) : ''}
${wholeRows ? place('member') : ''}
${each(rows, storeRows)}`,
  });
}
