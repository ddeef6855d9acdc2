import type { Cost, Dispatch } from '../../gpu/dispatch.ts';
import { bytesOf, i32, kernel, quad, read, storedType, u32, write } from '../kernel.ts';
import type { Binding, Dtype, KernelSource, Param } from '../kernel.ts';
import { collapse, sizeOf } from '../layout.ts';
import type { Operand } from '../layout.ts';
import { aliases, bytesMoved, declare, storeElements } from '../map/elements.ts';
import type { Elements } from '../map/elements.ts';
import { bytesOfWeight, quadOf, quantizedParams } from '../quant/weights.ts';
import type { QuantizedWeight } from '../quant/weights.ts';

/**
 * A second output of a product without batches: the sums over k of the rows of a, [m], or of the columns of
 * b, [n]. For dW = g^T x the sums of g are the gradient of the bias, from elements that the product reads
 * anyway.
 */
export interface Sums {
  readonly of: 'a' | 'b';
  readonly dtype: 'f32' | 'f16';
}

/** A matrix, or a batch of them: element (z0, z1, i, j) is at offset + z . batch + i * row + j * col. */
export interface MatrixOperand {
  readonly dtype: Dtype;
  readonly offset: number;
  readonly row: number;
  readonly col: number;
  /** Strides of the two batch axes; 0 repeats the matrix. */
  readonly batch: readonly [number, number];
  /** Of b only: packed integers, contiguous along the axis whose stride is 1. The dtype is not used then. */
  readonly quantized?: QuantizedWeight;
}

/** y[z, i, j] = sum over k of a[z, i, k] * b[z, k, j] (+ bias[j]), which the sink stores. */
export interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Lengths of the two batch axes. */
  readonly batch: readonly [number, number];
  readonly a: MatrixOperand;
  readonly b: MatrixOperand;
  readonly bias?: { readonly dtype: Dtype; readonly offset: number; readonly stride: number };
  /** Stores the outputs, in row-major order, with the work that fusion moved behind the product. */
  readonly sink: Elements;
  /** Bound last; of each part where k is split, else not with batches. */
  readonly sums?: Sums;
  /** Where k is split into parts of `k` of which the last is shorter: the length of all. */
  readonly kAll?: number;
  /** a and b are halves of f32 numbers (halves.ts): k goes over lo hi', hi lo' and hi hi'. */
  readonly halves?: boolean;
  /** Of halves, whose product ends here: what they were made of, and the ranges of rows and columns. */
  readonly exact?: Exact & { readonly k: number };
}

const exactNames = ['exactA', 'exactB', 'rangeA', 'rangeB'] as const;
type ExactName = (typeof exactNames)[number];
type Exact = Readonly<Record<ExactName, MatrixOperand>>;

/**
 * The operands of a [..., m, k] @ b [..., k, n] + bias [n]; batch axes broadcast. Of halves: f32 operands
 * like a and b, and ranges [..., m, 1] and [..., 1, n].
 */
export interface ProductOperands extends Partial<Readonly<Record<ExactName, Operand>>> {
  readonly a: Operand;
  readonly b: Operand;
  readonly bias?: Operand;
  /** Stores the outputs [..., m, n]. */
  readonly y: Elements;
  /** [m] or [n]: the sums over k of the rows of a or of the columns of b. */
  readonly sums?: Operand;
}

/** Returns the strides of an operand along the batch axes of the product, 0 where it is broadcast. */
export function batchStrides({ shape, strides }: Operand, batch: readonly number[]): number[] {
  const missing = batch.length - shape.length + 2;
  return batch.map((_, axis) => (axis < missing || shape[axis - missing] === 1 ? 0 : strides[axis - missing]!));
}

