import type { Cost } from '../../gpu/dispatch.ts';
import { bytesOf, i32, read, storedType, u32, write } from '../kernel.ts';
import type { Binding, Dtype, Param } from '../kernel.ts';

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
}

/** Bindings a, b, (bias,) c with the given element types of a, b and c. */
export function matmulBindings({ bias }: MatmulParams, a: string, b: string, c: string): Binding[] {
  return [read('a', a), read('b', b), ...(bias ? [read('bias', storedType(bias.dtype))] : []), write('c', c)];
}

/** Parameters that every variant reads: sizes, offsets and strides. */
export function matmulUniforms({ m, n, k, batch, a, b, bias }: MatmulParams): Record<string, Param> {
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
  };
}

/** WGSL: start of a batch's matrices, given `z`. */
export const batchBases = `
let z0 = i32(z / p.batch1); let z1 = i32(z % p.batch1);
let aBase = p.ao + z0 * p.a0 + z1 * p.a1;
let bBase = p.bo + z0 * p.b0 + z1 * p.b1;
let cBase = z * p.m * p.n;`;

export function matmulCost({ m, n, k, batch, a, b, output }: MatmulParams): Cost {
  const count = batch[0] * batch[1];
  const bytes = count * (m * k * bytesOf(a.dtype) + k * n * bytesOf(b.dtype) + m * n * bytesOf(output));
  return { flops: 2 * count * m * n * k, bytes };
}
