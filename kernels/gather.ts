import type { Dispatch } from '../gpu/dispatch.ts';
import { bytesOf, computeType, i32, kernel, read, storedType, u32, write } from './kernel.ts';
import type { Dtype } from './kernel.ts';
import { aliases, bytesMoved, declare, storeElements } from './map/elements.ts';
import type { Elements } from './map/elements.ts';

const workgroup = 64;

/**
 * What an index outside of the table yields: NaN, so that the mistake is seen. Integers have none and yield
 * their largest value.
 */
export function poison(dtype: Dtype): string {
  return { f32: 'bitcast<f32>(bits)', i32: 'i32(0x7fffffff)', u32: '0xffffffffu' }[computeType(dtype)];
}

export interface GatherRowsParams {
  /**
   * The table is row-major [rows, cols] from `tableOffset`, the indices are i32 [count] from `indexOffset`.
   */
  readonly rows: number;
  /**
   * Where only some rows of a large table are bound: the first, and how many. Other rows are left to other
   * dispatches.
   */
  readonly bound?: { readonly first: number; readonly rows: number };
  readonly cols: number;
  readonly count: number;
  readonly dtype: Dtype;
  readonly tableOffset: number;
  readonly indexOffset: number;
}

/**
 * y[i, :] = table[index[i], :]; negative indices count from the end. Bindings table, index, those of y, an
 * expression over [..., cols].
 */
export function gatherRows(params: GatherRowsParams & { readonly y: Elements }): Dispatch {
  const { rows, cols, count, dtype, tableOffset, indexOffset, y, bound = { first: 0, rows } } = params;
  const width = cols % 4 === 0 && tableOffset % 4 === 0 ? 4 : 1;
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
      first: i32(bound.first),
      bound: i32(bound.rows),
      cols: u32(cols / width),
      to: u32(tableOffset / width),
      io: u32(indexOffset),
    },
    workgroup,
    groups: Math.ceil(threads / workgroup),
    cost: { flops: count * cols * sink.flops, bytes: count * cols * bytesOf(dtype) + bytesMoved(y, true) + count * 4 },
    body: `
if (id >= p.n) { return; }
let i = id / p.cols;
let at = index[p.io + i];
let row = select(at, at + p.rows, at < 0);
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
 * Links the places that name the same row: links[i] = (1 if no earlier place names it, the next place that
 * does or -1). O(count^2) comparisons of integers, which is little next to the rows themselves; ignored and
 * invalid indices are in no chain. Bindings index, links.
 */
export function linkOccurrences({
  count,
  rows,
  indexOffset,
  ignore,
}: {
  count: number;
  rows: number;
  indexOffset: number;
  ignore: number;
}): Dispatch {
  return kernel({
    name: 'linkOccurrences',
    bindings: [read('index', 'i32'), write('links', 'vec2<i32>')],
    params: { n: u32(count), rows: i32(rows), io: u32(indexOffset), ignore: i32(ignore) },
    workgroup,
    groups: Math.ceil(count / workgroup),
    cost: { flops: count * count, bytes: count * 12 },
    body: `
if (id >= p.n) { return; }
let own = index[p.io + id];
if (own == p.ignore || own < -p.rows || own >= p.rows) { links[id] = vec2<i32>(0, -1); return; }
let row = select(own, own + p.rows, own < 0);
var first = 1;
for (var j = 0u; j < id; j++) {
  let other = index[p.io + j];
  if (other == row || other == row - p.rows) { first = 0; break; }
}
var next = -1;
for (var j = id + 1u; j < p.n; j++) {
  let other = index[p.io + j];
  if (other == row || other == row - p.rows) { next = i32(j); break; }
}
links[id] = vec2<i32>(first, next);`,
  });
}

export interface ScatterAddRowsParams extends GatherRowsParams {
  /**
   * Where only some rows of a large x are bound: the first, and how many. Dispatches for the rows before have
   * run, and their sums are in y.
   */
  readonly terms?: { readonly first: number; readonly count: number };
}

/**
 * y[index[i], :] += x[i, :] into zeros, the adjoint of gatherRows. WGSL has no float atomics, and their order
 * would change from run to run: the first place of each chain adds up the whole chain in order. Bindings x,
 * index, links, y (zero-filled).
 */
export function scatterAddRows(params: ScatterAddRowsParams): Dispatch {
  const { rows, cols, count, dtype, tableOffset: xOffset, indexOffset, bound = { first: 0, rows } } = params;
  const { terms = { first: 0, count } } = params;
  const width = cols % 4 === 0 && xOffset % 4 === 0 ? 4 : 1;
  const type = width === 4 ? `vec4<${storedType(dtype)}>` : storedType(dtype);
  const sum = width === 4 ? `vec4<${computeType(dtype)}>` : computeType(dtype);
  const threads = (count * cols) / width;
  return kernel({
    name: 'scatterAddRows',
    bindings: [read('x', type), read('index', 'i32'), read('links', 'vec2<i32>'), write('y', type)],
    params: {
      n: u32(threads),
      rows: i32(rows),
      first: i32(bound.first),
      bound: i32(bound.rows),
      cols: u32(cols / width),
      xo: u32(xOffset / width),
      begin: i32(terms.first),
      end: i32(terms.first + terms.count),
      io: u32(indexOffset),
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
y[place] = ${type}(total);`,
  });
}
