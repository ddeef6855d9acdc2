import type { Target } from '../../gpu/device.ts';
import type { Dispatch } from '../../gpu/dispatch.ts';
import { read, storedType } from '../kernel.ts';
import { groupsOf, nf4, perWord } from '../quant/weights.ts';
import type { QuantizedWeight } from '../quant/weights.ts';
import { readingOfA, readingOfB } from './lanes.ts';
import { assembleMatmul, batchBases } from './product.ts';
import type { MatrixOperand, Product } from './product.ts';

/**
 * For products of one row, the next token's, or on GPUs of few, where columns of b lie along k. They are read
 * 16 bytes at a time and unpacked in registers; a weight's scale, and its zero or minimum, are met once a
 * group:
 *
 *     sum of (q - zero) * scale * a = scale * (sum of q * a - zero * sum of a)
 *
 * On GPUs neighbouring threads take neighbouring 16 bytes of a column, and add up in workgroup memory; as
 * many workgroups as there are columns for, no parts of k for another dispatch to add. Where rows of b lie
 * along n, as those of a Conv1D, neighbouring threads take neighbouring 16 bytes of four rows at once, and
 * threads beside them other rows. Not timed on one yet.
 *
 * On software drivers each of 8 lanes holds columns of its own, and multiplies by scalars of a. Measured on
 * llvmpipe (Mesa 26.1), 2 Zen 5 cores, weights as in Q4_1 with k = 576, from its machine code and samples: a
 * load of 8 lanes is a gather, some 24 cycles wherever its lanes point, and brings 64 weights; a scalar of a
 * is 4 cycles; fma is two instructions. From a cache the loop runs at 0.07 ns a weight. From memory it took
 * 0.39, as a gather that misses holds up all behind it: few misses are under way at once. So a loop of loads
 * alone, a line of 64 bytes a lane, goes before and takes the misses eight at a time: 0.19. Its sum is used
 * for nothing, which compilers must not know. Looking 64 bytes ahead in the loop took 0.29. Columns of a
 * lane: 2, 4, 8 in the cache 0.088, 0.073, 0.071. Bits masked where they lie, and a divided by as much, 0.9
 * of shifting them down; a column's products one after the other 1.15; two sums a column 1.0; scales of f16
 * loaded singly, which is lane by lane, 1.3. `lanes` is 1.7 times as slow in a step of SmolLM2-135M.
 */
export interface VectorTile {
  /** Threads that share a column, a power of two; 1 on software drivers, whose lanes have their own. */
  readonly threads: number;
  /**
   * Columns that a thread multiplies at once: they share what is loaded of a. Where rows of b lie along n,
   * those of 16 bytes.
   */
  readonly columns: number;
}

/** Bytes of a column that a lane fetches before they are multiplied; those of a tile fit a cache. */
const ahead = 1024;

/**
 * Elements of 16 bytes of b, which one load takes, and of a step of a thread along k, of few such loads;
 * undefined where k, or the groups of a quantized b, are no multiples of such a load.
 */
function chunksOf({ k, b: { dtype, quantized } }: Product, loads: number): { width: number; step: number } | undefined {
  const width = quantized ? 4 * perWord(quantized) : dtype === 'f16' ? 8 : 4;
  const { group = 64 } = quantized ?? {};
  const fits = (step: number): boolean => k % step === 0 && (group % step === 0 || step % group === 0);
  const step = [64, 32, 16, 8, 4].find((step) => step <= loads * width && step % width === 0 && fits(step));
  return step === undefined || group % width !== 0 ? undefined : { width, step };
}

/** Loads of a step: many where a thread walks along all of k. */
const loadsOf = ({ threads }: VectorTile): number => (threads === 1 ? 4 : 1);

/** Rows of a that are worth reading b for once, without a tile of workgroup memory. */
const mostRows = 8;

