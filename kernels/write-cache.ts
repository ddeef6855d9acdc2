import type { Dispatch } from '../gpu/dispatch.ts';
import { bytesOf, i32, kernel, read, storedType, u32, write } from './kernel.ts';
import { sizeOf, vectorises } from './layout.ts';
import type { Layout, Operand } from './layout.ts';

export interface WriteCacheOperands {
  /** The new tokens, [B, H, T, D]. */
  readonly x: Operand;
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
  const [, heads, tokens, width] = x.shape as [number, number, number, number];
  const capacity = cache.shape[2]!;
  const vector =
    width % 4 === 0 && [x, cache].every(({ offset, strides }) => strides[3] === 1 && vectorises(offset, strides));
  const per = vector ? 4 : 1;
  const type = vector ? `vec4<${storedType(dtype)}>` : storedType(dtype);
  const count = sizeOf(x.shape) / per;
  const strides = (name: string, layout: Layout) => ({
    [`${name}o`]: i32(layout.offset),
    ...Object.fromEntries(layout.strides.map((stride, axis) => [`${name}${axis}`, i32(stride)])),
  });
  const at = (name: string, token: string): string =>
    `(p.${name}o + i32(b) * p.${name}0 + i32(h) * p.${name}1 + ${token} * p.${name}2 + i32(d) * p.${name}3) / ${per}`;
  return kernel({
    name: 'writeCache',
    bindings: [read('x', type), read('start', 'i32'), write('cache', type)],
    params: {
      n: u32(count),
      heads: u32(heads),
      tokens: u32(tokens),
      columns: u32(width / per),
      capacity: i32(capacity),
      so: i32(start.offset),
      ss: i32(sizeOf(start.shape) === 1 ? 0 : start.strides[0]!),
      ...strides('x', x),
      ...strides('c', cache),
    },
    workgroup: 64,
    groups: Math.ceil(count / 64),
    cost: { flops: 0, bytes: 2 * sizeOf(x.shape) * bytesOf(dtype) },
    body: `
if (id >= p.n) { return; }
let d = (id % p.columns) * ${per}u; var rest = id / p.columns;
let t = rest % p.tokens; rest = rest / p.tokens;
let h = rest % p.heads; let b = rest / p.heads;
let token = start[p.so + i32(b) * p.ss] + i32(t);
if (token < 0 || token >= p.capacity) { return; }
cache[${at('c', 'token')}] = x[${at('x', 'i32(t)')}];`,
  });
}
