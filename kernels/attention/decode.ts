import type { Dispatch } from '../../gpu/dispatch.ts';
import { bytesOf, kernel, read, u32, write } from '../kernel.ts';
import { sizeOf } from '../layout.ts';
import type { Layout, Operand } from '../layout.ts';
import { headBase, headParams, rowNumber, rowParams, scoringParams, tokensOf, vec4Of } from './operands.ts';
import type { AttentionAttrs, AttentionTarget } from './operands.ts';
import { each, walkCode } from './walk.ts';

export interface DecodeOperands {
  /** [B, H, 1, D]. */
  readonly q: Operand;
  /**
   * The cache, [B, Hkv, capacity, D], or in 8 bits, see `AttentionOperands`: H / Hkv neighbouring query
   * heads share one of its heads.
   */
  readonly k: Operand;
  readonly v: Operand;
  /** i32, how many of the cache's tokens count: [B], or [] or [1] for all. */
  readonly lengths: Operand;
  /**
   * f32 [B, H, parts, D + 4], row-major. The cache is split into parts, which `joinParts` joins: of each the
   * sum of its values, then its largest score, the sum of its weights, 0, 0.
   */
  readonly partial?: Operand;
  /** Instead of `partial`, where one part is the whole cache: the result [B, H, 1, D], row-major. */
  readonly y?: Operand;
}

export interface DecodeAttrs extends Pick<AttentionAttrs, 'slidingWindow' | 'softCap'> {
  readonly scale: number;
  /** Tokens of the cache that one workgroup takes, a part: a multiple of 64. */
  readonly span: number;
}

/** Attention of one query token for each query head over the first tokens of a cache, by parts. */
export function decodeAttention(operands: DecodeOperands, attrs: DecodeAttrs, { software }: AttentionTarget): Dispatch {
  return software ? lanes(operands, attrs) : workgroup(operands, attrs);
}

function sizesOf({ q, k, partial }: DecodeOperands) {
  const [batch, heads, , width] = q.shape as [number, number, number, number];
  const [, own, capacity] = k.shape as [number, number, number];
  return { batch, own, group: heads / own, capacity, width, parts: partial?.shape[2] ?? 1 };
}

/** Returns the part of the kernel that both ways share. Query heads count as tokens of their cache head. */
function common(operands: DecodeOperands, attrs: DecodeAttrs) {
  const { q, k, v, lengths, y } = operands;
  const { batch, own, group, capacity, width, parts } = sizesOf(operands);
  const [alongBatch, alongHeads] = q.strides as [number, number];
  const byGroup: Layout = {
    shape: [batch, own, group, width],
    strides: [alongBatch, alongHeads * group, alongHeads, 1],
    offset: q.offset,
  };
  return {
    bindings: [
      ...tokensOf(operands).bindings,
      read('lengths', 'i32'),
      y ? write('y', vec4Of(y)) : write('partial', 'vec4<f32>'),
    ],
    params: {
      count: u32(batch * own),
      heads: u32(own),
      tq: u32(group),
      tk: u32(capacity),
      parts: u32(parts),
      span: u32(attrs.span),
      ...scoringParams(attrs),
      ...rowParams('lengths', lengths),
      ...headParams({ q: byGroup, k, v }),
    },
    cost: {
      flops: 4 * batch * own * group * capacity * width,
      bytes: 2 * batch * own * capacity * k.shape[3]! * bytesOf(k.dtype),
    },
    declarations: tokensOf(operands).functions,
  };
}

/**
 * WGSL: where the heads begin, and the tokens begin..end that workgroup `part` takes, of those in the window.
 */
const range = ({ slidingWindow }: DecodeAttrs): string => `
${['q', 'k', 'v'].map((name) => headBase(name)).join('\n')}
let length = min(${rowNumber('lengths')}, p.tk);
let begin = ${slidingWindow === undefined ? 'part * p.span' : 'max(part * p.span, max(length, p.window) - p.window)'};
let end = min(length, (part + 1u) * p.span);`;

/** WGSL: stores column c of a query head, of which l is the sum of weights. */
const store = ({ y }: DecodeOperands, columns: number, c: string, sum: string): string =>
  y
    ? `y[row * ${columns}u + ${c}] = ${vec4Of(y)}(${sum} / l);`
    : `partial[(row * p.parts + part) * ${columns + 1}u + ${c}] = ${sum};`;

/** WGSL: scores of this type, capped; see `AttentionAttrs`. */
const capped = ({ softCap }: DecodeAttrs, score: string, type: string): string =>
  softCap === undefined ? '' : `${score} = p.cap * tanh(clamp(${score} / p.cap, ${type}(-10.0), ${type}(10.0)));`;

/**
 * For devices whose subgroup is a CPU's vector unit: lanes are the query heads of a group, keys and values
 * are read uniformly (a gather of rows costs fifty times as much, so that idle lanes are cheaper).
 */
