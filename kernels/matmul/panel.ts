import type { Target } from '../../gpu/device.ts';
import type { Dispatch } from '../../gpu/dispatch.ts';
import { quad, read, storedType } from '../kernel.ts';
import { readingOfA, readingOfB } from './lanes.ts';
import { assembleMatmul, batchBases, vec4 } from './product.ts';
import type { Product } from './product.ts';

/**
 * For software drivers and large products in f32. A workgroup of 8 lanes loads a panel of b, up to 96 of k
 * by 64 columns, once, and multiplies it by many rows of a: the panel is written out as 768 values of the
 * loop over rows. Where k has several panels, the sums of the rows wait in workgroup memory, each read by
 * the lane that wrote it. Sums over k (`Product.sums`) are left to `packRows`, which such products want of an
 * a that lies by columns: 1.25 to 1.5 times as fast as to read it so.
 *
 * What llvmpipe (Mesa 26.2, LLVM 22) makes of it, read from its machine code and sampled, on Zen 5: fma with
 * the panel on the stack as its operand, of which registers alone do 113 GFLOP/s a core, with 8 accumulators
 * 88; loads of neighbours are gathers (vpgatherdd, some 40 operations, as scatters are), so that 8 sums to
 * and from workgroup memory cost 217 cycles where 512 products cost 256; a scalar of a is 12 instructions,
 * its bounds check most of them. So each column has two accumulators; long panels pay; and a store to y in
 * the loop over rows waits for memory, which a loop of its own overlaps (k of 128 in one panel: 37 stored at
 * once, 46 by way of workgroup memory).
 *
 * GFLOP/s a core at 2048x384x384, k contiguous in both, on a busy machine: panels of 64 of k 46, of 96 51, of
 * 128 54, of 192 54; kernels take 0.33, 0.7, 1.8 s to compile: 96. Also tried: two rows at once 1.0; branches
 * for the first and the last panel 0.95; 128 columns 1.1 (compiles as 128 of k); 32 columns 0.85; a's rows
 * spread over the lanes and broadcast 0.4-0.6; index bits masked so that no sign is tested 1.0. `lanes` is
 * 1.4 to 1.8 times as slow as 64 of k. Not for Mesa 25.0, which has no gathers: 47 s to compile.
 */
const lanes = 8;
const columns = 64;
const groups = columns / (lanes * 4);
const mostRows = 128;
const mostDepth = 96;
const leastDepth = 32;

/** Workgroups that a driver's threads share out evenly. */
const enough = 8;

/** The length of a panel along k, which divides k; undefined where none of a useful length does. */
function depthOf(k: number): number | undefined {
  for (let depth = mostDepth; depth >= leastDepth; depth -= 4) if (k % depth === 0) return depth;
  return undefined;
}

/** Whether one panel holds all of k, and its sums are stored as they are made. */
const isWhole = (k: number, depth: number): boolean => k === depth && depth <= 64;

/** The rows of a workgroup: many, since they share the panel, but so that there are enough workgroups. */
function rowsOf({ m, n, batch }: Product): number {
  const across = Math.ceil(n / columns) * batch[0] * batch[1];
  return [mostRows, mostRows / 2].find((rows) => Math.ceil(m / rows) * across >= enough) ?? mostRows / 4;
}

/** Whether this variant computes a product, and is worth its compilation, up to twice that of `lanes`. */
export function panelFits(
  { gathers, workgroupMemory }: Pick<Target, 'gathers' | 'workgroupMemory'>,
  { m, n, k, batch, a, b, sums }: Product,
): boolean {
  const depth = depthOf(k);
  if (!gathers || sums || depth === undefined || a.dtype !== 'f32' || b.dtype !== 'f32' || b.quantized) return false;
  if (m < 32 || Math.ceil(n / columns) * columns > 1.25 * n || batch[0] * batch[1] * m * n * k < 2 ** 20) return false;
  return readingOfB(b) !== 'scalar' && (isWhole(k, depth) || workgroupMemory >= 4 * mostRows * columns);
}