/** Returns the lengths of the batch axes of a product. */
export function batchShape(a: Operand, b: Operand): number[] {
  const rank = Math.max(a.shape.length, b.shape.length) - 2;
  const length = ({ shape }: Operand, axis: number): number => shape[axis - rank + shape.length - 2] ?? 1;
  return Array.from({ length: rank }, (_, axis) => Math.max(length(a, axis), length(b, axis)));
}

/**
 * Merges the batch axes of a product to two. Returns undefined where the strides of the operands need more.
 * `of` names the operand that `sums` adds up.
 */
export function productOf(operands: ProductOperands, of: 'a' | 'b' = 'a'): Product | undefined {
  const { a, b, bias, y, sums, exactA } = operands;
  const shape = batchShape(a, b);
  const exact = exactA ? exactNames.map((name) => operands[name]!) : [];
  const steps = [a, b, ...exact].map((x) => batchStrides(x, shape));
  const merged = collapse(shape, steps);
  if (merged.shape.length > 2) return undefined;
  const two = (list: readonly number[], missing: number): [number, number] => [
    list[list.length - 2] ?? missing,
    list[list.length - 1] ?? missing,
  ];
  const operand = ({ dtype, offset, strides }: Operand, i: number): MatrixOperand => ({
    dtype,
    offset,
    row: strides.at(-2)!,
    col: strides.at(-1)!,
    batch: two(merged.strides[i]!, 0),
  });
  return {
    m: a.shape.at(-2)!,
    n: b.shape.at(-1)!,
    k: a.shape.at(-1)!,
    batch: two(merged.shape, 1),
    a: operand(a, 0),
    b: operand(b, 1),
    bias: bias && { dtype: bias.dtype, offset: bias.offset, stride: bias.strides[0]! },
    sink: y,
    sums: sums && { of, dtype: sums.dtype === 'f16' ? 'f16' : 'f32' },
    halves: exactA !== undefined,
    exact: exactA && {
      ...(Object.fromEntries(exactNames.map((name, i) => [name, operand(exact[i]!, i + 2)])) as Exact),
      k: exactA.shape.at(-1)!,
    },
  };
}

/** `type`, or a vector of four of it. */
export const vec4 = (vector: boolean, type: string): string => (vector ? `vec4<${type}>` : type);

/** Returns the parameters that every variant reads: sizes, offsets and strides. */
function matmulUniforms({ m, n, k, batch, a, b, bias, exact }: Product): Record<string, Param> {
  const operand = (name: string, x: MatrixOperand): Record<string, Param> => ({
    [`${name}o`]: i32(x.offset),
    [`${name}r`]: i32(x.row),
    [`${name}c`]: i32(x.col),
    [`${name}0`]: i32(x.batch[0]),
    [`${name}1`]: i32(x.batch[1]),
  });
  return {
    m: u32(m),
    n: u32(n),
    k: u32(k),
    batch: u32(batch[0] * batch[1]),
    batch1: u32(batch[1]),
    ...operand('a', a),
    ...operand('b', b),
    ...(bias ? { biasO: i32(bias.offset), biasS: i32(bias.stride) } : {}),
    ...(exact ? Object.assign({ exactK: u32(exact.k) }, ...exactNames.map((name) => operand(name, exact[name]))) : {}),
  };
}

/**
 * WGSL that makes an output of the sum that its halves give, times the scales of its row and column. Numbers
 * below the range of halves are wrong by up to 2^-36, and an output by k 2^-20: where that may exceed the
 * rounding of its f32 sum, k 2^-24 of it, and for infinities and NaN, it is computed in f32.
 */
