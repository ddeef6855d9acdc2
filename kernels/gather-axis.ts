import type { Dispatch } from '../gpu/dispatch.ts';
import { poison } from './gather.ts';
import { bytesOf, computeType, i32, kernel, read, storedType, u32, write } from './kernel.ts';
import type { Dtype } from './kernel.ts';

const workgroup = 64;

export interface GatherAxisParams {
  /** x is row-major [outer, length, inner], index is i32 row-major [outer, count, inner]. */
  readonly outer: number;
  readonly length: number;
  readonly count: number;
  readonly inner: number;
  readonly dtype: Dtype;
  readonly xOffset: number;
  readonly indexOffset: number;
}

function uniforms({ length, count, inner, xOffset, indexOffset }: GatherAxisParams, threads: number) {
  return {
    n: u32(threads),
    length: i32(length),
    count: u32(count),
    inner: u32(inner),
    xo: u32(xOffset),
    io: u32(indexOffset),
  };
}

/** y[o, j, i] = x[o, index[o, j, i], i]. Bindings x, index, y. */
export function gatherAxis(params: GatherAxisParams): Dispatch {
  const { outer, count, inner, dtype } = params;
  const threads = outer * count * inner;
  const type = storedType(dtype);
  return kernel({
    name: 'gatherAxis',
    bindings: [read('x', type), read('index', 'i32'), write('y', type)],
    params: uniforms(params, threads),
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
 * y[o, l, i] = sum of x[o, j, i] over the j with index[o, j, i] = l: each output looks for its own, in order.
 * Bindings x, index, y.
 */
export function scatterAddAxis(params: GatherAxisParams): Dispatch {
  const { outer, length, count, inner, dtype } = params;
  const threads = outer * length * inner;
  const type = storedType(dtype);
  return kernel({
    name: 'scatterAddAxis',
    bindings: [read('x', type), read('index', 'i32'), write('y', type)],
    params: uniforms(params, threads),
    workgroup,
    groups: Math.ceil(threads / workgroup),
    cost: { flops: threads * count, bytes: threads * bytesOf(dtype) + outer * count * inner * (bytesOf(dtype) + 4) },
    body: `
if (id >= p.n) { return; }
let inner = id % p.inner;
let l = i32((id / p.inner) % u32(p.length));
let base = (id / (p.inner * u32(p.length))) * p.count * p.inner + inner;
var total = ${computeType(dtype)}(0);
for (var j = 0u; j < p.count; j++) {
  let at = index[p.io + base + j * p.inner];
  if (at == l || at == l - p.length) { total += ${computeType(dtype)}(x[p.xo + base + j * p.inner]); }
}
y[id] = ${type}(total);`,
  });
}