/** The tile of a product of few rows of a, one on software drivers; undefined for others. */
export function vectorTile(
  { software, gathers, units }: Pick<Target, 'software' | 'gathers' | 'units'>,
  params: Product,
): VectorTile | undefined {
  const { m, n, k, batch, a, b, sums } = params;
  if (m > (software ? 1 : mostRows) || sums || readingOfA(a) !== 'k4' || (software && !gathers)) return undefined;
  if (b.row !== 1) return software ? undefined : rowsTile(units, params);
  const chunks = chunksOf(params, 1);
  if (!chunks) return undefined;
  if (![b.offset, b.col, ...b.batch].every((value) => value % chunks.width === 0)) return undefined;
  if (software) return { threads: 1, columns: n >= 1024 ? 8 : 4 };
  const steps = k / chunks.step;
  const threads = [32, 16, 8].find((t) => steps >= 0.7 * t * Math.ceil(steps / t)) ?? 4;
  const fills = (columns: number): boolean => n * batch[0] * batch[1] * threads >= 2 * units * columns * workgroup;
  return { threads, columns: [4, 2].find(fills) ?? 1 };
}

/** Where rows of b lie along n: enough workgroups for the device, whose neighbours read 64 bytes or more. */
function rowsTile(units: number, { n, k, batch, b }: Product): VectorTile | undefined {
  const width = b.dtype === 'f16' ? 8 : 4;
  const isWhole = [n, b.offset, b.row, ...b.batch].every((value) => value % width === 0);
  if (b.quantized || readingOfB(b) !== 'n4' || !isWhole || k % 4 !== 0) return undefined;
  const groups = (threads: number): number => (n / width / (rowsWorkgroup / threads)) * batch[0] * batch[1];
  return { threads: [8, 16, 32].find((threads) => groups(threads) >= 2 * units) ?? 64, columns: width };
}

const workgroup = 64;
const rowsWorkgroup = 256;

const each = <T>(count: number, fn: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => fn(i));

