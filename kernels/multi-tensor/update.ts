import type { Dispatch } from '../../gpu/dispatch.ts';
import { kernel, read, u32, write } from '../kernel.ts';
import type { KernelSource } from '../kernel.ts';
import { sizeOf } from '../layout.ts';
import type { Operand } from '../layout.ts';
import type { Expr } from '../map/expr.ts';
import { functionsUsedBy } from '../map/functions.ts';
import { leavesOf, print } from '../map/print.ts';
import { bySegment, numbered, packing, quads, segmentEnds } from './collect.ts';

// Where things lie

/** Numbers in a group's hyper. */
export const hyperSize = 12;

/**
 * Where things lie in an optimizer's control buffer, in quads: hyper of each group, the step's result, a quad
 * for each parameter.
 */
export interface ControlLayout {
  readonly groups: number;
  readonly parameters: number;
}

export const hyperAt = (group: number): number => (group * hyperSize) / 4;
/** Quad (global norm before clipping, 1 if an element was not finite, factor of the gradients, 0). */
export const resultAt = ({ groups }: ControlLayout): number => hyperAt(groups);
export const slotsAt = (layout: ControlLayout): number => resultAt(layout) + 1;
export const controlQuads = (layout: ControlLayout): number => slotsAt(layout) + layout.parameters;

// Rules

/**
 * An optimizer's update rule, as a table of expressions over names. Numbers that change from step to step lie
 * on the device, so that a recorded step can be replayed: `hyper` of each group of parameters, written by the
 * host, and for each parameter what is derived from it and from the number of updates, once a step.
 */
export interface RuleTable<Options, H extends string, D extends string, S extends string> {
  /** The optimizer's, as users see it. */
  readonly name: string;
  readonly defaults: NoInfer<Options>;
  /**
   * The numbers that the kernels read, of a group's options; differences are taken here, in double precision.
   */
  readonly hyper: (options: Options) => Readonly<Record<H, number>>;
  /** At most two numbers of hyper and of the update's number `t`, from 1. */
  readonly derived?: (hyper: Readonly<Record<NoInfer<H> | 't', Expr>>) => Readonly<Record<D, Expr>>;
  /** Numbers remembered for each element, 0 at first: PyTorch's names. */
  readonly state: readonly S[];
  /** The new parameter and the new state. */
  readonly update: (x: Readonly<Record<'param' | 'grad' | H | D | S, Expr>>) => Readonly<Record<'param' | S, Expr>>;
}

let rules = 0;

/** A rule as its kernels need it. */
export interface UpdateRule {
  /** Rules are equal only if they are the same: kernels are remembered by it. */
  readonly toJSON: () => number;
  readonly name: string;
  readonly hyper: readonly string[];
  readonly state: readonly string[];
  /** WGSL declarations with `derive(h, t) -> vec2<f32>`, h: quad of the group's hyper in `control`. */
  readonly derive: string;
  /**
   * WGSL declarations with `update(param, grad, s, a, b) -> V`, s: quad of the element in the state's arrays.
   */
  readonly update: string;
}

const leaf = (name: string): Expr => ({ op: 'input', kind: 'v', args: [], name });
const leaves = <N extends string>(names: readonly N[]): Record<N, Expr> =>
  Object.fromEntries(names.map((name) => [name, leaf(name)])) as Record<N, Expr>;

/** The kernels' side of a rule: all WGSL of an update comes from its table. */
export function updateRule<Options, H extends string, D extends string, S extends string>({
  name,
  defaults,
  hyper,
  derived,
  state,
  update,
}: RuleTable<Options, H, D, S>): UpdateRule {
  const names = Object.keys(hyper(defaults)) as H[];
  const ofStep = derived?.(leaves([...names, 't'])) ?? ({} as Record<D, Expr>);
  const derivedNames = Object.keys(ofStep) as D[];
  if (names.length > hyperSize || derivedNames.length > 2)
    throw new Error(`${name}: a rule has at most ${hyperSize} numbers of hyper and 2 that are derived from them`);
  const next = update(leaves(['param', 'grad', ...names, ...derivedNames, ...state]));
  rules++;
  const number = rules;
  return {
    toJSON: () => number,
    name: name.toLowerCase(),
    hyper: names,
    state,
    derive: deriveWgsl(names, Object.values(ofStep)),
    update: updateWgsl(names, derivedNames, state, next),
  };
}

/**
 * `let` statements for the hyper that expressions read, from quad `h` of `control` on; each quad is read
 * once.
 */
