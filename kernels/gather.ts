import type { Dispatch } from '../gpu/dispatch.ts';
import { bytesOf, computeType, i32, kernel, read, storedType, u32, write } from './kernel.ts';
import type { Dtype } from './kernel.ts';
import { linesOf, sizeOf } from './layout.ts';
import type { Operand } from './layout.ts';
import { aliases, bytesMoved, declare, storeElements } from './map/elements.ts';
import type { Elements } from './map/elements.ts';

const workgroup = 64;

/**
 * Emits the value for an index outside of the table: NaN, so that the mistake is seen; the largest integer;
 * true.
 */
function poison(dtype: Dtype): string {
  if (dtype === 'bool') return '1u';
  return { f32: 'bitcast<f32>(bits)', i32: 'i32(0x7fffffff)', u32: '0xffffffffu' }[computeType(dtype)];
}

/** The part of a large table that is bound. Other dispatches do the other rows. */
export interface RowBound {
  /** Number of the first bound row in the whole table. */
  readonly first: number;
  /** Rows of the whole table. */
  readonly rows: number;
}

export interface GatherRowsOperands {
  /** [rows, cols], row-major. */
  readonly table: Operand;
  /** i32, row-major. */
  readonly index: Operand;
  /** Stores the rows, [..., cols]. */
  readonly y: Elements;
}

/**
 * Computes y[i, :] = table[index[i], :]; NaN for an index that names no row. Negative indices count from the
 * end where `wraps`, else they name none.
 */
export function gatherRows(
  { table, index, y }: GatherRowsOperands,
  { wraps, bound }: { readonly wraps: boolean; readonly bound?: RowBound },
): Dispatch {
  const { dtype, offset } = table;
  const [own, cols] = table.shape as [number, number];
  const { first, rows } = bound ?? { first: 0, rows: own };
  const count = sizeOf(index.shape);
  const width = cols % 4 === 0 && offset % 4 === 0 ? 4 : 1;
  const type = width === 4 ? `vec4<${storedType(dtype)}>` : storedType(dtype);
  const threads = (count * cols) / width;
  const sink = storeElements('put', y, { width, prefix: 'y_', by: 'row', carries: true });
  return kernel({
    name: 'gatherRows',
    bindings: [read('table', type), read('index', 'i32'), ...sink.operands, ...sink.outputs],
    declarations: `${aliases(y.compute, width)}\n${declare(sink)}`,
    params: {
      ...sink.params,
      n: u32(threads),
      rows: i32(rows),
      back: i32(wraps ? rows : 0),
      first: i32(first),
      bound: i32(own),
      cols: u32(cols / width),
      to: u32(offset / width),
      io: u32(index.offset),
    },
    workgroup,
    groups: Math.ceil(threads / workgroup),
    cost: { flops: count * cols * sink.flops, bytes: count * cols * bytesOf(dtype) + bytesMoved(y, true) + count * 4 },
    body: `
if (id >= p.n) { return; }
let i = id / p.cols;
let at = index[p.io + i];
let row = select(at, at + p.back, at < 0);
let own = row - p.first;
let known = row >= 0 && row < p.rows;
if (known && (own < 0 || own >= p.bound)) { return; }
var bits = 0x7fc00000u;
var value = V(${poison(dtype)});
if (known) { value = V(table[p.to + u32(own) * p.cols + id % p.cols]); }
put(i, id % p.cols, value);`,
  });
}

/**
 * Chains the places i that name the same row. links[i] is [first, next]: first is 1 where no earlier place
 * names the row, next is the next place that does, or -1. Ignored and invalid indices are in no chain. Takes
 * count^2 comparisons of integers, which is little beside the rows themselves.
 */
export function linkOccurrences(
  { index }: { readonly index: Operand; readonly links: Operand },
  { rows, wraps, ignore }: { readonly rows: number; readonly wraps: boolean; readonly ignore: number },
): Dispatch {
  const count = sizeOf(index.shape);
  return kernel({
    name: 'linkOccurrences',
    bindings: [read('index', 'i32'), write('links', 'vec2<i32>')],
    params: {
      n: u32(count),
      rows: i32(rows),
      back: i32(wraps ? rows : 0),
      io: u32(index.offset),
      ignore: i32(ignore),
    },
    workgroup,
    groups: Math.ceil(count / workgroup),
    cost: { flops: count * count, bytes: count * 12 },
    body: `
if (id >= p.n) { return; }
let own = index[p.io + id];
if (own == p.ignore || own < -p.back || own >= p.rows) { links[id] = vec2<i32>(0, -1); return; }
let row = select(own, own + p.back, own < 0);
var first = 1;
for (var j = 0u; j < id; j++) {
  let other = index[p.io + j];
  if (other == row || other == row - p.back) { first = 0; break; }
}
var next = -1;
for (var j = id + 1u; j < p.n; j++) {
  let other = index[p.io + j];
  if (other == row || other == row - p.back) { next = i32(j); break; }
}
links[id] = vec2<i32>(first, next);`,
  });
}

export interface ScatterAddRowsOperands {
  /** [count, cols], row-major. */
  readonly x: Operand;
  /** i32 [count], row-major. */
  readonly index: Operand;
  /** i32 [count, 2], from `linkOccurrences`. */
  readonly links: Operand;
  /** [rows, cols], filled with zeros, or what is added to. */
  readonly y: Operand;
}

/**
 * Computes y[index[i], :] += x[i, :] into zeros, the adjoint of `gatherRows`. The first place of each chain
 * adds up the chain in order: WGSL has no float atomics, and their order would change from run to run. Where
 * only a part of a large x is bound, `begin` is its first row, and y holds the sums of the rows before it.
 * `onto`: the sums are added to what y held.
 */