export function matmulVector(params: Product, tiling: VectorTile): Dispatch {
  const { m, n, batch, a, b } = params;
  if (b.row !== 1) return matmulFewRows(params, tiling);
  const { threads, columns } = tiling;
  const { width, step } = chunksOf(params, loadsOf(tiling))!;
  const { quantized } = b;
  const chunks = step / width;
  const lanes = threads === 1 ? 8 : workgroup;
  const tile = (lanes / threads) * columns;
  const group = quantized ? Math.min(quantized.group, step) : step;
  const element = elementOf(b);
  const overColumns = (fn: (c: number) => string): string => each(columns, fn).join('\n');
  const overRows = (fn: (r: number) => string): string => each(m, fn).join('\n');
  const overBoth = (fn: (rc: string, c: number, r: number) => string): string =>
    overRows((r) => overColumns((c) => fn(`${r}_${c}`, c, r)));

  /** Binds x{i}, four elements of a row, and z{i}, what bits of b meet that are too large by powers of 16. */
  const vector = (i: number, r: number): string => `let x${i} = vec4<f32>(a[ax${r} + t * ${step / 4}u + ${i}u]);
let z${i} = x${i} * vec4<f32>(${each(4, (q) => `${16 ** -((4 * i + q) % 8)}`).join(', ')});`;
  const products = (i: number): string => {
    const read = (c: number, q: number) => element(`w${Math.floor((4 * i) / width)}_${c}`, (4 * i + q) % width);
    const add = (value: (c: number, q: number) => string, r: number): string =>
      each(4, (q) =>
        overColumns((c) => `s${r}_${c} = fma(${value(c, q)}, ${read(c, q).x ?? 'x'}${i}.${'xyzw'[q]}, s${r}_${c});`),
      ).join('\n');
    if (m === 1) return add((c, q) => read(c, q).value, 0);
    // Unpacked once for all rows, of which one is held at a time.
    const unpacked = each(4, (q) => overColumns((c) => `let v${q}_${c} = ${read(c, q).value};`)).join('\n');
    const sum = (r: number): string => (quantized ? `v${r} += x${i};` : '');
    return `{\n${unpacked}
${overRows((r) => `{\n${vector(i, r)}\n${sum(r)}\n${add((c, q) => `v${q}_${c}`, r)}\n}`)}\n}`;
  };
  const productsOf = (from: number): string => each(group / 4, (i) => products(from / 4 + i)).join('\n');
  /** The products of elements that share a scale, and of their sum, whose zero or minimum they share. */
  const scaled = (weight: QuantizedWeight, from: number): string => {
    const read = groupReader(weight, step, from);
    const all = each(group / 4, (i) => `x${from / 4 + i}`).join(' + ');
    return `{
${m === 1 ? `let v0 = ${all};` : overRows((r) => `var v${r} = vec4<f32>();`)}
${overBoth((rc) => `var s${rc} = 0.0;`)}
${productsOf(from)}
${overRows((r) => `let xs${r} = (v${r}.x + v${r}.y) + (v${r}.z + v${r}.w);\n${overColumns((c) => read(r, c))}`)}
}`;
  };
  const sums = quantized ? each(step / group, (g) => scaled(quantized, g * group)).join('\n') : productsOf(0);
  const sum = quantized ? 'acc' : 's';
  const stored = quantized?.scales === 'f16' ? 'u32' : 'f32';
  const perGroup = ['scales', ...(quantized?.zeros ? ['zeros'] : []), ...(quantized?.minimums ? ['minimums'] : [])];

  const totals = each(m * columns, (i) => `${sum}${Math.floor(i / columns)}_${i % columns}`);
  const load = (h: number, c: number): string => `let w${h}_${c} = b[at${c} + t * ${chunks}u + ${h}u];`;
  const body = `${each(chunks, (h) => overColumns((c) => load(h, c))).join('\n')}
${m === 1 ? each(step / 4, (i) => vector(i, 0)).join('\n') : ''}
${sums}`;

  return assembleMatmul(params, {
    name: `matmul.vector.${quantized ? `${quantized.codebook ?? `int${quantized.bits}`}` : b.dtype}`,
    inputs: [
      read('a', `vec4<${storedType(a.dtype)}>`),
      read('b', width === 4 ? 'vec4<f32>' : 'vec4<u32>'),
      ...(quantized ? perGroup.map((name) => read(name, stored)) : []),
    ],
    single: true,
    workgroup: lanes,
    groups: Math.ceil(n / tile) * batch[0] * batch[1],
    declarations: `${quantized?.codebook ? `const codebook = array<f32, 16>(${[...nf4].join(', ')});` : ''}
${threads > 1 ? `var<workgroup> shares: array<f32, ${m * columns * lanes}>;` : ''}`,
    body: `
let tiles = (p.n + ${tile - 1}u) / ${tile}u;
let z = group / tiles;
if (z >= p.batch) { return; }
${batchBases}
${rowsOfA(m)} let first = u32(bBase) / ${width}u; let pitch = u32(p.bc) / ${width}u;
let begins = (group % tiles) * ${tile}u + lane / ${threads}u; let member = lane % ${threads}u;
${overColumns((c) => `let col${c} = begins + ${(lanes / threads) * c}u; let j${c} = min(col${c}, p.n - 1u);`)}
${overColumns((c) => `let at${c} = first + j${c} * pitch;`)}
${overBoth((rc) => `var ${sum}${rc} = 0.0;`)}
${threads === 1 ? walkAhead(step, chunks, columns, body) : shareOut(step, threads, totals, body)}
if (member > 0u) { return; }
${overBoth((rc, c, r) => `if (col${c} < p.n) { finish(u32(cBase) + ${r}u * p.n + j${c}, j${c}, ${sum}${rc}); }`)}`,
  });
}

/** Emits where rows 0, 1, .. of a begin, in vec4s. */
const rowsOfA = (m: number): string => each(m, (r) => `let ax${r} = u32(aBase + ${r} * p.ar) / 4u;`).join(' ');

