import type { Dispatch } from '../../gpu/dispatch.ts';
import { kernel, read, u32, write } from '../kernel.ts';
import { bySegment, numbered, quads, segmentEnds } from './segments.ts';

/** Quads that a workgroup looks at: its threads read neighbours, so that a GPU's accesses are whole cache lines. */
const span = 1024;
const workgroup = 64;

/** Tensors that one dispatch can take: all bindings but one, as long as their numbers fit the parameters. */
export const tensorsToCollect = (maxStorageBuffers: number): number => Math.min(maxStorageBuffers - 1, 28);

/** Parameters in a shared buffer begin at multiples of this many quads, so that a workgroup's elements all belong to one of them. */
export const packing = 64;

/** Room that a packed tensor takes, in quads. */
export const packedQuads = (size: number): number => Math.ceil(quads(size) / packing) * packing;

/** Workgroups, hence partial sums, for one tensor. */
export const partialsFor = (size: number): number => Math.ceil(quads(size) / span);

export interface CollectParams {
  /** Elements of each tensor. Tensors are row-major f32 from offset 0. */
  readonly sizes: readonly number[];
  /** Where each tensor is copied to, in quads; undefined: nowhere. */
  readonly places: readonly (number | undefined)[];
  /** Where the partial sums go, in quads; undefined: none are taken. */
  readonly partials: number | undefined;
}

/**
 * Looks at many tensors once: copies small ones into one buffer, followed by zeros up to their room there, and takes a sum of squares of every 4096
 * elements. Bindings the buffer, then the tensors. A partial sum is a quad (sum of squares, 1 if an element is infinite or NaN, 0, 0): non-finite
 * elements are told by their bits, since a sum of squares may overflow without any.
 */
export function collect({ sizes, places, partials }: CollectParams): Dispatch {
  const { params, total } = segmentEnds(sizes.map(partialsFor));
  const room = sizes.map((size, k) => (places[k] === undefined ? quads(size) : packedQuads(size)));
  const nowhere = 0xffffffff;
  const elements = sizes.reduce((a, b) => a + b, 0);
  const sums = partials !== undefined;
  return kernel({
    name: sums ? 'collect.sums' : 'collect',
    bindings: [write('collected', 'vec4<f32>'), ...sizes.map((_, k) => read(`x${k}`, 'vec4<f32>'))],
    params: {
      partials: u32(partials ?? 0),
      groups: u32(total),
      ...params,
      ...numbered('size', sizes),
      ...numbered('room', room),
      ...numbered(
        'place',
        places.map((place) => place ?? nowhere),
      ),
    },
    workgroup,
    groups: total,
    cost: { flops: sums ? 2 * elements : 0, bytes: 4 * elements },
    declarations: `
const step = ${workgroup}u;
const infinite = 0x7f800000u;
${
  sums
    ? `var<workgroup> sums: array<f32, ${workgroup}>;
var<workgroup> marks: array<u32, ${workgroup}>;`
    : ''
}
// Elements past the tensor's end are undefined in its buffer and 0 here.
fn clean(v: vec4<f32>, q: u32, size: u32) -> vec4<f32> {
  return select(vec4<f32>(), v, vec4<u32>(4u * q) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(size));
}`,
    body: `
if (group >= p.groups) { return; }
var total = vec4<f32>();
var found = vec4<bool>();
${bySegment(
  'group',
  sizes.length,
  (k) => `
let end = min((i + 1u) * ${span}u, p.room${k});
for (var q = i * ${span}u + lane; q < end; q += step) {
  let v = clean(x${k}[q], q, p.size${k});
  ${sums ? 'total += v * v; found |= (bitcast<vec4<u32>>(v) & vec4<u32>(infinite)) == vec4<u32>(infinite);' : ''}
  if (p.place${k} != ${nowhere}u) { collected[p.place${k} + q] = v; }
}`,
)}
${
  sums
    ? `
sums[lane] = (total.x + total.y) + (total.z + total.w);
marks[lane] = select(0u, 1u, any(found));
workgroupBarrier();
if (lane < 8u) {
  for (var k = 1u; k < 8u; k++) { sums[lane] += sums[lane + 8u * k]; marks[lane] |= marks[lane + 8u * k]; }
}
workgroupBarrier();
if (lane == 0u) {
  for (var k = 1u; k < 8u; k++) { sums[0] += sums[k]; marks[0] |= marks[k]; }
  collected[p.partials + group] = vec4<f32>(sums[0], f32(marks[0]), 0.0, 0.0);
}`
    : ''
}`,
  });
}
