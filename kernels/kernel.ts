import { spread } from '../gpu/dispatch.ts';
import type { Access, Cost, Dispatch } from '../gpu/dispatch.ts';

/** Element types a kernel can bind. `bool` is stored as u32 0 or 1. */
export type Dtype = 'f32' | 'f16' | 'i32' | 'u32' | 'bool';

/** Bytes an element takes in a buffer. */
export function bytesOf(dtype: Dtype): number {
  return dtype === 'f16' ? 2 : 4;
}

/** WGSL type of a stored element. */
export function storedType(dtype: Dtype): 'f32' | 'f16' | 'i32' | 'u32' {
  return dtype === 'bool' ? 'u32' : dtype;
}

/** WGSL type the element is computed in: f16 is stored only, sums and transcendentals are taken in f32. */
export function computeType(dtype: Dtype): 'f32' | 'i32' | 'u32' {
  if (dtype === 'f16' || dtype === 'f32') return 'f32';
  return dtype === 'bool' ? 'u32' : dtype;
}

/** One storage buffer of a kernel. */
export interface Binding {
  readonly name: string;
  readonly access: Access;
  /** WGSL element type of the array: `f32`, `vec4<f32>`, `u32`, ... */
  readonly type: string;
}

export const read = (name: string, type: string): Binding => ({ name, access: 'read', type });
export const write = (name: string, type: string): Binding => ({ name, access: 'read_write', type });

/**
 * A uniform parameter. Scalars are parameters, never constants of the source, so that few pipelines serve
 * many shapes.
 */
export interface Param {
  readonly type: 'u32' | 'i32' | 'f32';
  readonly value: number;
  /** The first of the four words of a random draw: its stream (kernels/random.ts). */
  readonly draw?: number;
}

export const u32 = (value: number): Param => ({ type: 'u32', value });
export const i32 = (value: number): Param => ({ type: 'i32', value });
export const f32 = (value: number): Param => ({ type: 'f32', value });

export interface KernelSource {
  readonly name: string;
  readonly bindings: readonly Binding[];
  readonly params: Readonly<Record<string, Param>>;
  /** Invocations of a workgroup along x. */
  readonly workgroup: number;
  /** Workgroups needed; ids past 65,535 continue in y, see `group` below. */
  readonly groups: number;
  readonly cost: Cost;
  /**
   * Directives that the body needs, such as `enable subgroups;`. f16 enables itself where a binding has it.
   */
  readonly enables?: readonly string[];
  /**
   * Further attributes of main, such as `@subgroup_size(32)`, and further parameters, such as
   * `@builtin(subgroup_id) subgroup: u32`.
   */
  readonly attributes?: string;
  readonly builtins?: readonly string[];
  /** Name of the index in the workgroup, where `lane` is taken. */
  readonly laneName?: string;
  /** Functions and workgroup variables, before main. */
  readonly declarations?: string;
  /**
   * Statements of main. In scope: `p` (parameters), `lane` (index in the workgroup), `group` (workgroup index
   * over x and y), `id` (invocation index over the whole grid). The last workgroups may lie past `groups`:
   * guard by parameter.
   */
  readonly body: string;
}

const mainParameters = ['@builtin(workgroup_id) wid: vec3<u32>', '@builtin(num_workgroups) nwg: vec3<u32>'];

/** Assembles a kernel: bindings, parameter struct and entry point around a body. */
export function kernel(source: KernelSource): Dispatch {
  const { name, bindings, params, workgroup, groups, cost, laneName = 'lane', declarations = '', body } = source;
  const { enables = [], attributes = '', builtins = [] } = source;
  const names = Object.keys(params);
  const f16 = bindings.some(({ type }) => type.includes('f16'));
  const wgsl = [
    ...new Set([...(f16 ? ['enable f16;'] : []), ...enables]),
    ...bindings.map(
      (b, i) =>
        `@group(0) @binding(${i}) var<storage, ${b.access === 'read' ? 'read' : 'read_write'}> ${b.name}: array<${b.type}>;`,
    ),
    names.length > 0
      ? `struct Params { ${names.map((n) => `${n}: ${params[n]!.type}`).join(', ')} }\n@group(0) @binding(${bindings.length}) var<uniform> p: Params;`
      : '',
    declarations,
    `@compute @workgroup_size(${workgroup})${attributes}`,
    `fn main(${[...mainParameters, `@builtin(local_invocation_index) ${laneName}: u32`, ...builtins].join(', ')}) {`,
    `let group = wid.y * nwg.x + wid.x;`,
    `let id = group * ${workgroup}u + ${laneName};`,
    body,
    `}`,
  ];
  return {
    name,
    wgsl: wgsl.filter((line) => line !== '').join('\n'),
    names: bindings.map(({ name }) => name),
    access: bindings.map(({ access }) => access),
    params: pack(Object.values(params)),
    draws: Object.values(params).flatMap(({ draw }, word) => (draw === undefined ? [] : [{ word, stream: draw }])),
    grid: spread(groups),
    cost,
  };
}

/** Uniform structs of scalars are packed without gaps and padded to 16 bytes. */
function pack(params: readonly Param[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(Math.ceil(params.length / 4) * 16));
  params.forEach(({ type, value }, i) => {
    if (type === 'f32') view.setFloat32(4 * i, value, true);
    else if (type === 'i32') view.setInt32(4 * i, value, true);
    else view.setUint32(4 * i, value, true);
  });
  return new Uint8Array(view.buffer);
}
