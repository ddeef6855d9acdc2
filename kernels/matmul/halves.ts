import type { Target } from '../../gpu/device.ts';
import type { Dispatch } from '../../gpu/dispatch.ts';
import { i32, kernel, u32, write } from '../kernel.ts';
import type { Param } from '../kernel.ts';
import { contiguousLayout, roundUp, sizeOf } from '../layout.ts';
import type { Layout, Operand } from '../layout.ts';
import { slabBindings, slabLoader, slabOf } from './slab.ts';

/**
 * Numbers x of a line (a row of a, a column of b) as two of f16. With s the power of two that brings the
 * largest of the line to 2^14, hi = s x rounded to f16, and lo = 2^11 (s x - hi) too: s x = hi + 2^-11 lo to
 * 2^-22 of x where x is at least 2^-28 of the largest, else to 2^-36. A product is
 *
 *     2^-11 (lo hi' + hi lo') + hi hi'
 *
 * on tensor cores, one after the other (Ootomo and Yokota 2022, "Recovering single precision accuracy from
 * Tensor Cores"). The lo and hi of a part of k lie one behind the other along k.
 *
 * What f16 cannot hold is found here, for the product to compute in f32 (`unscaled` in product.ts): the
 * `range` of a line is 4 log2(s), 2 more for infinities and NaN, 1 more for numbers below those 2^-28.
 *
 * By bench/plan.ts a step of GPT-2 124M in f32 on an H100, 16 x 1024, takes 128 ms for products in place of
 * 427, of which 29 make halves. Made while a product stages its slabs, they would save 11 to 19 of those by
 * bytes; but sums that grow side by side need one scale for lo and hi, and the range would end at 2^-18.
 */
export interface HalvesOperands {
  /** f32 [z0, z1, lines, k], any strides. */
  readonly a: Operand;
  /** f16, in the order of `halvesLayout`. */
  readonly halves: Operand;
  /** i32 [z0, z1, lines, 1]. */
  readonly range: Operand;
}

export interface HalvesAttrs {
  /** Length of a part of k, a multiple of 8. */
  readonly part: number;
  readonly loFirst: boolean;
}

const isAlongK = ({ strides }: Layout): boolean => strides[3] === 1 || strides[2] !== 1;

/** Halves [z0, z1, lines, k] of x in its own order; what follows k there are the others of the two. */
export function halvesLayout(x: Layout, k: number): Layout {
  const [z0, z1, lines] = x.shape as [number, number, number];
  const shape = [z0, z1, lines, k];
  if (isAlongK(x)) return { ...contiguousLayout([z0, z1, lines, 2 * k]), shape };
  const pitch = roundUp(lines, 8);
  return { shape, strides: [z1 * 2 * k * pitch, 2 * k * pitch, 1, pitch], offset: 0 };
}

/**
 * Makes halves and range of each line. Rounds to what f16 holds, not by converting to f16 and back: Mesa's
 * compiler takes that for nothing, and lo would be 0.
 */
