import type { Dispatch } from '../gpu/dispatch.ts';
import { bytesOf, i32, kernel, quad, read, storedType, u32, write } from './kernel.ts';
import { sizeOf, vectorises } from './layout.ts';
import type { Operand } from './layout.ts';
import { aliases, bytesMoved, declare, loadElements, widthOf } from './map/elements.ts';
import type { Elements } from './map/elements.ts';

export interface WriteCacheOperands {
  /** The new tokens, [B, H, T, D] or another shape of as many elements. */
  readonly x: Elements;
  /** [B, H, capacity, D]. */
  readonly cache: Operand;
  /** First place of each row's tokens in the cache, i32 [B]; [] or [1] for all rows. */
  readonly start: Operand;
}

/**
 * Writes cache[b, h, start[b] + t, d] = x[b, h, t, d]; tokens beyond the capacity are dropped. A thread takes
 * four elements along D where they lie side by side, else one.
 */
export function writeCache({ x, cache, start }: WriteCacheOperands): Dispatch {
  const { dtype } = cache;
  const [batch, heads, capacity, width] = cache.shape as [number, number, number, number];
  const tokens = sizeOf(x.shape) / (batch * heads * width);
  const per = width % 4 === 0 && vectorises(cache.offset, cache.strides) ? widthOf(x) : 1;
  const type = per === 4 ? `vec4<${storedType(dtype)}>` : storedType(dtype);
  const source = loadElements('load', x, { width: per, prefix: 'x_' });
  const count = sizeOf(x.shape) / per;
  return kernel({
    name: 'writeCache',
    bindings: [...source.operands, read('start', 'i32'), write('cache', type)],
    params: {
      n: u32(count),
      heads: u32(heads),
      tokens: u32(tokens),
      columns: u32(width / per),
      capacity: i32(capacity),
      so: i32(start.offset),
      ss: i32(sizeOf(start.shape) === 1 ? 0 : start.strides[0]!),
      co: i32(cache.offset),
      ...Object.fromEntries(cache.strides.map((stride, axis) => [`c${axis}`, i32(stride)])),
      ...source.params,
    },
    workgroup: 64,
    groups: Math.ceil(count / 64),
    cost: { flops: source.flops * sizeOf(x.shape), bytes: bytesMoved(x, false) + sizeOf(x.shape) * bytesOf(dtype) },
    declarations: `${aliases(x.compute, per)}\n${declare(source)}`,
    body: `
if (id >= p.n) { return; }
let d = (id % p.columns) * ${per}u; var rest = id / p.columns;
let t = rest % p.tokens; rest = rest / p.tokens;
let h = rest % p.heads; let b = rest / p.heads;
let token = start[p.so + i32(b) * p.ss] + i32(t);
if (token < 0 || token >= p.capacity) { return; }
let to = p.co + i32(b) * p.c0 + i32(h) * p.c1 + token * p.c2 + i32(d) * p.c3;
cache[${per === 4 ? quad('to') : 'to'}] = ${type}(load(id * ${per}u));`,
  });
}
