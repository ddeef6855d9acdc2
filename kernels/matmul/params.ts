import type { Cost } from '../../gpu/dispatch.ts';
import { bytesOf, i32, read, storedType, u32, write } from '../kernel.ts';
import type { Binding, Dtype, Param } from '../kernel.ts';
import { aliases, bytesMoved, declare, storeElements } from '../map/elements.ts';
import type { ElementCode, Elements } from '../map/elements.ts';
import type { Sums } from './sums.ts';

/** A matrix operand, or a batch of them: element (batch, i, j) is at offset + batch part + i*row + j*col. */
export interface MatrixOperand {
  readonly dtype: Dtype;
  readonly offset: number;
  readonly row: number;
  readonly col: number;
  /** Strides of the two batch axes; 0 repeats the matrix. */
  readonly batch: readonly [number, number];
}

/** c[b, i, j] = sum over k of a[b, i, k] * b[b, k, j] (+ bias[j]). The output is row-major from offset 0. */
export interface MatmulParams {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Lengths of the two batch axes. */
  readonly batch: readonly [number, number];
  readonly a: MatrixOperand;
  readonly b: MatrixOperand;
  readonly bias?: { readonly dtype: Dtype; readonly offset: number; readonly stride: number };
  readonly output: Dtype;
  /** Elementwise work instead of storing c: input 0 is an element of a @ b (+ bias), over [batch..., m, n]. */
  readonly epilogue?: Elements;
  /** A second output, bound after c; only without batches and split k. */
  readonly sums?: Sums;
}

/** `type`, or a vector of four of it. */
export const vec4 = (vector: boolean, type: string): string => (vector ? `vec4<${type}>` : type);

/** Whether a variant that makes outputs in fours may store them so: wherever every row starts at a multiple of four. */
export const storesVec4 = ({ n }: MatmulParams): boolean => n % 4 === 0;

/** Whether four neighbouring elements of the bias are read at once. */
const readsBiasVec4 = ({ bias }: MatmulParams, wide: boolean): boolean =>
  wide && bias?.stride === 1 && bias.offset % 4 === 0;

/** The code of the epilogue, if there is one. */
const epilogueOf = ({ epilogue }: MatmulParams, wide: boolean): ElementCode | undefined =>
  epilogue && storeElements('epilogue', epilogue, { width: wide ? 4 : 1, prefix: 'e_', carries: true });

/** Bindings a, b, (bias,) c or those of the epilogue(, sums) with the given element types of a and b; c and bias are as `finish` wants them. */
export function matmulBindings(params: MatmulParams, a: string, b: string, wide = storesVec4(params)): Binding[] {
  const { bias, output, sums } = params;
  const end = epilogueOf(params, wide);
  return [
    read('a', a),
    read('b', b),
    ...(bias ? [read('bias', vec4(readsBiasVec4(params, wide), storedType(bias.dtype)))] : []),
    ...(end ? [...end.operands, ...end.outputs] : [write('c', vec4(wide, storedType(output)))]),
    ...(sums ? [write('sums', storedType(sums.dtype))] : []),
  ];
}

/**
 * WGSL through which every variant sends its outputs, so that what happens to them on their way to memory (bias, conversion, a fused epilogue) is written once:
 * - `finish(at, j, v)`: outputs at, at + 1, ... in row-major order, the first in column j. v is `vec4<f32>` if `wide`, else `f32`;
 * - `finishFour(at, j, v)`: v is `vec4<f32>`; columns beyond n are dropped. j is a multiple of 4.
 */
export function finish(params: MatmulParams, wide = storesVec4(params)): string {
  const { bias, output } = params;
  const end = epilogueOf(params, wide);
  const type = wide ? 'vec4<f32>' : 'f32';
  const biasAt = (j: string): string => `bias[p.biasO + i32(${j}) * p.biasS]`;
  const biasOf = (): string => {
    if (readsBiasVec4(params, wide)) return `vec4<f32>(bias[(p.biasO + i32(j)) / 4])`;
    return wide
      ? `vec4<f32>(${[0, 1, 2, 3].map((e) => `f32(${biasAt(`j + ${e}u`)})`).join(', ')})`
      : `f32(${biasAt('j')})`;
  };
  const value = bias ? `v + ${biasOf()}` : 'v';
  const store = end
    ? `epilogue(at, ${value});`
    : `c[at${wide ? ' / 4u' : ''}] = ${vec4(wide, storedType(output))}(${value});`;
  const four = wide
    ? 'if (j < p.n) { finish(at, j, v); }'
    : [...'xyzw'].map((e, q) => `if (j + ${q}u < p.n) { finish(at + ${q}u, j + ${q}u, v.${e}); }`).join('\n  ');
  return `
${end ? `${aliases('f32', wide ? 4 : 1)}\n${declare(end)}` : ''}
fn finish(at: u32, j: u32, v: ${type}) { ${store} }
fn finishFour(at: u32, j: u32, v: vec4<f32>) {
  ${four}
}`;
}

/** Parameters that every variant reads: sizes, offsets and strides, and those of the epilogue. */
export function matmulUniforms(params: MatmulParams, wide = storesVec4(params)): Record<string, Param> {
  const { m, n, k, batch, a, b, bias } = params;
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
    ...epilogueOf(params, wide)?.params,
  };
}

/** WGSL: the batch `z` and the first row and column, `row0` and `col0`, of a workgroup's tile of m x n outputs. Neighbouring workgroups share rows of a. */
export const tileOrigin = (m: number, n: number): string => `
let tilesN = (p.n + ${n - 1}u) / ${n}u;
let tilesM = (p.m + ${m - 1}u) / ${m}u;
let z = group / (tilesN * tilesM);
if (z >= p.batch) { return; }
let row0 = ((group / tilesN) % tilesM) * ${m}u;
let col0 = (group % tilesN) * ${n}u;`;

/** WGSL: start of a batch's matrices, given `z`. */
export const batchBases = `
let z0 = i32(z / p.batch1); let z1 = i32(z % p.batch1);
let aBase = p.ao + z0 * p.a0 + z1 * p.a1;
let bBase = p.bo + z0 * p.b0 + z1 * p.b1;
let cBase = z * p.m * p.n;`;

export function matmulCost(params: MatmulParams): Cost {
  const { m, n, k, batch, a, b, output, epilogue } = params;
  const count = batch[0] * batch[1];
  const stored = epilogue ? bytesMoved(epilogue, true) : count * m * n * bytesOf(output);
  const bytes = count * (m * k * bytesOf(a.dtype) + k * n * bytesOf(b.dtype)) + stored;
  return { flops: count * m * n * (2 * k + (epilogueOf(params, false)?.flops ?? 0)), bytes };
}