export function splitHalves({ a, halves }: HalvesOperands, { part, loFirst }: HalvesAttrs, target: Target): Dispatch {
  const [z0, z1, m, k] = a.shape as [number, number, number, number];
  const [a0, a1, row, col] = a.strides as [number, number, number, number];
  const [, size, line, along] = halves.strides as [number, number, number, number];
  const alongK = isAlongK(a);
  const slab = slabOf({ dtype: 'f32', offset: a.offset, row, col, batch: [a0, a1] }, row, col, k, 4);
  // Lines of a workgroup: one for all of its threads, or four for each of 4 side by side.
  const [tile, across, step] = alongK ? [1, 1, 4] : [16, 4, 1];
  const workgroup = Math.min(alongK ? 128 : 1024, target.maxInvocations);
  const overK = (body: string): string => `
for (var q = lane / ${across}u * ${step}u; q < p.all; q += ${(workgroup / across) * step}u) {${body} }`;
  const largest = (v: string): string => `vec4<u32>(max(max(${v}.x, ${v}.y), max(${v}.z, ${v}.w)))`;
  const lo = 'vec4<f16>((v - hi) * 2048.0)';
  const [first, second] = loFirst ? [lo, 'vec4<f16>(hi)'] : ['vec4<f16>(hi)', lo];
  const sizes = { m, k, all: roundUp(k, part), part, size, line, along, batch: z0 * z1, batch1: z1 };
  const places = { ao: a.offset, a0, a1, ar: row, ac: col };
  return kernel({
    name: `matmul.halves${alongK ? '' : '.columns'}`,
    bindings: [...slabBindings('a', slab), write('halves', 'vec4<f16>'), write('range', 'i32')],
    params: { ...mapped(sizes, u32), ...mapped(places, i32) },
    workgroup,
    groups: z0 * z1 * Math.ceil(m / tile),
    // The columns of a device's workgroups are more than its caches hold: they are read twice.
    cost: { flops: 0, bytes: (alongK ? 4 : 8) * sizeOf(a.shape) + 4 * sizeOf(halves.shape) },
    declarations: `
var<workgroup> seen: array<vec4<u32>, ${2 * workgroup}>;
${slabLoader('A', slab)}`,
    body: `
let tiles = (p.m + ${tile - 1}u) / ${tile}u;
let z = group / tiles;
if (z >= p.batch) { return; }
let base = p.ao + i32(z / p.batch1) * p.a0 + i32(z % p.batch1) * p.a1;
let x = group % tiles * ${tile}u${alongK ? '' : ` + lane % ${across}u * 4u`};
var high = vec4<u32>(); // bits of the largest size, and the complement of those of the smallest that is not 0
var low = vec4<u32>();
${overK(`
  let v = bitcast<vec4<u32>>(loadA(base, x, q)) & vec4<u32>(0x7fffffffu);
  high = max(high, v);
  low = max(low, select(~v, vec4<u32>(), v == vec4<u32>()));`)}
for (var s = ${workgroup / 2}u; s >= ${across}u; s /= 2u) {
  seen[lane] = high;
  seen[lane + ${workgroup}u] = low;
  workgroupBarrier();
  high = max(seen[lane % s], seen[lane % s + s]);
  low = max(seen[lane % s + ${workgroup}u], seen[lane % s + s + ${workgroup}u]);
  workgroupBarrier();
}
${alongK ? `high = ${largest('high')};\nlow = ${largest('low')};` : ''}
let exponent = vec4<i32>(high >> vec4<u32>(23u));
let shift = min(141 - exponent, vec4<i32>(114));
let wide = (vec4<i32>(~low >> vec4<u32>(23u)) + shift < vec4<i32>(113)) | (~low < vec4<u32>(0x800000u));
let code = 4 * shift + select(select(vec4<i32>(), vec4<i32>(1), wide), vec4<i32>(2), exponent == vec4<i32>(255));
for (var e = 0u; e < ${alongK ? 1 : 4}u; e++) {
  if (lane < ${across}u && x + e < p.m) { range[z * p.m + x + e] = code[e]; }
}
let scale = bitcast<vec4<f32>>(vec4<u32>(shift + 127) << vec4<u32>(23u));
if (x >= ${alongK ? 'p.m' : 'p.along'}) { return; }
${overK(`
  let v = loadA(base, x, q) * scale;
  let normal = bitcast<vec4<f32>>((bitcast<vec4<u32>>(v) + vec4<u32>(0x1000u)) & vec4<u32>(0xffffe000u));
  let hi = select(normal, round(v * 0x1p24) * 0x1p-24, abs(v) < vec4<f32>(0x1p-14));
  let at = z * p.size + x * p.line + (q + q / p.part * p.part) * p.along;
  halves[at / 4u] = ${first};
  halves[(at + p.part * p.along) / 4u] = ${second};`)}`,
  });
}

/** Parameters of one type. */
const mapped = (values: Readonly<Record<string, number>>, type: (value: number) => Param): Record<string, Param> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, type(value)]));
