import type { Dispatch } from '../gpu/dispatch.ts';
import { bytesOf, f32, kernel, storedType, u32, write } from './kernel.ts';
import type { Param } from './kernel.ts';
import { sizeOf } from './layout.ts';
import type { Operand } from './layout.ts';
import { philoxWgsl } from './philox.ts';

/** The random numbers of one application of an op: the key of the generator, and a stream of its own. */
export interface Draw {
  readonly key: readonly [number, number];
  readonly stream: number;
}

const workgroup = 64;

/** Block `first + id` of the stream: four numbers a thread, so that any element can be drawn again alone. */
const block = 'philox(vec4<u32>(p.first + id, 0u, p.low, p.high), vec2<u32>(p.key0, p.key1))';

/** Returns a draw as four parameters side by side, which a replay writes anew (see `Dispatch.draws`). */
export function drawParams({ key, stream }: Draw): Record<'key0' | 'key1' | 'low' | 'high', Param> {
  const [low, high] = [stream >>> 0, Math.floor(stream / 2 ** 32)];
  return { key0: { ...u32(key[0]), draw: stream }, key1: u32(key[1]), low: u32(low), high: u32(high) };
}

export interface RandomAttrs {
  readonly kind: 'uniform' | 'normal';
  /** uniform: from a to a + b, without the end; normal: mean a, standard deviation b. */
  readonly a: number;
  readonly b: number;
  readonly draw: Draw;
  /** First element of a part of a large tensor, a multiple of 4. */
  readonly start?: number;
}

/**
 * Fills a fresh tensor with random numbers; normal ones by Box and Muller (1958), two from two uniform ones.
 */
export function random({ y }: { readonly y: Operand }, { kind, a, b, draw, start = 0 }: RandomAttrs): Dispatch {
  const { dtype } = y;
  const count = sizeOf(y.shape);
  const threads = Math.ceil(count / 4);
  const type = `vec4<${storedType(dtype)}>`;
  // 1 - u lies in (0, 1]: its logarithm is finite.
  const shape =
    kind === 'uniform'
      ? 'let v = u;'
      : `let r = sqrt(-2.0 * log(1.0 - u.xy));
let angle = ${2 * Math.PI} * u.zw;
let v = vec4<f32>(r * cos(angle), r * sin(angle));`;
  return kernel({
    name: `random.${kind}`,
    bindings: [write('y', type)],
    params: { n: u32(threads), first: u32(start / 4), a: f32(a), b: f32(b), ...drawParams(draw) },
    workgroup,
    groups: Math.ceil(threads / workgroup),
    cost: { flops: 100 * threads, bytes: count * bytesOf(dtype) },
    declarations: philoxWgsl,
    body: `
if (id >= p.n) { return; }
let u = unit(${block});
${shape}
y[id] = ${type}(p.a + p.b * v);`,
  });
}
