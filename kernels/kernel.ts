import { spread } from '../gpu/dispatch.ts';
import type { Access, Cost, Dispatch } from '../gpu/dispatch.ts';

/** Element types a kernel can bind. `bool` is stored as u32 0 or 1. */
export type Dtype = 'f32' | 'f16' | 'i32' | 'u32' | 'bool';

/**
 * Bytes an element takes in a buffer.
 *
 * @example
 * bytesOf('f16'); // 2
 */
export function bytesOf(dtype: Dtype): number {
  return dtype === 'f16' ? 2 : 4;
}

/**
 * WGSL type of a stored element.
 *
 * @example
 * storedType('bool'); // 'u32'
 */
export function storedType(dtype: Dtype): 'f32' | 'f16' | 'i32' | 'u32' {
  return dtype === 'bool' ? 'u32' : dtype;
}

/**
 * WGSL type the element is computed in: f16 is stored only, sums and transcendentals are taken in f32.
 *
 * @example
 * computeType('f16'); // 'f32'
 */
export function computeType(dtype: Dtype): 'f32' | 'i32' | 'u32' {
  if (dtype === 'f16' || dtype === 'f32') return 'f32';
  return dtype === 'bool' ? 'u32' : dtype;
}

/**
 * WGSL of the number of the vec4 that begins at an element, an i32 of 0 or more; a vec4 of words holds 8 of
 * f16. Not divided: a signed division takes four instructions, and behind it llvmpipe (Mesa 26.1, LLVM 21)
 * lost stores of a row kernel.
 */
export const quad = (element: string, elements: 4 | 8 = 4): string => `(${element}) >> ${Math.log2(elements)}u`;

/** One storage buffer of a kernel. */
export interface Binding {
  readonly name: string;
  readonly access: Access;
  /** WGSL element type of the array: `f32`, `vec4<f32>`, `u32`, ... */
  readonly type: string;
}

/**
 * @example
 * read('x', 'f32'); // { name: 'x', access: 'read', type: 'f32' }
 */
export const read = (name: string, type: string): Binding => ({ name, access: 'read', type });
/**
 * @example
 * write('y', 'f32'); // { name: 'y', access: 'read_write', type: 'f32' }
 */
export const write = (name: string, type: string): Binding => ({ name, access: 'read_write', type });

/**
 * A uniform parameter. Scalars are parameters, never constants of the source, so that few pipelines serve
 * many shapes.
 */
export interface Param {
  readonly type: 'u32' | 'i32' | 'f32';
  readonly value: number;
  /** Stream of a random draw, on the first of its four parameters (kernels/random.ts). */
  readonly draw?: number;
}

/**
 * @example
 * u32(4); // { type: 'u32', value: 4 }
 */
export const u32 = (value: number): Param => ({ type: 'u32', value });
/**
 * @example
 * i32(-1); // { type: 'i32', value: -1 }
 */
export const i32 = (value: number): Param => ({ type: 'i32', value });
/**
 * @example
 * f32(0.5); // { type: 'f32', value: 0.5 }
 */
export const f32 = (value: number): Param => ({ type: 'f32', value });

export interface KernelSource {
  readonly name: string;
  readonly bindings: readonly Binding[];
  readonly params: Readonly<Record<string, Param>>;
  /** Invocations of a workgroup along x. */
  readonly workgroup: number;
  /** Workgroups needed. Above 65,535 they fill a grid of x and y, see `group` below. */
  readonly groups: number;
  readonly cost: Cost;
  /**
   * Directives that the body needs, such as `enable subgroups;`. `enable f16;` is added where a binding has
   * f16.
   */
  readonly enables?: readonly string[];
  /** Further attributes of main, such as ` @subgroup_size(32)`. */
  readonly attributes?: string;
  /** Further parameters of main, such as `@builtin(subgroup_id) subgroup: u32`. */
  readonly builtins?: readonly string[];
  /** Name of the index in the workgroup, where the body uses `lane` for something else. */
  readonly laneName?: string;
  /** Functions and workgroup variables, before main. */
  readonly declarations?: string;
  /**
   * Statements of main. In scope: `p` (parameters), `lane` (index in the workgroup), `group` (number of the
   * workgroup), `id` (number of the invocation in the whole grid). The grid may hold more workgroups than
   * `groups`, so the body begins with a guard: `if (id >= p.n) { return; }`.
   */
  readonly body: string;
}

