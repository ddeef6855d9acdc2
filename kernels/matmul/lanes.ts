import type { Dispatch } from '../../gpu/dispatch.ts';
import { quad, read, storedType } from '../kernel.ts';
import { quantizedBindings } from '../quant/weights.ts';
import { batchBases, assembleMatmul, storeSums, sumOverK, vec4 } from './product.ts';
import type { Product, MatrixOperand } from './product.ts';

/**
 * For devices whose subgroup is a CPU's vector unit. A workgroup is one subgroup of 8 lanes, without
 * workgroup memory. All lanes share the rows of a, and each holds groups of 4 columns beside those of its
 * neighbours: b is read in runs of 32 columns, a as scalars broadcast to the lanes.
 *
 * Measured on llvmpipe (Mesa 26), 2 cores that other work shared, GFLOP/s at 512^3 f32: rows x vec4 groups
 * 4x1 6.8, 8x1 9.7, 8x2 14.8, 16x1 15.8, 16x2 12.7-22.7, 16x4 25.3 (but too coarse a tile for narrow
 * outputs), 32x2 14.7; columns held as 4 scalars instead of a vec4 8x4 10-11, 32x4 18; workgroup-memory tiles
 * 1-3. Then for 16x2: all four k of a step for one accumulator before the next, 1.2 to 1.8 times as fast as
 * all accumulators for one k; neighbouring workgroups share columns, not rows, so that b's columns stay in
 * the cache (1024x1536x384: 11.6 instead of 5.8); b transposed in registers instead of copied first (k4), a
 * training step of a 2 x 128 BERT 1.25 times as fast. Mesa 25.0 with LLVM 15 compiles 16 rows for 14 to 24
 * s, 8 for 3 to 8, 4 for 2, and they are equally fast there: 6 to 12 GFLOP/s at 96x128x512.
 */
const lanes = 8;
const groupsPerLane = 2;
export type LanesRows = 4 | 16;

/** Loads of an operand: a vec4 along the named axis, or one element at a time through its strides. */
export type Reading = 'k4' | 'm4' | 'n4' | 'scalar';

const aligned = ({ offset, batch }: MatrixOperand, stride: number): boolean =>
  [offset, stride, ...batch].every((value) => value % 4 === 0);

export function readingOfA(a: MatrixOperand): Reading {
  if (a.col === 1 && aligned(a, a.row)) return 'k4';
  return a.row === 1 && aligned(a, a.col) ? 'm4' : 'scalar';
}

export function readingOfB(b: MatrixOperand): Reading {
  if (b.col === 1 && aligned(b, b.row)) return 'n4';
  return b.row === 1 && aligned(b, b.col) ? 'k4' : 'scalar';
}