function lanes(operands: DecodeOperands, attrs: DecodeAttrs): Dispatch {
  const { batch, own, group, width, parts } = sizesOf(operands);
  const code = walkCode({ lanes: 8, rows: 1, share: 1, tile: 0 }, width, tokensOf(operands).four);
  const columns = width / 4;
  const sum = code.accumulate('o', () => 'w0[e]', 'v', 1);
  const block = `
var s0 = vec4<f32>();
${code.tokens('p.tk', ['k'], `${code.dot('one', 'q', 'k', 0)}\n${code.collect('s', 'one')}`)}
${capped(attrs, 's0', 'vec4<f32>')}
s0 = select(vec4<f32>(-1e30), s0, vec4<u32>(at, at + 1u, at + 2u, at + 3u) < vec4<u32>(end));
let top = max(max(m, max(s0.x, s0.y)), max(s0.z, s0.w));
let fix0 = exp(m - top);
m = top;
let w0 = exp(s0 - top);
l = fma(l, fix0, (w0.x + w0.y) + (w0.z + w0.w));
${code.scaleRows('o', 'fix')}
${code.tokens('p.tk', ['v'], sum)}`;
  return kernel({
    name: 'decodeAttention.lanes',
    ...common(operands, attrs),
    workgroup: 8,
    groups: batch * own * Math.ceil(group / 8) * parts,
    body: `let part = group % p.parts;
${code.place('(group / p.parts)', 'p.tq', false)}
${range(attrs)}
${code.loadRows('q', ' * p.scale')}
var m = -3e38; var l = 0.0;
${code.zeroRows('o')}
${code.blocks('begin', 'end', 'p.tk', ['k', 'v'], block)}
if (row0 < p.tq) {
let row = head * p.tq + row0;
${each(code.chunks, (c) => store(operands, columns, `${c}u`, `o0_${c}`))}
${operands.y ? '' : store(operands, columns, `${columns}u`, 'vec4<f32>(m, l, 0.0, 0.0)')}
}`,
  });
}

const threads = 64;

/** WGSL of a function that combines a number of each thread in a tree. */
const treeOf = (name: string, combine: string): string => `
fn ${name}(v: f32, lane: u32) -> f32 {
  scratch[lane] = v;
  workgroupBarrier();
  for (var s = ${threads / 2}u; s > 0u; s = s / 2u) {
    if (lane < s) { let a = scratch[lane]; let b = scratch[lane + s]; scratch[lane] = ${combine}; }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&scratch[0]);
}`;

/**
 * For GPUs: threads take keys for the scores, then columns of the values; the weights of a run of 64 tokens
 * go through workgroup memory. One query head a workgroup: heads of a group find the cache's rows in the
 * device's cache.
 */
function workgroup(operands: DecodeOperands, attrs: DecodeAttrs): Dispatch {
  const { batch, own, group, width, parts } = sizesOf(operands);
  const columns = width / 4;
  // Threads that sum one column, each over every runners-th token.
  const runners = Math.max(1, Math.floor(threads / columns));
  const { four } = tokensOf(operands);
  const shared = common(operands, attrs);
  return kernel({
    name: 'decodeAttention.workgroup',
    ...shared,
    workgroup: threads,
    groups: batch * own * group * parts,
    declarations: `
var<workgroup> scratch: array<f32, ${threads}>;
var<workgroup> weights: array<f32, ${threads}>;
var<workgroup> sums: array<vec4<f32>, ${threads}>;
${shared.declarations}
${treeOf('largest', 'max(a, b)')}
${treeOf('total', 'a + b')}`,
    body: `
let part = group % p.parts;
let job = group / p.parts;
let row = job; let head = job / p.tq;
if (head >= p.count) { return; }
let b = head / p.heads; let h = head % p.heads;
${range(attrs)}
let first = qBase + i32(row % p.tq) * p.qt;
let column = lane % ${columns}u; let runner = lane / ${columns}u;
var m = -3e38; var l = 0.0; var o = vec4<f32>();
for (var at = begin; at < (part + 1u) * p.span; at += ${threads}u) {
  let token = at + lane;
  var s = -1e30;
  if (token < end) {
    let key = kBase + i32(token) * p.kt;
    var sum = vec4<f32>();
    for (var c = 0; c < ${columns}; c++) { sum = fma(vec4<f32>(q[first + c]), ${four('k', 'key', 'c')}, sum); }
    s = ((sum.x + sum.y) + (sum.z + sum.w)) * p.scale;
    ${capped(attrs, 's', 'f32')}
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
      o = fma(vec4<f32>(weights[e]), ${four('v', 'vBase + i32(at + e) * p.vt', 'i32(column)')}, o);
    }
  }
  workgroupBarrier();
}
sums[lane] = o;
workgroupBarrier();
if (lane < ${columns}u) {
  var sum = sums[lane];
  for (var r = 1u; r < ${runners}u; r++) { sum += sums[r * ${columns}u + lane]; }
  ${store(operands, columns, 'lane', 'sum')}
}
${operands.y ? '' : `if (lane == 0u) { ${store(operands, columns, `${columns}u`, 'vec4<f32>(m, l, 0.0, 0.0)')} }`}`,
  });
}

/** Joins the parts of each query head, in their order, into y [B, H, 1, D], row-major. */
export function joinParts({ partial, y }: Required<Pick<DecodeOperands, 'partial' | 'y'>>): Dispatch {
  const parts = partial.shape[2]!;
  const columns = partial.shape[3]! / 4 - 1;
  const count = sizeOf(y.shape) / 4;
  return kernel({
    name: 'decodeAttention.join',
    bindings: [read('partial', 'vec4<f32>'), write('y', vec4Of(y))],
    params: { n: u32(count), columns: u32(columns), parts: u32(parts) },
    workgroup: threads,
    groups: Math.ceil(count / threads),
    cost: { flops: 4 * parts * count, bytes: 4 * sizeOf(partial.shape) },
    body: `
if (id >= p.n) { return; }
let row = id / p.columns; let c = id % p.columns;
let start = row * p.parts * ${columns + 1}u;
var top = -3e38;
for (var i = 0u; i < p.parts; i++) { top = max(top, partial[start + i * ${columns + 1}u + p.columns].x); }
var l = 0.0; var o = vec4<f32>();
for (var i = 0u; i < p.parts; i++) {
  let at = start + i * ${columns + 1}u;
  let stat = partial[at + p.columns];
  let factor = exp(stat.x - top);
  l = fma(stat.y, factor, l);
  o = fma(partial[at + c], vec4<f32>(factor), o);
}
y[id] = ${vec4Of(y)}(o / l);`,
  });
}
