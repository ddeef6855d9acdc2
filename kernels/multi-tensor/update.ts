import type { Dispatch } from '../../gpu/dispatch.ts';
import { kernel, read, u32, write } from '../kernel.ts';
import type { KernelSource } from '../kernel.ts';
import { packing } from './collect.ts';
import { hyperAt, resultAt, slotsAt } from './prepare.ts';
import type { ControlLayout } from './prepare.ts';
import type { UpdateRule } from './rule.ts';
import { bySegment, numbered, quads, segmentEnds } from './segments.ts';

/**
 * Parameter and gradient pairs that one dispatch can take beside control, state and, where there are any, f16
 * copies: by bindings, and by uniform words.
 */
export function pairsPerDispatch(maxStorageBuffers: number, half: boolean): number {
  return Math.min(28, Math.max(1, Math.floor((maxStorageBuffers - 2 - Number(half)) / 2)));
}

interface Common {
  readonly rule: UpdateRule;
  readonly layout: ControlLayout;
  readonly group: number;
  /** Also writes the parameters in f16. */
  readonly half: boolean;
}

export interface UpdateParams extends Common {
  /** Elements of each parameter. Parameters and gradients are row-major f32 from offset 0. */
  readonly sizes: readonly number[];
  /**
   * Where each parameter's elements begin in the state (and in the f16 copies), in quads of one array: a
   * multiple of 64.
   */
  readonly starts: readonly number[];
  /** Each parameter's number in the control buffer. */
  readonly slots: readonly number[];
}

const workgroup = packing;
const groupsFor = (length: number): number => Math.ceil(length / workgroup);

/**
 * One step for parameters with buffers of their own. Bindings control, state, (half,) then parameter and
 * gradient of each. The state holds a quad of each of its arrays alternately, so that they take one binding.
 * On llvmpipe (4 M elements, a shared machine, quartile of 22 runs) AdamW took 82 ms that way and 88 ms with
 * the arrays in buffers of their own; 64 quads of each alternately took 124 ms, a loop over several quads in
 * each thread twice as long.
 */
export function update({ sizes, starts, slots, ...common }: UpdateParams): Dispatch {
  const { params, total } = segmentEnds(sizes.map((size) => groupsFor(quads(size))));
  return updateKernel(common, {
    bindings: sizes.flatMap((_, k) => [write(`x${k}`, 'vec4<f32>'), read(`g${k}`, 'vec4<f32>')]),
    params: {
      ...params,
      ...numbered('start', starts),
      ...numbered('slot', slots),
      ...numbered('quads', sizes.map(quads)),
    },
    groups: total,
    quads: sizes.reduce((sum, size) => sum + quads(size), 0),
    body: bySegment(
      'group',
      sizes.length,
      (k) => `
let q = i * ${workgroup}u + lane;
let slot = control[p.slots + p.slot${k}];
if (q < p.quads${k} && slot.w != 0.0) { ${step(common, `x${k}[q]`, `g${k}[q]`, `p.start${k} + q`)} }`,
    ),
  });
}

export interface UpdatePackedParams extends Common {
  /** Quads of the parameters together. */
  readonly quads: number;
  /** Where their gradients begin in the collected ones, in quads. */
  readonly gradients: number;
}

/**
 * One step for parameters that share one buffer, with their gradients collected the same way. Bindings
 * control, state, (half,) parameters, gradients, and the parameter's number in the control buffer for each 64
 * quads (i32).
 */
export function updatePacked({ quads: total, gradients, ...common }: UpdatePackedParams): Dispatch {
  return updateKernel(common, {
    bindings: [write('x', 'vec4<f32>'), read('g', 'vec4<f32>'), read('owners', 'i32')],
    params: { total: u32(total), gradients: u32(gradients) },
    groups: groupsFor(total),
    quads: total,
    body: `
if (id < p.total) {
  let slot = control[p.slots + u32(owners[group])];
  if (slot.w != 0.0) { ${step(common, 'x[id]', 'g[p.gradients + id]', 'id')} }
}`,
  });
}

/** WGSL statements that update one quad. */
function step({ half }: Common, x: string, g: string, s: string): string {
  return `
let s = ${s};
let y = update(${x}, ${g} * factor, s, slot.y, slot.z);
${x} = y;
${half ? 'half[s] = vec4<f16>(y);' : ''}`;
}

function updateKernel(
  { rule, layout, group, half }: Common,
  kind: Pick<KernelSource, 'bindings' | 'params' | 'body' | 'groups'> & { readonly quads: number },
): Dispatch {
  const arrays = rule.state.length;
  return kernel({
    name: rule.name,
    bindings: [
      read('control', 'vec4<f32>'),
      write('state', 'vec4<f32>'),
      ...(half ? [write('half', 'vec4<f16>')] : []),
      ...kind.bindings,
    ],
    params: { hyper: u32(hyperAt(group)), result: u32(resultAt(layout)), slots: u32(slotsAt(layout)), ...kind.params },
    workgroup,
    groups: kind.groups,
    cost: { flops: kind.quads * 4 * 12, bytes: kind.quads * (16 * (3 + 2 * arrays) + (half ? 8 : 0)) },
    declarations: rule.update,
    body: `let factor = control[p.result].z;\n${kind.body}`,
  });
}