export function matmulPanel(params: Product): Dispatch {
  const { m, n, k, batch, a, b } = params;
  const depth = depthOf(k)!;
  const rows = rowsOf(params);
  const whole = isWhole(k, depth);
  const aReading = readingOfA(a) === 'k4' ? 'k4' : 'scalar';
  const bReading = readingOfB(b);
  const each = (count: number, fn: (i: number) => string, between = '\n'): string =>
    Array.from({ length: count }, (_, i) => fn(i)).join(between);
  const columnsOf = (fn: (g: number) => string): string => each(groups, fn);

  /** Binds b{q}_{g}, the vec4 of a lane's group g of columns at k0 + q. */
  const panel =
    bReading === 'n4'
      ? `let first = ${quad('bBase + i32(col)')}; let pitch = ${quad('p.br')};
${each(depth, (q) => columnsOf((g) => `let b${q}_${g} = vec4<f32>(b[first + (k0 + ${q}) * pitch + ${g * lanes}]);`))}`
      : columnsOf((g) =>
          [
            // Four columns of four k each, transposed in registers.
            each(4, (e) => `let at${g}_${e} = ${quad(`bBase + (i32(col) + ${g * lanes * 4 + e}) * p.bc + k0`)};`),
            each(depth / 4, (h) =>
              [
                each(4, (e) => `let w${h}_${g}_${e} = vec4<f32>(b[at${g}_${e} + ${h}]);`),
                each(4, (q) => {
                  const column = each(4, (e) => `w${h}_${g}_${e}.${'xyzw'[q]}`, ', ');
                  return `let b${4 * h + q}_${g} = vec4<f32>(${column});`;
                }),
              ].join('\n'),
            ),
          ].join('\n'),
        );
  const scalars = (h: number): string =>
    aReading === 'k4'
      ? `let a${h} = vec4<f32>(a[at / 4 + ${h}]);`
      : `let a${h} = vec4<f32>(${each(4, (q) => `f32(a[at + ${4 * h + q} * p.ac])`, ', ')});`;
  const products = each(depth / 4, (h) =>
    [
      scalars(h),
      each(4, (q) =>
        columnsOf((g) => {
          const c = `${'cd'[q % 2]}${g}`;
          return `${c} = fma(vec4<f32>(a${h}.${'xyzw'[q]}), b${4 * h + q}_${g}, ${c});`;
        }),
      ),
    ].join('\n'),
  );
  const finish = (value: (g: number) => string): string =>
    columnsOf((g) => {
      const j = `col + ${g * lanes * 4}u`;
      return `finishFour(cBase + (row0 + i) * p.n + ${j}, ${j}, ${value(g)});`;
    });
  const sumOf = (g: number): string => `sum[i * ${columns / 4}u + ${g * lanes}u + lane]`;
  const overRows = (body: string): string => `for (var i = 0u; i < rows; i++) {\n${body}\n}`;
  const multiply = overRows(`let at = aBase + i32(row0 + i) * p.ar + k0 * p.ac;
${columnsOf((g) => `var c${g} = ${whole ? 'vec4<f32>()' : sumOf(g)}; var d${g} = vec4<f32>();`)}
${products}
${whole ? finish((g) => `c${g} + d${g}`) : columnsOf((g) => `${sumOf(g)} = c${g} + d${g};`)}`);

  return assembleMatmul(params, {
    name: `matmul.panel.${aReading}.${bReading}`,
    inputs: [read('a', vec4(aReading === 'k4', storedType(a.dtype))), read('b', vec4(true, storedType(b.dtype)))],
    workgroup: lanes,
    groups: Math.ceil(m / rows) * Math.ceil(n / columns) * batch[0] * batch[1],
    declarations: whole ? '' : `var<workgroup> sum: array<vec4<f32>, ${(rows * columns) / 4}>; // zeros`,
    body: `
let tilesN = (p.n + ${columns - 1}u) / ${columns}u;
let tilesM = (p.m + ${rows - 1}u) / ${rows}u;
let z = group / (tilesN * tilesM);
if (z >= p.batch) { return; }
let row0 = (group % tilesM) * ${rows}u; let rows = min(p.m - row0, ${rows}u);
let col0 = ((group / tilesM) % tilesN) * ${columns}u; let col = col0 + lane * 4u;
${batchBases}
${
  whole
    ? `let k0 = 0;\n${panel}\n${multiply}`
    : `for (var k0 = 0; k0 < i32(p.k); k0 += ${depth}) {\n${panel}\n${multiply}\n}\n${overRows(finish(sumOf))}`
}`,
  });
}