const ofHalves = `
fn power(e: i32) -> f32 { return bitcast<f32>(u32(e + 127) << 23u); }
fn unscaled(at: u32, v: f32) -> f32 {
  let z = at / p.n / p.m;
  let z0 = i32(z / p.batch1); let z1 = i32(z % p.batch1);
  let i = i32(at / p.n % p.m); let j = i32(at % p.n);
  let row = rangeA[p.rangeAo + z0 * p.rangeA0 + z1 * p.rangeA1 + i * p.rangeAr];
  let column = rangeB[p.rangeBo + z0 * p.rangeB0 + z1 * p.rangeB1 + j * p.rangeBc];
  let flags = (row | column) & 3;
  if (flags > 1 || (flags == 1 && !(abs(v) >= 16.0))) {
    let x = p.exactAo + z0 * p.exactA0 + z1 * p.exactA1 + i * p.exactAr;
    let y = p.exactBo + z0 * p.exactB0 + z1 * p.exactB1 + j * p.exactBc;
    var sum = 0.0;
    for (var k = 0; k < i32(p.exactK); k++) { sum += exactA[x + k * p.exactAc] * exactB[y + k * p.exactBr]; }
    return sum;
  }
  let e = -(row >> 2u) - (column >> 2u);
  return v * power(e / 2) * power(e - e / 2);
}`;

/**
 * Emits the batch `z`, the first row `row0` and the first column `col0` of a workgroup's tile of m x n
 * outputs. Neighbouring workgroups share rows of a.
 */
export const tileOrigin = (m: number, n: number): string => `
let tilesN = (p.n + ${n - 1}u) / ${n}u;
let tilesM = (p.m + ${m - 1}u) / ${m}u;
let z = group / (tilesN * tilesM);
if (z >= p.batch) { return; }
let row0 = ((group / tilesN) % tilesM) * ${m}u;
let col0 = (group % tilesN) * ${n}u;`;

/** WGSL of the first elements of batch `z`: `aBase`, `bBase` and `cBase`. */
export const batchBases = `
let z0 = i32(z / p.batch1); let z1 = i32(z % p.batch1);
let aBase = p.ao + z0 * p.a0 + z1 * p.a1;
let bBase = p.bo + z0 * p.b0 + z1 * p.b1;
let cBase = z * p.m * p.n;`;

/** The parts of a kernel that a variant adds to those of every product. */
export interface MatmulSource
  extends
    Pick<KernelSource, 'name' | 'workgroup' | 'groups' | 'body' | 'declarations'>,
    Partial<Pick<KernelSource, 'enables' | 'attributes' | 'builtins' | 'params' | 'cost'>> {
  /** The bindings of a and b, with the scales and zeros of a quantized b. */
  readonly inputs: readonly Binding[];
  /** Bindings after those of the sink. */
  readonly outputs?: readonly Binding[];
  /** Makes one output at a time; else four, which are stored as a vec4 where the rows allow it. */
  readonly single?: boolean;
}

/**
 * Assembles a variant. Bindings: operands, bias, those of the sink, sums. The body calls one of:
 * - `finish(at, j, v)`: adds the bias to the output with row-major index `at`, in column j, and stores it. v
 *   is a `V`: f32, or vec4<f32> for outputs at, ..., at + 3;
 * - `finishFour(at, j, v)`: the same for a vec4<f32> and j a multiple of 4; columns beyond n are dropped.
 */
