import { storedType } from '../kernel.ts';
import type { MatmulParams } from './params.ts';

/**
 * A second output of a product: the sums over k of the rows of a, [m], or of the columns of b, [n]. With dW =
 * g^T x these are the bias' gradient, from elements that the product reads anyway (one matrix only).
 */
export interface Sums {
  readonly of: 'a' | 'b';
  readonly dtype: 'f32' | 'f16';
}

/**
 * WGSL of `fn sumOverK(x)`: one sum, by walking along k in memory; for variants that hold no slab. `vector`:
 * the operand is bound as vec4.
 */
export function sumOverK({ sums }: MatmulParams, vector: boolean): string {
  if (!sums) return '';
  const [operand, stride, strideK] = sums.of === 'a' ? ['a', 'p.ar', 'p.ac'] : ['b', 'p.bc', 'p.br'];
  return `
fn sumOverK(x: u32) -> f32 {
  var sum = 0.0;
  for (var k = 0; k < i32(p.k); k++) {
    let at = p.${operand}o + i32(x) * ${stride} + k * ${strideK};
    sum += f32(${operand}${vector ? '[at / 4][at % 4]' : '[at]'});
  }
  return sum;
}`;
}

/**
 * WGSL that stores the sums of a tile of `tileM` x `tileN` outputs, by the tiles of the first column (or
 * row), with `sumOverK`. In scope: `lane`, `row0`, `col0`.
 */
export function storeSums({ sums }: MatmulParams, tileM: number, tileN: number, workgroup: number): string {
  if (!sums) return '';
  const [first, other, tile, limit] = sums.of === 'a' ? ['row0', 'col0', tileM, 'p.m'] : ['col0', 'row0', tileN, 'p.n'];
  return `
if (${other} == 0u) {
  for (var x = ${first} + lane; x < min(${first} + ${tile}u, ${limit}); x += ${workgroup}u) {
    sums[x] = ${storedType(sums.dtype)}(sumOverK(x));
  }
}`;
}
