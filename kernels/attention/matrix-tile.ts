import type { SubgroupMatrix } from '../../gpu/device.ts';
import { read } from '../kernel.ts';
import type { Binding } from '../kernel.ts';
import type { Operand } from '../layout.ts';
import { inputBindings, readsEights, sizesOf, tokensOf } from './operands.ts';
import type { AttentionOperands, AttentionTarget, ReadFour } from './operands.ts';
import { each } from './walk.ts';

/**
 * How a workgroup works on hardware that multiplies small matrices (tensor cores). Each of its subgroups owns
 * some rows: queries, or keys in the pass for dK and dV. It multiplies them with tokens of the other side,
 * which all subgroups stage together in workgroup memory, and puts the products into workgroup memory, where
 * lanes can address them: scores become weights there, f16 in the place of f32, and are multiplied again.
 *
 * Tested on a software driver's 8 x 8 x 8 in subgroups of 8; not timed on a GPU yet (bench/plan.ts predicts).
 */
export interface MatrixTile {
  readonly matrix: SubgroupMatrix;
  /** Subgroups of a workgroup, and invocations of one. */
  readonly subgroups: number;
  readonly subgroupSize: number;
  /** The device has several sizes, and the kernel must ask for this one. */
  readonly fixSize: boolean;
  /** Rows that a subgroup owns. */
  readonly rows: number;
  /** Keys of a tile, where queries are owned. */
  readonly keys: number;
}

/** f16 elements of a vec4<u32>, in which workgroup memory is counted here. */
const wide = 8;

/**
 * Distance of staged lines of halves, and of lines of f32: one vec4 more, so that they lie in other banks.
 */
export const halvesPitch = (width: number): number => width / wide + 1;
export const scoresPitch = (tokens: number): number => tokens / 4 + 1;

export const rowsOfTile = ({ subgroups, rows }: MatrixTile): number => subgroups * rows;
export const threadsOfTile = ({ subgroups, subgroupSize }: MatrixTile): number => subgroups * subgroupSize;

/** Places in workgroup memory of one pass, in vec4<u32>: second staged operand, scores, their gradients. */
export interface Places {
  readonly second: number;
  readonly scores: number;
  readonly gradients: number;
  readonly size: number;
}

/** Of the passes that own queries; `kinds`: 1 for scores alone, 2 with their gradients. */
export function queryPlaces(tile: MatrixTile, width: number, kinds: 1 | 2): Places {
  const own = rowsOfTile(tile);
  // Where keys are staged, results of one matrix's columns pass through memory too.
  const second = Math.max(Math.max(tile.keys, own) * halvesPitch(width), own * scoresPitch(tile.matrix.N));
  const each = own * scoresPitch(tile.keys);
  return { second, scores: 2 * second, gradients: 2 * second + each, size: 2 * second + kinds * each };
}

/** Of the pass that owns keys: a tile of queries has one for each lane of a subgroup. */
export function keyPlaces(tile: MatrixTile, width: number): Places {
  const second = Math.max(tile.subgroupSize, rowsOfTile(tile)) * halvesPitch(width);
  const each = threadsOfTile(tile) * scoresPitch(tile.rows);
  return { second, scores: 2 * second, gradients: 2 * second + each, size: 2 * second + 2 * each };
}

/** How the steps between the products go over rows: a lane has one. */
export const oneRow = { walk: { rows: 1 }, forRows: (fn: (r: number) => string): string => fn(0) };

/** Numbers in a head that have been tried. */
const widest = 128;

/** Workgroup memory above which a unit of a GPU would hold few workgroups. */
const mostBytes = 40960;

const shapes = [
  { subgroups: 4, keys: 64 },
  { subgroups: 4, keys: 32 },
  { subgroups: 2, keys: 32 },
  { subgroups: 2, keys: 16 },
] as const;

/**
 * Returns the tiles of a pass, the default first; none where the device has no matrices of f16 with sums in
 * f32, where types or layouts do not suit them, or on a processor, which is faster without.
 */