/** The same where rows of b lie along n. */
function matmulFewRows(params: Product, { threads, columns }: VectorTile): Dispatch {
  const { m, n, batch, a, b } = params;
  const across = rowsWorkgroup / threads;
  const tile = across * columns;
  const element = elementOf(b);
  const overColumns = (fn: (e: number) => string): string => each(columns, fn).join('\n');
  const overRows = (fn: (r: number) => string): string => each(m, fn).join('\n');
  const products = (q: number): string =>
    overColumns(
      (e) => `{ let v = ${element(`w${q}`, e).value};
${overRows((r) => `s${r}_${e} = fma(v, x${r}.${'xyzw'[q]}, s${r}_${e});`)} }`,
    );
  // The shares of a column are added up by several threads, then by one.
  const parts = Math.max(1, rowsWorkgroup / tile);
  const perPart = threads / parts;
  const finish = (r: number): string => `${r > 0 ? 'workgroupBarrier();' : ''}
${overColumns((e) => `shares[member * ${tile}u + place * ${columns}u + ${e}u] = s${r}_${e};`)}
workgroupBarrier();
var all${r} = 0.0;
if (lane < ${tile * parts}u) {
let part = (lane / ${tile}u) * ${perPart}u;
for (var i = part; i < part + ${perPart}u; i++) { all${r} += shares[i * ${tile}u + lane % ${tile}u]; }
}
${
  parts === 1
    ? ''
    : `workgroupBarrier();
shares[lane] = all${r};
workgroupBarrier();
all${r} = 0.0;
if (lane < ${tile}u) { for (var i = 0u; i < ${parts}u; i++) { all${r} += shares[i * ${tile}u + lane]; } }`
}
if (lane < ${tile}u && column < p.n) { finish(u32(cBase) + ${r}u * p.n + column, column, all${r}); }`;
  return assembleMatmul(params, {
    name: `matmul.vector.rows.${b.dtype}`,
    inputs: [read('a', `vec4<${storedType(a.dtype)}>`), read('b', columns === 4 ? 'vec4<f32>' : 'vec4<u32>')],
    single: true,
    workgroup: rowsWorkgroup,
    groups: Math.ceil(n / tile) * batch[0] * batch[1],
    declarations: `var<workgroup> shares: array<f32, ${rowsWorkgroup * columns}>;`,
    body: `
let tiles = (p.n + ${tile - 1}u) / ${tile}u;
let z = group / tiles;
if (z >= p.batch) { return; }
${batchBases}
${rowsOfA(m)}
let place = lane % ${across}u; let member = lane / ${across}u;
let column = (group % tiles) * ${tile}u + lane;
let pitch = u32(p.br) / ${columns}u;
let first = u32(bBase) / ${columns}u + min((group % tiles) * ${across}u + place, p.n / ${columns}u - 1u);
${overRows((r) => overColumns((e) => `var s${r}_${e} = 0.0;`))}
for (var t = member; t < p.k / 4u; t += ${threads}u) {
${each(4, (q) => `let w${q} = b[first + (4u * t + ${q}u) * pitch];`).join('\n')}
${overRows((r) => `let x${r} = vec4<f32>(a[ax${r} + t]);`)}
${each(4, products).join('\n')}
}
${overRows(finish)}`,
  });
}

/** Emits the loop of a lane along k, which fetches its columns before it multiplies. */
function walkAhead(step: number, chunks: number, columns: number, body: string): string {
  const [line, segment] = [Math.max(1, 4 / chunks), ahead / (16 * chunks)]; // steps of 64 bytes, and of `ahead`
  const fetch = each(columns, (c) => `seen |= bitcast<u32>(b[at${c} + t * ${chunks}u].x);`).join('\n');
  return `var seen = 0u;
let steps = p.k / ${step}u;
for (var begin = 0u; begin < steps; begin += ${segment}u) {
let end = min(begin + ${segment}u, steps);
for (var t = begin; t < end; t += ${line}u) {\n${fetch}\n}
for (var t = begin; t < end; t++) {\n${body}\n}
}
if (seen == 1u && p.k == 0u) { return; } // never`;
}

