import type { Dispatch } from '../../gpu/dispatch.ts';
import { bytesOf, f32, i32, kernel, read, u32, write } from '../kernel.ts';
import type { Binding, Param } from '../kernel.ts';
import { headBase, headsUniforms, vec4Of } from './params.ts';
import type { HeadsOperand } from './params.ts';
import { each, RowCode } from './rows.ts';

/**
 * One query token for each of `group` query heads to a head of the cache [B, heads, capacity, D], of which
 * the first `length` tokens count.
 */
export interface DecodeParams {
  readonly batch: number;
  /** Heads of keys and values. */
  readonly heads: number;
  /** Query heads that share one of them. */
  readonly group: number;
  readonly capacity: number;
  readonly width: number;
  readonly dtype: 'f32' | 'f16';
  /** Query heads as `token`s of their cache head. */
  readonly q: HeadsOperand;
  readonly k: HeadsOperand;
  readonly v: HeadsOperand;
  /** Lengths i32: one for each batch, or one for all (stride 0). */
  readonly length: { readonly offset: number; readonly stride: number };
  readonly scale: number;
  /**
   * Tokens of the cache that one workgroup takes: the cache is split into parts, joined by `joinParts`. A
   * multiple of 64.
   */
  readonly span: number;
}

export const partsOf = ({ capacity, span }: Pick<DecodeParams, 'capacity' | 'span'>): number =>
  Math.ceil(capacity / span);

/** vec4s of a part's result: sums of values, then (largest score, sum of weights, 0, 0). */
const resultColumns = (width: number): number => width / 4 + 1;

/** Numbers of the parts' results, f32. */
export function partialSize(params: DecodeParams): number {
  const { batch, heads, group, width } = params;
  return 4 * batch * heads * group * partsOf(params) * resultColumns(width);
}

function shared(params: DecodeParams): { bindings: Binding[]; params: Record<string, Param>; cost: Dispatch['cost'] } {
  const { batch, heads, group, capacity, width, dtype, q, k, v, length, scale, span } = params;
  return {
    bindings: [
      ...['q', 'k', 'v'].map((name) => read(name, vec4Of(dtype))),
      read('lengths', 'i32'),
      write('partial', 'vec4<f32>'),
    ],
    params: {
      count: u32(batch * heads),
      heads: u32(heads),
      tq: u32(group),
      tk: u32(capacity),
      parts: u32(partsOf(params)),
      span: u32(span),
      scale: f32(scale),
      lo: i32(length.offset),
      ls: i32(length.stride),
      ...headsUniforms('q', q),
      ...headsUniforms('k', k),
      ...headsUniforms('v', v),
    },
    cost: {
      flops: 4 * batch * heads * group * capacity * width,
      bytes: 2 * batch * heads * capacity * width * bytesOf(dtype),
    },
  };
}

/** WGSL: the tokens begin..end that workgroup `part` takes. */
const range = `let length = u32(clamp(lengths[p.lo + i32(b) * p.ls], 0, i32(p.tk)));
let begin = part * p.span; let end = min(length, begin + p.span);`;

const base = ['q', 'k', 'v'].map((name) => headBase(name)).join('\n');

/**
 * For devices whose subgroup is a CPU's vector unit: lanes are the query heads of a group, keys and values
 * are read uniformly (a gather of rows costs fifty times as much, so that idle lanes are cheaper). Bindings
 * q, k, v, lengths, partial.
 */
export function decodeLanes(params: DecodeParams): Dispatch {
  const { batch, heads, group, width } = params;
  const code = new RowCode({ lanes: 8, rows: 1, share: 1, tile: 0 }, width);
  const columns = resultColumns(width);
  const block = `
var s0 = vec4<f32>();
${code.tokens('p.tk', ['k'], `${code.dot('one', 'q', 'k', 0)}\n${code.collect('s', 'one')}`)}
s0 = select(vec4<f32>(-1e30), s0, vec4<u32>(at, at + 1u, at + 2u, at + 3u) < vec4<u32>(end));
let top = max(max(m, max(s0.x, s0.y)), max(s0.z, s0.w));
let fix0 = exp(m - top);
m = top;
let w0 = exp(s0 - top);
l = fma(l, fix0, (w0.x + w0.y) + (w0.z + w0.w));
${code.scaleRows('o', 'fix')}
${code.tokens(
  'p.tk',
  ['v'],
  code.accumulate('o', () => 'w0[e]', 'v', 1),
)}`;
  return kernel({
    name: 'attentionDecode.lanes',
    ...shared(params),
    workgroup: 8,
    groups: batch * heads * Math.ceil(group / 8) * partsOf(params),
    body: `let part = group % p.parts;
${code.place('(group / p.parts)', 'p.tq', false)}
${range}
${base}
${code.loadRows('q', 'q', ' * p.scale')}
var m = -3e38; var l = 0.0;
${code.zeroRows('o')}
${code.blocks('begin', 'end', 'p.tk', ['k', 'v'], block)}
if (row0 < p.tq) {
let to = ((head * p.tq + row0) * p.parts + part) * ${columns}u;
${each(code.chunks, (c) => `partial[to + ${c}u] = o0_${c};`)}
partial[to + ${columns - 1}u] = vec4<f32>(m, l, 0.0, 0.0);
}`,
  });
}