function hyperLets(names: readonly string[], exprs: readonly Expr[], h: string): string[] {
  const read = leavesOf(exprs);
  const places = names.flatMap((name, i) => (read.has(name) ? [{ name, quad: i >> 2, element: 'xyzw'[i & 3]! }] : []));
  const quads = [...new Set(places.map(({ quad }) => quad))];
  return [
    ...quads.map((quad) => `let h${quad} = control[${h} + ${quad}u];`),
    ...places.map(({ name, quad, element }) => `let ${name} = V(h${quad}.${element});`),
  ];
}

function deriveWgsl(names: readonly string[], exprs: readonly Expr[]): string {
  const { statements, results } = print(exprs);
  return `alias V = f32;
alias B = bool;
alias U = u32;
${functionsUsedBy(statements, 'f32', 1).join('\n')}
fn derive(h: u32, t: f32) -> vec2<f32> {
${[...hyperLets(names, exprs, 'h'), statements].join('\n')}
return vec2<f32>(${[0, 1].map((i) => results[i] ?? '0.0').join(', ')});
}`;
}

function updateWgsl(
  names: readonly string[],
  derived: readonly string[],
  state: readonly string[],
  next: Readonly<Record<string, Expr>>,
): string {
  const exprs = ['param', ...state].map((name) => next[name]!);
  const { statements, results } = print(exprs);
  const at = (k: number): string => `state[${state.length}u * s + ${k}u]`;
  return `alias V = vec4<f32>;
alias B = vec4<bool>;
alias U = vec4<u32>;
${functionsUsedBy(statements, 'f32', 4).join('\n')}
fn update(param: V, grad: V, s: u32, a: f32, b: f32) -> V {
${[
  ...hyperLets(names, exprs, 'p.hyper'),
  ...derived.map((name, i) => `let ${name} = V(${'ab'[i]});`),
  ...state.map((name, k) => `let ${name} = ${at(k)};`),
  statements,
  ...state.map((_, k) => `${at(k)} = ${results[k + 1]};`),
].join('\n')}
return ${results[0]};
}`;
}

// Kernels

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
}

/** Bound by every update: the control buffer, the state, and, where they are kept, f16 copies. */
interface Shared {
  readonly control: Operand;
  readonly state: Operand;
  readonly half?: Operand;
}

export interface UpdateAttrs extends Common {
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
 * One step for parameters x, with gradients g, that have buffers of their own: row-major f32 from offset 0.
 * The state holds a quad of each of its arrays alternately, so that they take one binding. On llvmpipe (4 M
 * elements, a shared machine, quartile of 22 runs) AdamW took 82 ms that way and 88 ms with the arrays in
 * buffers of their own; 64 quads of each alternately took 124 ms, a loop over several quads in each thread
 * twice as long.
 */
export function update(
  { x, half }: Shared & { readonly x: readonly Operand[]; readonly g: readonly Operand[] },
  { starts, slots, ...common }: UpdateAttrs,
): Dispatch {
  const sizes = x.map(({ shape }) => sizeOf(shape));
  const { params, total } = segmentEnds(sizes.map((size) => groupsFor(quads(size))));
  return updateKernel(common, half !== undefined, {
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
if (q < p.quads${k} && slot.w != 0.0) { ${step(half !== undefined, `x${k}[q]`, `g${k}[q]`, `p.start${k} + q`)} }`,
    ),
  });
}

export interface UpdatePackedOperands extends Shared {
  /** [quads, 4]: the parameters. */
  readonly x: Operand;
  /** Gradients as `collect` left them. */
  readonly g: Operand;
  /** i32 [quads / 64]: the parameter's number in the control buffer. */
  readonly owners: Operand;
}

/**
 * One step for parameters that share one buffer. Their gradients lie the same way in g, from quad `gradients`
 * on.
 */
export function updatePacked(
  { x, half }: UpdatePackedOperands,
  { gradients, ...common }: Common & { readonly gradients: number },
): Dispatch {
  const total = x.shape[0]!;
  return updateKernel(common, half !== undefined, {
    bindings: [write('x', 'vec4<f32>'), read('g', 'vec4<f32>'), read('owners', 'i32')],
    params: { total: u32(total), gradients: u32(gradients) },
    groups: groupsFor(total),
    quads: total,
    body: `
if (id < p.total) {
  let slot = control[p.slots + u32(owners[group])];
  if (slot.w != 0.0) { ${step(half !== undefined, 'x[id]', 'g[p.gradients + id]', 'id')} }
}`,
  });
}

/** WGSL statements that update one quad. */
function step(half: boolean, x: string, g: string, s: string): string {
  return `
let s = ${s};
let y = update(${x}, ${g} * factor, s, slot.y, slot.z);
${x} = y;
${half ? 'half[s] = vec4<f16>(y);' : ''}`;
}

function updateKernel(
  { rule, layout, group }: Common,
  half: boolean,
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