/** Of main: which workgroup it is, and how many there are. */
export const gridParameters = ['@builtin(workgroup_id) wid: vec3<u32>', '@builtin(num_workgroups) nwg: vec3<u32>'];

export function directivesOf({ bindings, enables = [] }: KernelSource): string[] {
  const f16 = bindings.some(({ type }) => type.includes('f16'));
  return [...new Set([...(f16 ? ['enable f16;'] : []), ...enables])];
}

/** WGSL of storage buffers, in binding order from 0. */
export const declareStorage = (bindings: readonly Binding[]): string[] =>
  bindings.map(
    ({ name, access, type }, i) => `@group(0) @binding(${i}) var<storage, ${access}> ${name}: array<${type}>;`,
  );

/** WGSL of the uniform `p`, bound after the storage buffers; empty for a kernel without parameters. */
export function declareParams(params: Readonly<Record<string, Pick<Param, 'type'>>>, binding: number): string {
  const fields = Object.entries(params).map(([name, { type }]) => `${name}: ${type}`);
  if (fields.length === 0) return '';
  return `struct Params { ${fields.join(', ')} }\n@group(0) @binding(${binding}) var<uniform> p: Params;`;
}

const sources = new WeakMap<Dispatch, KernelSource>();

/** What `kernel` made a dispatch of; undefined for one that it did not make, such as several abreast. */
export const sourceOf = (dispatch: Dispatch): KernelSource | undefined => sources.get(dispatch);

/**
 * Assembles a kernel: bindings, parameter struct and entry point around a body.
 *
 * @example
 * const double = kernel({
 *   name: 'double',
 *   bindings: [read('x', 'f32'), write('y', 'f32')],
 *   params: { n: u32(1000) }, workgroup: 64, groups: 16, cost: { flops: 1000, bytes: 8000 },
 *   body: 'if (id < p.n) { y[id] = 2.0 * x[id]; }',
 * });
 * double.grid; // [16, 1, 1]
 */
export function kernel(source: KernelSource): Dispatch {
  const { name, bindings, params, workgroup, groups, cost, laneName = 'lane', declarations = '', body } = source;
  const { attributes = '', builtins = [] } = source;
  const wgsl = [
    ...directivesOf(source),
    ...declareStorage(bindings),
    declareParams(params, bindings.length),
    declarations,
    `@compute @workgroup_size(${workgroup})${attributes}`,
    `fn main(${[...gridParameters, `@builtin(local_invocation_index) ${laneName}: u32`, ...builtins].join(', ')}) {`,
    `let group = wid.y * nwg.x + wid.x;`,
    `let id = group * ${workgroup}u + ${laneName};`,
    body,
    `}`,
  ];
  const dispatch: Dispatch = {
    name,
    wgsl: wgsl.filter((line) => line !== '').join('\n'),
    names: bindings.map(({ name }) => name),
    access: bindings.map(({ access }) => access),
    params: pack(Object.values(params)),
    draws: Object.values(params).flatMap(({ draw }, word) => (draw === undefined ? [] : [{ word, stream: draw }])),
    grid: spread(groups),
    cost,
  };
  sources.set(dispatch, source);
  return dispatch;
}

/** Packs scalars as WGSL lays out a struct of them: 4 bytes each without gaps, padded to 16 bytes. */
function pack(params: readonly Param[]): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(Math.ceil(params.length / 4) * 16));
  params.forEach(({ type, value }, i) => {
    if (type === 'f32') view.setFloat32(4 * i, value, true);
    else if (type === 'i32') view.setInt32(4 * i, value, true);
    else view.setUint32(4 * i, value, true);
  });
  return new Uint8Array(view.buffer);
}