const threads = 64;

/**
 * For GPUs: threads take keys for the scores, then columns of the values; the weights of a run of 64 tokens
 * go through workgroup memory. One query head a workgroup: heads of a group find the cache's rows in the
 * device's cache. Bindings q, k, v, lengths, partial.
 */
export function decodeWorkgroup(params: DecodeParams): Dispatch {
  const { batch, heads, group, width } = params;
  const columns = width / 4;
  const all = resultColumns(width);
  const reduce = (name: string, combine: string): string => `
fn ${name}(v: f32, lane: u32) -> f32 {
  scratch[lane] = v;
  workgroupBarrier();
  for (var s = ${threads / 2}u; s > 0u; s = s / 2u) {
    if (lane < s) { let a = scratch[lane]; let b = scratch[lane + s]; scratch[lane] = ${combine}; }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&scratch[0]);
}`;
  // Threads that sum one column, each over every runners-th token.
  const runners = Math.max(1, Math.floor(threads / columns));
  return kernel({
    name: 'attentionDecode.workgroup',
    ...shared(params),
    workgroup: threads,
    groups: batch * heads * group * partsOf(params),
    declarations: `
var<workgroup> scratch: array<f32, ${threads}>;
var<workgroup> weights: array<f32, ${threads}>;
var<workgroup> sums: array<vec4<f32>, ${threads}>;
${reduce('largest', 'max(a, b)')}
${reduce('total', 'a + b')}`,
    body: `
let part = group % p.parts;
let job = group / p.parts;
let head = job / p.tq; let row = job % p.tq;
if (head >= p.count) { return; }
let b = head / p.heads; let h = head % p.heads;
${base}
let first = qBase + i32(row) * p.qt;
${range}
let column = lane % ${columns}u; let runner = lane / ${columns}u;
var m = -3e38; var l = 0.0; var o = vec4<f32>();
for (var at = begin; at < begin + p.span; at += ${threads}u) {
  let token = at + lane;
  var s = -1e30;
  if (token < end) {
    let key = kBase + i32(token) * p.kt;
    var sum = vec4<f32>();
    for (var c = 0; c < ${columns}; c++) { sum = fma(vec4<f32>(q[first + c]), vec4<f32>(k[key + c]), sum); }
    s = ((sum.x + sum.y) + (sum.z + sum.w)) * p.scale;
  }
  let top = max(m, largest(s, lane));
  let fix = exp(m - top);
  m = top;
  let w = select(0.0, exp(s - top), token < end);
  weights[lane] = w;
  l = fma(l, fix, total(w, lane));
  o = o * fix;
  if (runner < ${runners}u) {
    for (var e = runner; e < ${threads}u; e += ${runners}u) {
      if (at + e >= end) { break; }
      o = fma(vec4<f32>(weights[e]), vec4<f32>(v[vBase + i32(at + e) * p.vt + i32(column)]), o);
    }
  }
  workgroupBarrier();
}
sums[lane] = o;
workgroupBarrier();
let to = ((head * p.tq + row) * p.parts + part) * ${all}u;
if (lane < ${columns}u) {
  var sum = sums[lane];
  for (var r = 1u; r < ${runners}u; r++) { sum += sums[r * ${columns}u + lane]; }
  partial[to + lane] = sum;
}
if (lane == 0u) { partial[to + ${columns}u] = vec4<f32>(m, l, 0.0, 0.0); }`,
  });
}

/**
 * Joins the parts of each query head, in their order, into y [B, heads * group, D] row-major. Bindings
 * partial, y.
 */
export function joinParts(params: DecodeParams): Dispatch {
  const { batch, heads, group, width, dtype } = params;
  const rows = batch * heads * group;
  const columns = resultColumns(width);
  const count = rows * (width / 4);
  return kernel({
    name: 'attentionDecode.join',
    bindings: [read('partial', 'vec4<f32>'), write('y', vec4Of(dtype))],
    params: { n: u32(count), columns: u32(width / 4), parts: u32(partsOf(params)) },
    workgroup: threads,
    groups: Math.ceil(count / threads),
    cost: { flops: 4 * partsOf(params) * count, bytes: 4 * partialSize(params) },
    body: `
if (id >= p.n) { return; }
let row = id / p.columns; let c = id % p.columns;
let start = row * p.parts * ${columns}u;
var top = -3e38;
for (var i = 0u; i < p.parts; i++) { top = max(top, partial[start + i * ${columns}u + p.columns].x); }
var l = 0.0; var o = vec4<f32>();
for (var i = 0u; i < p.parts; i++) {
  let at = start + i * ${columns}u;
  let stat = partial[at + p.columns];
  let factor = exp(stat.x - top);
  l = fma(stat.y, factor, l);
  o = fma(partial[at + c], vec4<f32>(factor), o);
}
y[id] = ${vec4Of(dtype)}(o / l);`,
  });
}
