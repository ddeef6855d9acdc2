import type { Dispatch } from '../gpu/dispatch.ts';
import { bytesOf, i32, kernel, quad, read, storedType, u32, write } from './kernel.ts';
import { sizeOf, vectorises } from './layout.ts';
import type { Operand } from './layout.ts';
import { aliases, bytesMoved, declare, loadElements, widthOf } from './map/elements.ts';
import type { Elements } from './map/elements.ts';
import { groupOfStep, stepBits } from './quant/tokens.ts';

export interface WriteCacheOperands {
  /** The new tokens, [B, H, T, D] or another shape of as many elements. */
  readonly x: Elements;
  /** [B, H, capacity, D]; u32 [B, H, capacity, words] in 8 bits. */
  readonly cache: Operand;
  /** First place of each row's tokens in the cache, i32 [B]; [] or [1] for all rows. */
  readonly start: Operand;
}

export interface WriteCacheAttrs {
  /** D, where the cache has 8 bits, see quant/tokens.ts; undefined: as it is. */
  readonly channels: number | undefined;
}

/**
 * Writes cache[b, h, start[b] + t, d] = x[b, h, t, d]; tokens beyond the capacity are dropped. A thread takes
 * four elements along D where they lie side by side, else one; in 8 bits what shares a word of steps.
 */
export function writeCache({ x, cache, start }: WriteCacheOperands, { channels }: WriteCacheAttrs): Dispatch {
  const { dtype } = cache;
  const [batch, heads, capacity, stored] = cache.shape as [number, number, number, number];
  const width = channels ?? stored;
  const tokens = sizeOf(x.shape) / (batch * heads * width);
  const fours = channels !== undefined || (width % 4 === 0 && vectorises(cache.offset, cache.strides));
  const per = fours ? widthOf(x) : 1;
  const type = per === 4 && channels === undefined ? `vec4<${storedType(dtype)}>` : storedType(dtype);
  const source = loadElements('load', x, { width: per, prefix: 'x_' });
  const columns = channels === undefined ? width / per : Math.ceil(width / (2 * groupOfStep));
  const count = batch * heads * tokens * columns;
  return kernel({
    name: channels === undefined ? 'writeCache' : 'writeCache.int8',
    bindings: [...source.operands, read('start', 'i32'), write('cache', type)],
    params: {
      n: u32(count),
      heads: u32(heads),
      tokens: u32(tokens),
      columns: u32(columns),
      capacity: i32(capacity),
      so: i32(start.offset),
      ss: i32(sizeOf(start.shape) === 1 ? 0 : start.strides[0]!),
      co: i32(cache.offset),
      ...Object.fromEntries(cache.strides.map((stride, axis) => [`c${axis}`, i32(stride)])),
      ...source.params,
    },
    workgroup: 64,
    groups: Math.ceil(count / 64),
    cost: {
      flops: source.flops * sizeOf(x.shape),
      bytes: bytesMoved(x, false) + batch * heads * tokens * stored * bytesOf(dtype),
    },
    declarations: `${aliases(x.compute, per)}\n${declare(source)}\n${channels === undefined ? '' : stepBits}`,
    body: `
if (id >= p.n) { return; }
let d = id % p.columns; var rest = id / p.columns;
let t = rest % p.tokens; rest = rest / p.tokens;
let h = rest % p.heads; let b = rest / p.heads;
let token = start[p.so + i32(b) * p.ss] + i32(t);
if (token < 0 || token >= p.capacity) { return; }
let to = p.co + i32(b) * p.c0 + i32(h) * p.c1 + token * p.c2;
${channels === undefined ? plain(per, type) : bytes(per, channels)}`,
  });
}

const plain = (per: 1 | 4, type: string): string => `let at = to + i32(d * ${per}u) * p.c3;
cache[${per === 4 ? quad('at') : 'at'}] = ${type}(load(id * ${per}u));`;

/** WGSL: rounds what shares word d of the steps, a group after the other. */
function bytes(per: 1 | 4, channels: number): string {
  const four = per === 4 ? 'load(at)' : `vec4<f32>(${[0, 1, 2, 3].map((e) => `load(at + ${e}u)`).join(', ')})`;
  const each = (statement: string): string => `for (var i = 0u; i < ${groupOfStep / 4}u; i++) {
let c = d * ${groupOfStep / 2}u + g * ${groupOfStep / 4}u + i;
if (c < ${channels / 4}u) { ${statement} }
}`;
  return `var steps = 0u;
for (var g = 0u; g < 2u; g++) {
var held: array<vec4<f32>, ${groupOfStep / 4}>;
// The order of magnitudes is that of their bits, and what is no number lies above all.
var top = vec4<u32>();
${each(`let at = id / p.columns * ${channels}u + 4u * c; held[i] = ${four};
top = max(top, bitcast<vec4<u32>>(held[i]) & vec4<u32>(0x7fffffffu));`)}
let bits = stepBits(top);
${each('cache[to + i32(c)] = pack4xI8Clamp(vec4<i32>(round(held[i] / bitcast<f32>(bits))));')}
steps = (steps >> 16u) | bits;
}
cache[to + ${channels / 4} + i32(d)] = steps;`;
}
