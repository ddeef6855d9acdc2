import type { Dispatch } from '../../gpu/dispatch.ts';
import { read, write } from '../kernel.ts';
import type { Operand } from '../layout.ts';
import type { Elements } from '../map/elements.ts';
import { assembleMatmul } from '../matmul/product.ts';
import type { Product } from '../matmul/product.ts';
import { rowKernel } from '../rows.ts';
import type { RowKernel, RowTarget } from '../rows.ts';

export interface QuantizeRowsOperands {
  /** [rows, cols], cols a multiple of 4. */
  readonly x: Elements;
  /** u32 [rows, cols / 4]. */
  readonly bytes: Operand;
  /** f32 [rows]. */
  readonly steps: Operand;
}

/**
 * Quantizes rows to signed bytes, four to a word: q = round(x / step), with step = max |x| / 127 of the row,
 * or 1 for a row of zeros.
 */
export function quantizeRows({ x }: QuantizeRowsOperands, _: null, target: RowTarget): Dispatch {
  const spec: RowKernel = {
    name: 'quantizeRows',
    shape: x.shape,
    sources: { x },
    outputs: [write('bytes', 'u32'), write('steps', 'f32')],
    flops: 4,
    bytes: x.shape.at(-1)! + 4,
    repeated: ['x'],
    body: ({ each, of }) => `
var top = V(0);
${each(`top = max(top, abs(${of('x')}));`)}
let largest = maxRow(top);
let step = select(largest / 127.0, 1.0, largest == 0.0);
if (first == 0u) { steps[row] = step; }
${each(`bytes[row * cols + c] = pack4xI8Clamp(vec4<i32>(round(${of('x')} / step)));`)}`,
  };
  return rowKernel(spec, target);
}

/** Outputs of a thread along each side. */
const side = 4;
const workgroup = 64;

/**
 * Computes y[i, j] = a[i] . (b[j] - 128) * aScales[i] * scales[j] (+ bias[j]), its sums exact in i32. a is
 * u32 [m, k / 4] of signed bytes, b u32 [n, k / 4] of unsigned ones. A thread makes 4 x 4 outputs, four
 * products an instruction (dot4I8Packed) where the device has it. Bindings: a, aScales, b, scales, then as
 * every product.
 */
export function matmulInt8(params: Product): Dispatch {
  const { m, n, b } = params;
  const scales = b.quantized?.scales ?? 'f32';
  const sides = [0, 1, 2, 3];
  const startOf = (r: number): string => `
let ra${r} = min(row + ${r}u, p.m - 1u) * words;
let rb${r} = min(col + ${r}u, p.n - 1u) * words;
var c${r} = vec4<i32>();`;
  const addProducts = (r: number): string => `let a${r} = a[ra${r} + w];
  c${r} += vec4<i32>(${sides.map((e) => `dot4I8Packed(a${r}, b${e})`).join(', ')});`;
  const finishRow = (r: number): string => {
    const value = `vec4<f32>(c${r}) * (scale * aScales[row + ${r}u])`;
    return `if (row + ${r}u < p.m) { finishFour((row + ${r}u) * p.n + col, col, ${value}); }`;
  };
  return assembleMatmul(params, {
    name: 'matmul.int8',
    enables: ['requires packed_4x8_integer_dot_product;'],
    inputs: [read('a', 'u32'), read('aScales', 'f32'), read('b', 'u32'), read('scales', scales)],
    workgroup,
    groups: Math.ceil((Math.ceil(m / side) * Math.ceil(n / side)) / workgroup),
    body: `
let across = (p.n + ${side - 1}u) / ${side}u;
let row = id / across * ${side}u; let col = id % across * ${side}u;
if (row >= p.m) { return; }
let words = p.k / 4u;
${sides.map(startOf).join('\n')}
for (var w = 0u; w < words; w++) {
  // Weights are stored 128 above their value, as unsigned bytes: the top bit turns one into the other.
  ${sides.map((e) => `let b${e} = b[rb${e} + w] ^ 0x80808080u;`).join(' ')}
  ${sides.map(addProducts).join('\n')}
}
let scale = vec4<f32>(${sides.map((e) => `f32(scales[min(col + ${e}u, p.n - 1u)])`).join(', ')});
${sides.map(finishRow).join('\n')}`,
  });
}
