import type { Dispatch } from '../../gpu/dispatch.ts';
import { i32, kernel, read, u32, write } from '../kernel.ts';
import type { Operand } from '../layout.ts';
import { readingOfA } from './lanes.ts';
import type { Product } from './product.ts';

const lanes = 8;

/**
 * The distance of rows of `k` numbers that `packRows` writes: 64 bytes more, since rows that are a power of
 * two apart share few places of a processor's cache.
 */
export const packedPitch = (k: number): number => k + 16;

/** Whether the left operand of a product is one that `packRows` reads, and the copy worth it. */
export const canPackRows = ({ a, m, n, k, batch }: Product): boolean =>
  a.dtype === 'f32' && readingOfA(a) === 'm4' && m % 4 === 0 && k % 4 === 0 && n >= 128 && batch[0] * batch[1] === 1;

/**
 * Copies a matrix a [m, k] in f32 that lies by columns into rows, and adds these up into `sums` [m]. For
 * software drivers, as `panel` is: a lane takes whole rows, four side by side and transposed in registers,
 * so that no index is divided, which costs a lane as much as twenty products. Of a large matrix a workgroup
 * reads 512 bytes at once: its columns lie in pages of their own.
 *
 * Measured on llvmpipe (Mesa 26.2) on a busy machine, processor time of 2048 x 1536: 12.7 ms with 128 bytes
 * at once, the copy of an elementwise kernel 16.4 ms and the sums apart 9.9 ms.
 */
export function packRows({ a, packed, sums }: { a: Operand; packed: Operand; sums?: Operand }): Dispatch {
  const [m, k] = a.shape as [number, number];
  const wide = m >= 1024 && m % (16 * lanes) === 0 ? 4 : 1;
  const list = (count: number, fn: (i: number) => string): string[] => Array.from({ length: count }, (_, i) => fn(i));
  const each = (count: number, fn: (i: number) => string): string => list(count, fn).join('\n');
  const overWide = (fn: (g: number) => string): string => each(wide, fn);
  /** The vec4s of `first` and the lane's g-th four rows, and the first of these rows. */
  const four = (g: number): string => `(first + ${g * lanes}u)`;
  const store = (g: number) => (e: number) => {
    const column = list(4, (q) => `v${g}_${q}.${'xyzw'[e]}`);
    return `packed[(4u * ${four(g)} + ${e}u) * p.pitch + k] = vec4<f32>(${column.join(', ')});`;
  };
  return kernel({
    name: 'matmul.pack',
    bindings: [read('a', 'vec4<f32>'), write('packed', 'vec4<f32>'), ...(sums ? [write('sums', 'vec4<f32>')] : [])],
    params: {
      m: u32(m / 4),
      k: u32(k / 4),
      first: i32(a.offset / 4),
      step: i32(a.strides[1]! / 4),
      pitch: u32(packed.strides[0]! / 4),
    },
    workgroup: lanes,
    groups: Math.ceil(m / (4 * lanes * wide)),
    cost: { flops: sums ? m * k : 0, bytes: 8 * m * k },
    body: `
let first = group * ${lanes * wide}u + lane;
if (first >= p.m) { return; }
${sums ? overWide((g) => `var sum${g} = vec4<f32>();`) : ''}
for (var k = 0u; k < p.k; k++) {
let at = p.first + i32(first) + 4 * i32(k) * p.step;
${each(4, (q) => overWide((g) => `let v${g}_${q} = a[at + ${q} * p.step + ${g * lanes}];`))}
${overWide((g) => each(4, store(g)))}
${sums ? overWide((g) => `sum${g} += (v${g}_0 + v${g}_1) + (v${g}_2 + v${g}_3);`) : ''}
}
${sums ? overWide((g) => `sums[${four(g)}] = sum${g};`) : ''}`,
  });
}