export function scatterAddRows(
  { x, index, y }: ScatterAddRowsOperands,
  { bound, begin = 0, onto = false }: { readonly bound?: RowBound; readonly begin?: number; readonly onto?: boolean },
): Dispatch {
  const { dtype, offset } = x;
  const [own, cols] = y.shape as [number, number];
  const { first, rows } = bound ?? { first: 0, rows: own };
  const count = sizeOf(index.shape);
  const terms = sizeOf(x.shape) / cols;
  const width = cols % 4 === 0 && offset % 4 === 0 ? 4 : 1;
  const type = width === 4 ? `vec4<${storedType(dtype)}>` : storedType(dtype);
  const sum = width === 4 ? `vec4<${computeType(dtype)}>` : computeType(dtype);
  const threads = (count * cols) / width;
  return kernel({
    name: 'scatterAddRows',
    bindings: [read('x', type), read('index', 'i32'), read('links', 'vec2<i32>'), write('y', type)],
    params: {
      n: u32(threads),
      rows: i32(rows),
      first: i32(first),
      bound: i32(own),
      cols: u32(cols / width),
      xo: u32(offset / width),
      begin: i32(begin),
      end: i32(begin + terms),
      io: u32(index.offset),
    },
    workgroup,
    groups: Math.ceil(threads / workgroup),
    cost: { flops: count * cols, bytes: 2 * count * cols * bytesOf(dtype) },
    body: `
if (id >= p.n) { return; }
let i = id / p.cols;
let c = id % p.cols;
if (links[i].x == 0) { return; }
let at = index[p.io + i];
let row = select(at, at + p.rows, at < 0) - p.first;
if (row < 0 || row >= p.bound) { return; }
let place = u32(row) * p.cols + c;
var total = ${sum}(0);
if (p.begin > 0) { total = ${sum}(y[place]); }
for (var j = i32(i); j >= 0 && j < p.end; j = links[j].y) {
  if (j >= p.begin) { total += ${sum}(x[p.xo + u32(j - p.begin) * p.cols + c]); }
}
y[place] = ${type}(total${onto ? ` + select(${sum}(0), ${sum}(y[place]), p.begin == 0)` : ''});`,
  });
}

// Along an axis

/** Row-major tensors that differ in the length of one axis only; index is i32. */
export interface AxisOperands {
  readonly x: Operand;
  readonly index: Operand;
  readonly y: Operand;
}

/**
 * `length` and `count` are the lengths of the axis in the tensor that the indices point into and in `index`.
 */
function axisParams(length: number, count: number, inner: number, threads: number, { x, index }: AxisOperands) {
  return {
    n: u32(threads),
    length: i32(length),
    count: u32(count),
    inner: u32(inner),
    xo: u32(x.offset),
    io: u32(index.offset),
  };
}

/** Computes y[o, j, i] = x[o, index[o, j, i], i]; negative indices count from the end (torch.gather). */
export function gatherAxis(operands: AxisOperands, { axis }: { readonly axis: number }): Dispatch {
  const { dtype, shape } = operands.x;
  const { length: count, inner, outer } = linesOf(operands.index.shape, axis);
  const threads = outer * count * inner;
  const type = storedType(dtype);
  return kernel({
    name: 'gatherAxis',
    bindings: [read('x', type), read('index', 'i32'), write('y', type)],
    params: axisParams(shape[axis]!, count, inner, threads, operands),
    workgroup,
    groups: Math.ceil(threads / workgroup),
    cost: { flops: 0, bytes: threads * (2 * bytesOf(dtype) + 4) },
    body: `
if (id >= p.n) { return; }
let at = index[p.io + id];
let l = select(at, at + p.length, at < 0);
if (l < 0 || l >= p.length) { var bits = 0x7fc00000u; y[id] = ${type}(${poison(dtype)}); return; }
let o = id / (p.count * p.inner);
y[id] = x[p.xo + (o * u32(p.length) + u32(l)) * p.inner + id % p.inner];`,
  });
}

/**
 * Computes y[o, l, i] = sum of x[o, j, i] over the j with index[o, j, i] = l (torch.scatter_add into zeros).
 * Each output finds its own terms, in order, so that the result is the same on every run. An index that names
 * no place spoils its whole line: the term would be lost without a word.
 */
export function scatterAddAxis(operands: AxisOperands, { axis }: { readonly axis: number }): Dispatch {
  const { dtype } = operands.x;
  const { outer, length, inner } = linesOf(operands.y.shape, axis);
  const count = operands.index.shape[axis]!;
  const threads = outer * length * inner;
  const type = storedType(dtype);
  return kernel({
    name: 'scatterAddAxis',
    bindings: [read('x', type), read('index', 'i32'), write('y', type)],
    params: axisParams(length, count, inner, threads, operands),
    workgroup,
    groups: Math.ceil(threads / workgroup),
    cost: { flops: threads * count, bytes: threads * bytesOf(dtype) + outer * count * inner * (bytesOf(dtype) + 4) },
    body: `
if (id >= p.n) { return; }
let inner = id % p.inner;
let l = i32((id / p.inner) % u32(p.length));
let base = (id / (p.inner * u32(p.length))) * p.count * p.inner + inner;
var total = ${computeType(dtype)}(0);
var lost = false;
for (var j = 0u; j < p.count; j++) {
  let at = index[p.io + base + j * p.inner];
  if (at == l || at == l - p.length) { total += ${computeType(dtype)}(x[p.xo + base + j * p.inner]); }
  lost = lost || at < -p.length || at >= p.length;
}
var bits = 0x7fc00000u;
if (lost) { total = ${poison(dtype)}; }
y[id] = ${dtype === 'bool' ? 'min(total, 1u)' : `${type}(total)`};`,
  });
}