/** Emits the loop of a thread over its share of k, and the sums over the threads of a column, in a tree. */
function shareOut(step: number, threads: number, sums: readonly string[], body: string): string {
  const share = (i: number): string => `shares[${i * workgroup}u + lane]`;
  const add = (sum: string, i: number): string =>
    `${sum} += shares[${i * workgroup}u + lane + s]; ${share(i)} = ${sum};`;
  return `for (var t = member; t < p.k / ${step}u; t += ${threads}u) {\n${body}\n}
${sums.map((sum, i) => `${share(i)} = ${sum};`).join('\n')}
for (var s = ${threads / 2}u; s > 0u; s = s / 2u) {
workgroupBarrier();
if (member < s) {\n${sums.map(add).join('\n')}\n}
}`;
}

/**
 * Reads element e of the chunk of b in `w`. Of 4 bits most are left where they lie in their word, and meet
 * the number of a divided by as much (`z`), which is exact. Bytes are read 128 less.
 */
function elementOf({ dtype, quantized }: MatrixOperand): (w: string, e: number) => { value: string; x?: 'z' } {
  const part = (w: string, e: number, per: number): string => `${w}.${'xyzw'[Math.floor(e / per)]}`;
  if (!quantized && dtype === 'f32') return (w, e) => ({ value: part(w, e, 1) });
  if (!quantized) return (w, e) => ({ value: `unpack2x16float(${part(w, e, 2)}).${'xy'[e % 2]}` });
  if (quantized.bits === 8)
    return (w, e) => ({ value: `f32(bitcast<i32>((${part(w, e, 4)} ^ 0x80808080u) << ${24 - 8 * (e % 4)}u) >> 24u)` });
  return (w, e) => {
    const [word, q] = [part(w, e, 8), e % 8];
    if (quantized.codebook) return { value: `codebook[(${word} >> ${4 * q}u) & 15u]` };
    return q === 7
      ? { value: `f32(${word} >> 28u)` }
      : { value: `f32(bitcast<i32>(${word} & ${15 * 16 ** q}u))`, x: 'z' };
  };
}

/**
 * Emits what adds s{r}_{c}, the products of a group of row r and column c, and xs{r}, the sum of their a, to
 * acc{r}_{c}. Scales of f16 are read as pairs: of two groups, where a step has two, else for one of them.
 */
function groupReader(weight: QuantizedWeight, step: number, from: number): (r: number, c: number) => string {
  const { bits, group, scales, zeros, minimums, codebook } = weight;
  const groups = groupsOf(weight);
  const isPair = scales === 'f16' && step === 2 * group && groups % 2 === 0;
  const of = (name: string, c: number): string => {
    const at = group >= weight.inFeatures ? `j${c}` : `j${c} * ${groups}u + (t * ${step}u + ${from}u) / ${group}u`;
    if (isPair) return `unpack2x16float(${name}[j${c} * ${groups / 2}u + t]).${from === 0 ? 'x' : 'y'}`;
    return scales === 'f32' ? `${name}[${at}]` : `unpack2x16float(${name}[(${at}) / 2u] >> (16u * ((${at}) % 2u))).x`;
  };
  const less = bits === 8 ? 128 : 0;
  const middle = codebook || minimums ? 0 : bits === 8 ? 128 : 8;
  return (r, c) => {
    const [s, acc] = [`s${r}_${c}`, `acc${r}_${c}`];
    const zero = zeros ? `${less}.0 - ${of('zeros', c)}` : `${less - middle}.0`;
    const sum = zeros || less !== middle ? `fma(xs${r}, ${zero}, ${s})` : s;
    const least = minimums ? `fma(xs${r}, ${of('minimums', c)}, ${acc})` : acc;
    return `${acc} = fma(${sum}, ${of('scales', c)}, ${least});`;
  };
}