export function assembleMatmul(params: Product, source: MatmulSource): Dispatch {
  const { n, b, bias, sink, sums, exact } = params;
  const { inputs, outputs = [], single = false, declarations = '', ...rest } = source;
  const width = !single && n % 4 === 0 && (sink.shape.at(-1) ?? 1) % 4 === 0 ? 4 : 1;
  const wide = width === 4;
  const biasVec4 = wide && bias?.stride === 1 && bias.offset % 4 === 0;
  const put = storeElements('put', sink, { width, prefix: 'y_', carries: true });
  const biasAt = (j: string): string => `f32(bias[p.biasO + i32(${j}) * p.biasS])`;
  const biasOf = (): string => {
    if (biasVec4) return `V(bias[${quad('p.biasO + i32(j)')}])`;
    return wide ? `V(${[0, 1, 2, 3].map((e) => biasAt(`j + ${e}u`)).join(', ')})` : biasAt('j');
  };
  const four = wide
    ? 'if (j < p.n) { finish(at, j, v); }'
    : [...'xyzw'].map((e, q) => `if (j + ${q}u < p.n) { finish(at + ${q}u, j + ${q}u, v.${e}); }`).join('\n  ');
  const parts = wide ? [0, 1, 2, 3].map((e) => `unscaled(at + ${e}u, v[${e}])`).join(', ') : 'unscaled(at, v)';
  const value = exact ? `V(${parts})` : 'v';
  const cost = source.cost ?? matmulCost(params);
  const moved = source.cost ? bytesMoved(sink, true) : 0;
  return kernel({
    ...rest,
    bindings: [
      ...inputs,
      ...(bias ? [read('bias', vec4(biasVec4, storedType(bias.dtype)))] : []),
      ...(exact ? exactNames.map((name) => read(name, storedType(exact[name].dtype))) : []),
      ...put.operands,
      ...put.outputs,
      ...(sums ? [write('sums', storedType(sums.dtype))] : []),
      ...outputs,
    ],
    params: {
      ...matmulUniforms(params),
      ...(b.quantized ? quantizedParams(b.quantized) : {}),
      ...put.params,
      ...source.params,
    },
    cost: { bytes: cost.bytes + moved, flops: cost.flops + put.flops * sizeOf(sink.shape) },
    declarations: `
${aliases('f32', width)}
${declare(put)}
${exact ? ofHalves : ''}
fn finish(at: u32, j: u32, v: V) { put(at, ${value}${bias ? ` + ${biasOf()}` : ''}); }
fn finishFour(at: u32, j: u32, v: vec4<f32>) {
  ${four}
}
${b.quantized && inputs.some(({ name, type }) => name === 'b' && type === 'u32') ? quadOf(b.quantized) : ''}
${declarations}`,
  });
}

function matmulCost({ m, n, k, kAll, batch, a, b, sink, halves = false }: Product): Cost {
  const count = batch[0] * batch[1];
  const along = (kAll === undefined ? k * count : kAll * batch[0]) * (halves ? 2 : 1);
  const weight = b.quantized ? bytesOfWeight(b.quantized) : bytesOf(b.dtype);
  const bytes = along * (m * bytesOf(a.dtype) + n * weight) + bytesMoved(sink, true);
  return { flops: (halves ? 3 : 2) * along * m * n, bytes };
}

/**
 * Emits `fn sumOverK(x)`, which adds up row (or column) x along k in memory, for variants that hold no slab.
 * `vector` says that the operand is bound as vec4.
 */
export function sumOverK({ sums }: Product, vector: boolean): string {
  if (!sums) return '';
  const [operand, stride, strideK] = sums.of === 'a' ? ['a', 'p.ar', 'p.ac'] : ['b', 'p.bc', 'p.br'];
  return `
fn sumOverK(x: u32) -> f32 {
  var sum = 0.0;
  for (var k = 0; k < i32(p.k); k++) {
    let at = p.${operand}o + i32(x) * ${stride} + k * ${strideK};
    sum += f32(${operand}${vector ? `[${quad('at')}][at & 3]` : '[at]'});
  }
  return sum;
}`;
}

/**
 * Emits the stores of the sums of a tile of `tileM` x `tileN` outputs, by `sumOverK`. Only the tiles of the
 * first column (or row) store them. In scope: `lane`, `row0`, `col0`.
 */
export function storeSums({ sums }: Product, tileM: number, tileN: number, workgroup: number): string {
  if (!sums) return '';
  const [first, other, tile, limit] = sums.of === 'a' ? ['row0', 'col0', tileM, 'p.m'] : ['col0', 'row0', tileN, 'p.n'];
  return `
if (${other} == 0u) {
  for (var x = ${first} + lane; x < min(${first} + ${tile}u, ${limit}); x += ${workgroup}u) {
    sums[x] = ${storedType(sums.dtype)}(sumOverK(x));
  }
}`;
}