export function matrixTiles(
  target: AttentionTarget,
  operands: Pick<AttentionOperands, 'q' | 'k' | 'v'> & { readonly g?: Operand },
  pass: 'forward' | 'backward',
): MatrixTile[] {
  const { software, subgroupMatrix = [], subgroupSizes = [0, 0], subgroupSizeControl } = target;
  const { workgroupMemory = 0, maxInvocations = 0 } = target;
  const { width } = sizesOf(operands);
  const { q, k, v, g = q } = operands;
  const wholes = tokensOf(operands).bytes ? [q] : [q, k, v, g];
  if (software || q.dtype !== 'f16' || width > widest || !wholes.every(readsEights)) return [];
  const [smallest, largest] = subgroupSizes;
  // 32 lanes where the device has them: the registers of a wider subgroup hold fewer of the matrices.
  const subgroupSize = Math.min(Math.max(32, smallest), largest);
  const fixSize = smallest !== largest;
  if (fixSize && !subgroupSizeControl) return [];
  const rows = Math.min(16, subgroupSize);
  const fits = ({ M, N, K, component, result }: SubgroupMatrix): boolean =>
    component === 'f16' &&
    result === 'f32' &&
    [M, N, K].every((length) => length % wide === 0 && rows % length === 0 && width % length === 0);
  const matrices = subgroupMatrix.filter(fits).sort((a, b) => b.M * b.N * b.K - a.M * a.N * a.K);
  const matrix = matrices[0];
  if (!matrix) return [];
  return shapes
    .map((shape): MatrixTile => ({ ...shape, matrix, subgroupSize, fixSize, rows }))
    .filter((tile) => {
      const places =
        pass === 'forward' ? [queryPlaces(tile, width, 1)] : [queryPlaces(tile, width, 2), keyPlaces(tile, width)];
      const bytes = 16 * Math.max(...places.map(({ size }) => size));
      // Each lane of a row has whole pieces of its weights, of K keys.
      const even = tile.keys % ((subgroupSize / rows) * matrix.K) === 0;
      return even && bytes <= Math.min(mostBytes, workgroupMemory) && threadsOfTile(tile) <= maxInvocations;
    });
}

/** Returns the last part of a kernel's name. */
export const tileName = (tile: MatrixTile): string => {
  const { M, N, K } = tile.matrix;
  return `subgroup.${M}x${N}x${K}.${rowsOfTile(tile)}x${tile.keys}`;
};

/** Bindings of queries, keys and values as vec4<u32> or words of 8 bits, and the mask's. */
export function matrixBindings(operands: AttentionOperands): Binding[] {
  return inputBindings(operands).map((binding) =>
    /^[qkv]$/.test(binding.name) && binding.type !== 'u32' ? read(binding.name, 'vec4<u32>') : binding,
  );
}

export type MatrixCode = ReturnType<typeof matrixCode>;

/** WGSL: two vec4<f32> as halves. */
function eight(four: (u: 0 | 1) => string): string {
  const half = (u: 0 | 1): string => `bitcast<vec2<u32>>(vec4<f16>(${four(u)}))`;
  return `vec4<u32>(${half(0)}, ${half(1)})`;
}