/** `most`: rows that a workgroup holds, fewer where the product has few. */
export function matmulLanes(params: Product, most: LanesRows): Dispatch {
  const { m, n, batch, a, b } = params;
  const rows = m > 2 ? Math.min(m > 8 ? 16 : 8, most) : 1;
  const columns = lanes * groupsPerLane * 4;
  const aReading = m % rows === 0 || readingOfA(a) !== 'm4' ? readingOfA(a) : 'scalar';
  const bReading = readingOfB(b);
  const tilesM = Math.ceil(m / rows);
  const tilesN = Math.ceil(n / columns);
  const each = <T>(count: number, fn: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => fn(i));

  /** Emits the values of a for `rows` rows at k + q. */
  const loadA = (q: number): string => {
    if (aReading === 'k4') return '';
    if (aReading === 'm4') {
      return each(
        rows / 4,
        (r) => `let a${q}_${r} = vec4<f32>(a[${quad(`aBase + i32(row0) + ${4 * r} + (k + ${q}) * p.ac`)}]);`,
      ).join('\n');
    }
    return each(
      rows,
      (r) => `let a${q}_${r} = f32(a[aBase + i32(min(row0 + ${r}u, p.m - 1u)) * p.ar + (k + ${q}) * p.ac]);`,
    ).join('\n');
  };
  const valueA = (r: number, q: number): string => {
    if (aReading === 'k4') return `a${r}.${'xyzw'[q]}`;
    return aReading === 'm4' ? `a${q}_${Math.floor(r / 4)}.${'xyzw'[r % 4]}` : `a${q}_${r}`;
  };
  /** Emits the index in b of column e of the lane's group g, at k. */
  const placeB = (g: number, e: number): string => `bBase + (i32(col) + ${g * lanes * 4 + e}) * p.bc + k`;
  /** Emits the same of a quantized weight, contiguous along the outputs or along k, a multiple of 4 then. */
  const loadQuantized = (g: number, depth: number): string => {
    const j = `col + ${g * lanes * 4}u`;
    if (b.row !== 1) return each(depth, (q) => `let b${q}_${g} = quad(u32(k + ${q}), ${j});`).join('\n');
    if (depth === 1) return `let b0_${g} = vec4<f32>();`;
    const rowsOfB = each(4, (e) => `let w${e}_${g} = quad(${j} + ${e}u, u32(k));`);
    return [...rowsOfB, ...transposed(g)].join('\n');
  };
  /**
   * Emits the transpose of four rows w. Swizzles cost nothing here, where the lanes are a vector's elements.
   */
  const transposed = (g: number): string[] =>
    each(4, (q) => `let b${q}_${g} = vec4<f32>(${each(4, (e) => `w${e}_${g}.${'xyzw'[q]}`).join(', ')});`);
  /** Emits 4 columns of b for k, ..., k + depth - 1. */
  const loadB = (g: number, depth: number): string => {
    const bind = (q: number, value: string): string => `let b${q}_${g} = ${value};`;
    if (b.quantized) return loadQuantized(g, depth);
    if (bReading === 'n4') {
      return each(depth, (q) =>
        bind(q, `vec4<f32>(b[${quad(`bBase + (k + ${q}) * p.br + i32(col) + ${g * lanes * 4}`)}])`),
      ).join('\n');
    }
    if (bReading === 'k4' && depth === 4) {
      const rowsOfB = each(4, (e) => `let w${e}_${g} = vec4<f32>(b[${quad(placeB(g, e))}]);`);
      return [...rowsOfB, ...transposed(g)].join('\n');
    }
    const element = (q: number) => (e: number) =>
      bReading === 'k4'
        ? `f32(b[${quad(`${placeB(g, e)} + ${q}`)}][(${placeB(g, e)} + ${q}) & 3])`
        : `f32(b[bBase + (k + ${q}) * p.br + (i32(col) + ${g * lanes * 4 + e}) * p.bc])`;
    return each(depth, (q) => bind(q, `vec4<f32>(${each(4, element(q)).join(', ')})`)).join('\n');
  };
  /**
   * Emits `depth` steps along k, all loads first: each accumulator stays in a register for `depth` products.
   */
  const steps = (depth: number): string => {
    const loads = [...each(depth, loadA), ...each(groupsPerLane, (g) => loadB(g, depth))];
    const product = (r: number, g: number) => (q: number) =>
      `c${r}_${g} = fma(vec4<f32>(${valueA(r, q)}), b${q}_${g}, c${r}_${g});`;
    const products = each(rows, (r) => each(groupsPerLane, (g) => each(depth, product(r, g)).join(' ')).join('\n'));
    return [...loads, ...products].join('\n');
  };

  const store = (r: number, g: number): string => {
    const j = `col + ${g * lanes * 4}u`;
    const call = `finishFour(cBase + (row0 + ${r}u) * p.n + ${j}, ${j}, c${r}_${g});`;
    return m % rows === 0 ? call : `if (row0 + ${r}u < p.m) { ${call} }`;
  };
  const fourRows = each(
    rows,
    (r) => `let a${r} = vec4<f32>(a[${quad(`aBase + i32(min(row0 + ${r}u, p.m - 1u)) * p.ar + k`)}]);`,
  ).join('\n');

  // Before the products: behind them, llvmpipe (Mesa 26.1, LLVM 21) loses an accumulator of f16 products
  // whose k is above 28 and no multiple of 4; its outputs were NaN.
  const sums = storeSums(params, rows, columns, lanes);

  return assembleMatmul(params, {
    name: `matmul.lanes.${aReading}.${bReading}`,
    inputs: [
      read('a', vec4(aReading !== 'scalar', storedType(a.dtype))),
      ...(b.quantized ? quantizedBindings(b.quantized) : [read('b', vec4(bReading !== 'scalar', storedType(b.dtype)))]),
    ],
    workgroup: lanes,
    groups: tilesM * tilesN * batch[0] * batch[1],
    declarations: sumOverK(params, (params.sums?.of === 'a' ? aReading : bReading) !== 'scalar'),
    body: `
let tilesN = (p.n + ${columns - 1}u) / ${columns}u;
let tilesM = (p.m + ${rows - 1}u) / ${rows}u;
let z = group / (tilesN * tilesM);
if (z >= p.batch) { return; }
let row0 = (group % tilesM) * ${rows}u;
let col0 = ((group / tilesM) % tilesN) * ${columns}u; let col = col0 + lane * 4u;
${batchBases}
${sums}
${each(rows, (r) => each(groupsPerLane, (g) => `var c${r}_${g} = vec4<f32>();`).join(' ')).join('\n')}
var k = 0;
for (; k + 4 <= i32(p.k); k += 4) {
${aReading === 'k4' ? fourRows : ''}
${steps(4)}
}
for (; k < i32(p.k); k++) {
${aReading === 'k4' ? tailRows(rows) : ''}
${steps(1)}
}
${each(rows, (r) => each(groupsPerLane, (g) => store(r, g)).join('\n')).join('\n')}`,
  });
}

/**
 * Emits the value at k of each row, a component of the vec4 that holds it, for a k that is no multiple of 4.
 */
function tailRows(rows: number): string {
  const tail = (r: number): string => `let w${r} = aBase + i32(min(row0 + ${r}u, p.m - 1u)) * p.ar + k;
let a${r} = vec4<f32>(f32(a[${quad(`w${r}`)}][w${r} & 3]));`;
  return Array.from({ length: rows }, (_, r) => tail(r)).join('\n');
}
