import type { Dispatch } from '../gpu/dispatch.ts';
import { bytesOf, computeType, kernel, read, storedType, u32, write } from './kernel.ts';
import type { Operand } from './layout.ts';

export interface MergeAttrs {
  /** Length of the runs that are in order; two of them become one of twice the length. */
  readonly width: number;
  readonly descending: boolean;
}

const workgroup = 64;

/**
 * WGSL of a number as u32 that compares as it does: the bits of negative floats are turned over, and those of
 * the others lie above them. -0 is 0, and NaN, of either sign, is the largest.
 */
const keyOf: Readonly<Record<'f32' | 'i32' | 'u32', string>> = {
  f32: `let bits = bitcast<u32>(v);
let size = bits & 0x7fffffffu;
if (size > 0x7f800000u) { return 0xffffffffu; }
if (size == 0u) { return 0x80000000u; }
return select(bits | 0x80000000u, ~bits, bits != size);`,
  i32: 'return bitcast<u32>(v) ^ 0x80000000u;',
  u32: 'return v;',
};

/**
 * A pass of a merge sort of places along the middle axis of x [outer, length, inner], row-major: `to` gets
 * the places of runs of twice the width in order, from those of `before`, without which each place is a run.
 * A thread finds by bisection how many of the other run come before its element. Of equal elements the first
 * comes first.
 */
export function argsortMerge(
  { x, before }: { readonly x: Operand; readonly before?: Operand; readonly to: Operand },
  { width, descending }: MergeAttrs,
): Dispatch {
  const [outer, length, inner] = x.shape as [number, number, number];
  const count = outer * length * inner;
  const type = computeType(x.dtype);
  const steps = Math.ceil(Math.log2(width + 1));
  const placeAt = (i: string): string => (before ? `before[line + (${i}) * p.inner]` : `i32(${i})`);
  return kernel({
    name: 'argsort.merge',
    bindings: [read('x', storedType(x.dtype)), ...(before ? [read('before', 'i32')] : []), write('to', 'i32')],
    params: {
      ...{ n: u32(count), length: u32(length), inner: u32(inner), width: u32(width), o: u32(x.offset) },
      flip: u32(descending ? 0xffffffff : 0),
    },
    workgroup,
    groups: Math.ceil(count / workgroup),
    cost: { flops: 4 * count * steps, bytes: count * (bytesOf(x.dtype) + 8) },
    declarations: `fn sortKey(v: ${type}) -> u32 {
${keyOf[type]}
}`,
    body: `
if (id >= p.n) { return; }
let line = (id / (p.length * p.inner)) * p.length * p.inner + id % p.inner;
let i = (id / p.inner) % p.length;
let begin = (i / (2u * p.width)) * 2u * p.width;
let middle = min(begin + p.width, p.length);
let place = ${placeAt('i')};
let key = sortKey(${type}(x[p.o + line + u32(place) * p.inner])) ^ p.flip;
let isLeft = i < middle;
let first = select(begin, middle, isLeft);
var low = first;
var high = select(middle, min(begin + 2u * p.width, p.length), isLeft);
while (low < high) {
  let at = (low + high) / 2u;
  let other = sortKey(${type}(x[p.o + line + u32(${placeAt('at')}) * p.inner])) ^ p.flip;
  // Of equal ones those of the left run come first.
  if (other < key || (other == key && !isLeft)) { low = at + 1u; } else { high = at; }
}
let own = i - select(middle, begin, isLeft);
to[line + (begin + own + (low - first)) * p.inner] = place;`,
  });
}