/** WGSL of the parts that all passes share. `lines` is the pitch of the scores' lines. */
export function matrixCode(tile: MatrixTile, width: number) {
  const { matrix, subgroups, subgroupSize, fixSize, rows } = tile;
  const { M, N, K } = matrix;
  const pitch = halvesPitch(width);
  /** Lanes that share a row. */
  const lanes = subgroupSize / rows;
  const types = {
    left: `subgroup_matrix_left<f16, ${K}, ${M}>`,
    right: `subgroup_matrix_right<f16, ${N}, ${K}>`,
    result: `subgroup_matrix_result<f32, ${N}, ${M}>`,
  };
  const load = (type: keyof typeof types, order: 'row' | 'col', at: string, stride: number): string =>
    `subgroupMatrixLoad<${types[type]}, ${order}_major>(&stage, ${at}, ${stride}u)`;
  const store = (name: string, at: string, stride: number): string =>
    `subgroupMatrixStore<row_major>(&stage, ${at}, ${name}, ${stride}u);`;
  const multiplyAdd = (into: string, left: string, right: string): string =>
    `${into} = subgroupMatrixMultiplyAccumulate(${left}, ${right}, ${into});`;
  const grid = (m: number, n: number, fn: (i: number, j: number) => string): string =>
    each(m, (i) => each(n, (j) => fn(i, j)));
  /** Combines a number over the lanes that share a row. */
  const across = (name: string, combine: (a: string, b: string) => string): string =>
    [1, 2, 4, 8]
      .filter((distance) => distance < lanes)
      .map((distance) => `${name} = ${combine(name, `subgroupShuffleXor(${name}, ${distance}u)`)};`)
      .join('\n');

  return {
    tile,
    lanes,
    pitch,
    load,
    store,
    multiplyAdd,
    grid,
    across,
    /** Matrices along a subgroup's rows (as rows, as columns of a product), and along the width, as these. */
    counts: { m: rows / M, n: rows / N, k: width / K, columns: width / N },

    enables: [
      'enable f16;',
      'enable subgroups;',
      'requires subgroup_id;',
      'enable chromium_experimental_subgroup_matrix;',
      ...(fixSize ? ['enable subgroup_size_control;'] : []),
    ],
    attributes: fixSize ? ` @subgroup_size(${subgroupSize})` : '',
    builtins: ['@builtin(subgroup_id) subgroup: u32', '@builtin(subgroup_invocation_id) member: u32'],

    /**
     * Binds head, first row and the lane's row of workgroup `group` of this kind, of `length` rows a head;
     * leaves main past the last head.
     */
    place: (group: string, length: string, lastFirst: boolean): string => {
      const all = subgroups * rows;
      return `
let tiles = (${length} + ${all - 1}u) / ${all}u;
let head = ${group} / tiles;
if (head >= p.count) { return; }
let b = head / p.heads; let h = head % p.heads;
let start = ${lastFirst ? `(tiles - 1u - ${group} % tiles)` : `(${group} % tiles)`} * ${all}u;
let row = member / ${lanes}u; let part = member % ${lanes}u;
let ownRow = start + subgroup * ${rows}u + row;`;
    },

    /**
     * Stages `count` tokens of a binding from `first` on; those from `length` on are zeros. `four` reads 8
     * bits.
     */
    stage: (name: string, at: number, first: string, count: number, length: string, four?: ReadFour): string => `
for (var e = lane; e < ${(count * width) / wide}u; e += ${subgroups * subgroupSize}u) {
let t = ${first} + e / ${width / wide}u; let c = e % ${width / wide}u;
let begin = ${name}Base + i32(min(t, ${length} - 1u)) * p.${name}t;
let value = ${four ? eight((u) => four(name, 'begin', `2 * i32(c) + ${u}`)) : `${name}[begin / 2 + i32(c)]`};
stage[${at}u + e / ${width / wide}u * ${pitch}u + c] = select(vec4<u32>(), value, t < ${length});
}`,

    /** Zeros, written: drivers leave matrices that a loop only declares as the last iteration left them. */
    declareResults: (name: string, m: number, n: number): string =>
      grid(m, n, (i, j) => `var ${name}${i}_${j} = ${types.result}();`),

    /**
     * Brings the subgroup's results NAMEi_j, rows x width, to the lanes through its part of workgroup memory
     * (`base`, lines of `stride`), as many columns at once as a line holds. `body` works on the `value` of
     * four columns: `place` is their place in memory, `column` their number. With `back` the results take up
     * what the body left in memory.
     */
    throughMemory(name: string, base: string, stride: number, body: string, back = false): string {
      const most = Math.floor((4 * (stride - 1)) / N);
      const all = width / N;
      const parts: string[] = [];
      for (let first = 0; first < all; first += most) {
        const count = Math.min(most, all - first);
        const at = (i: number, j: number): string => `${base} + ${i * M * stride + (j * N) / 4}u`;
        parts.push(`workgroupBarrier();
${grid(rows / M, count, (i, j) => store(`${name}${i}_${first + j}`, at(i, j), stride))}
workgroupBarrier();
for (var unit = part; unit < ${(count * N) / 4}u; unit += ${lanes}u) {
let place = ${base} + row * ${stride}u + unit; let column = i32(unit) + ${(first * N) / 4};
let value = bitcast<vec4<f32>>(stage[place]);
${body}
}
${
  back
    ? `workgroupBarrier();
${grid(rows / M, count, (i, j) => `${name}${i}_${first + j} = ${load('result', 'row', at(i, j), stride)};`)}`
    : ''
}`);
      }
      return parts.join('\n');
    },

    /**
     * WGSL that writes `length` numbers NAME0, NAME1, ..., vec4<f32>, as halves from `place` on: they take
     * the first half of the place of as many f32.
     */
    halves: (name: string, length: number, place: string): string =>
      each(length / wide, (i) => `stage[${place} + ${i}u] = ${eight((u) => `${name}${2 * i + u}`)};`),
  };
}
