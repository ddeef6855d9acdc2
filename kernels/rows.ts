import type { Dispatch } from '../gpu/dispatch.ts';
import type { Target } from '../gpu/device.ts';
import { kernel, u32 } from './kernel.ts';
import type { Binding, Param } from './kernel.ts';
import { aliases, bytesMoved, declare, loadElements, storeElements } from './map/elements.ts';
import type { Elements } from './map/elements.ts';
import { sizeOf } from './layout.ts';

/** Threads that share a row: one, a subgroup of 8 (a processor's vector unit), or a workgroup of 64. */
export type RowLanes = 1 | 8 | 64;

export interface RowKernel {
  readonly name: string;
  /** [..., cols]. */
  readonly shape: readonly number[];
  /** Operands [..., cols], read by element: `load_NAME(row, c)` returns a V. Absent ones are left out. */
  readonly sources: Readonly<Record<string, Elements | undefined>>;
  /** Further bindings that the body reads. */
  readonly inputs?: readonly Binding[];
  /** Stores each element of the result: `put(row, c, value)`. */
  readonly sink?: Elements;
  /** Further bindings that the body writes; they come last. */
  readonly outputs?: readonly Binding[];
  readonly params?: Readonly<Record<string, Param>>;
  /** Operations an element, without those of sources and sink. */
  readonly flops: number;
  /** Bytes that the body itself reads and writes at least, without those of sources and sink. */
  readonly bytes?: number;
  readonly declarations?: string;
  /** Sources that the body reads in several passes over the row. */
  readonly repeated?: readonly string[];
  /**
   * Emits the statements of a row. In scope: `row`; `cols`, the length of the row in units of V; `first`, the
   * thread's first element, 0 in exactly one thread; `sumRow(V)` and `maxRow(V)`, which return the total over
   * the row to every thread. V holds four elements where the length is a multiple of 4, else one.
   */
  readonly body: (row: RowBody) => string;
}

/** Emits a pass over a row. */
export interface RowBody {
  /** Repeats a statement for each element `c` of the thread. */
  each(statement: string): string;
  /** Element `c` of a source, inside of `each`. */
  of(source: string): string;
}

/** Most of a row that a thread of a subgroup holds in registers, in units of V. */
const maxHeld = 32;

/** Elements that one load or store takes: 4 where the length of a row allows it, else 1. */
export function rowWidth(cols: number): 1 | 4 {
  return cols % 4 === 0 ? 4 : 1;
}

/** The facts of a device that choose the threads of a row. */
export interface RowTarget extends Pick<Target, 'software' | 'subgroupSizes'> {
  /** Fixes the choice: tests run every variant at every size. */
  readonly lanes?: RowLanes;
}

/**
 * Chooses the threads of a row. A GPU takes a workgroup, since few rows with one thread each would leave it
 * idle. On a processor barriers cost much, so a row has one subgroup, whose lanes add up without a barrier
 * and read neighbours; short rows would leave lanes idle and have one thread.
 */
export function chooseLanes({ software, subgroupSizes, lanes }: RowTarget, cols: number): RowLanes {
  if (lanes) return lanes;
  if (!software) return 64;
  return subgroupSizes.every((size) => size === 8) && cols >= 64 ? 8 : 1;
}

/** WGSL of addUp(V) and largest(V): the sum and the largest of the elements that a V holds. */
function horizontal(width: 1 | 4): string {
  if (width === 1) return 'fn addUp(v: V) -> f32 { return v; }\nfn largest(v: V) -> f32 { return v; }';
  return `fn addUp(v: V) -> f32 { return (v.x + v.y) + (v.z + v.w); }
fn largest(v: V) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }`;
}

/** WGSL of sumRow(V) and maxRow(V) for the threads that share a row. */
function totals(lanes: RowLanes, workgroup: number): string {
  if (lanes === 1) return 'fn sumRow(v: V) -> f32 { return addUp(v); }\nfn maxRow(v: V) -> f32 { return largest(v); }';
  if (lanes === 8)
    return `fn sumRow(v: V) -> f32 { return subgroupAdd(addUp(v)); }
fn maxRow(v: V) -> f32 { return subgroupMax(largest(v)); }`;
  const across = (combine: string): string => `
  scratch[lane] = v;
  workgroupBarrier();
  for (var s = ${workgroup / 2}u; s > 0u; s = s / 2u) {
    if (lane < s) { let other = scratch[lane + s]; scratch[lane] = ${combine}; }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&scratch[0]);`;
  return `var<workgroup> scratch: array<f32, ${workgroup}>;
var<private> lane: u32;
fn sumAcross(v: f32) -> f32 {${across('scratch[lane] + other')}}
fn maxAcross(v: f32) -> f32 {${across('max(scratch[lane], other)')}}
fn sumRow(v: V) -> f32 { return sumAcross(addUp(v)); }
fn maxRow(v: V) -> f32 { return maxAcross(largest(v)); }`;
}

/**
 * Assembles a kernel over the rows of a matrix: softmax, norms, losses. One body serves every choice of
 * threads.
 */
export function rowKernel(spec: RowKernel, target: RowTarget): Dispatch {
  const { name, shape, inputs = [], sink, outputs = [], params = {}, declarations = '', repeated = [], body } = spec;
  const { bytes = 0 } = spec;
  const cols = shape.at(-1) ?? 1;
  const rows = sizeOf(shape.slice(0, -1));
  const lanes = chooseLanes(target, cols);
  const width = rowWidth(cols);
  const sources = Object.entries(spec.sources).flatMap(([source, elements]) =>
    elements ? [{ source, elements }] : [],
  );
  const codes = sources.map(({ source, elements }) =>
    loadElements(`load_${source}`, elements, { width, prefix: `${source}_`, by: 'row' }),
  );
  const end = sink && storeElements('put', sink, { width, prefix: 'y_', by: 'row', carries: true });
  const all = end ? [...codes, end] : codes;
  // A software driver loads lane by lane, so what is read again is held in registers: a softmax of 512 x 1024
  // took 1.5 ms with three passes over memory, 0.7 ms with one.
  const units = Math.ceil(cols / width / 8);
  const held = lanes === 8 && units <= maxHeld ? repeated : [];
  const heldLoop = (statement: string): string => {
    const guarded = units * 8 === cols / width ? statement : `if (c < cols) { ${statement} }`;
    return `for (var i = 0u; i < ${units}u; i++) { let c = first + 8u * i; ${guarded} }`;
  };
  const goOver: RowBody = {
    each: (statement) =>
      held.length > 0 ? heldLoop(statement) : `for (var c = first; c < cols; c += stride) { ${statement} }`,
    of: (source) => (held.includes(source) ? `held_${source}[i]` : `load_${source}(row, c)`),
  };
  const holds = held.map((source) => `var held_${source}: array<V, ${units}>;`);
  const fill = held.map((source) => `held_${source}[i] = load_${source}(row, c);`).join(' ');
  const moved = sources.reduce((sum, { elements }) => sum + bytesMoved(elements, false), 0);
  const workgroup = lanes === 8 ? 8 : 64;
  const [row, first, stride] = lanes === 1 ? ['id', '0u', '1u'] : ['group', 'localIndex', `${workgroup}u`];
  return kernel({
    name: `${name}.${{ 1: 'thread', 8: 'subgroup', 64: 'workgroup' }[lanes]}`,
    enables: lanes === 8 ? ['enable subgroups;'] : [],
    bindings: [
      ...codes.flatMap((code) => code.operands),
      ...inputs,
      ...(end ? [...end.operands, ...end.outputs] : []),
      ...outputs,
    ],
    params: Object.assign({ rows: u32(rows), cols: u32(cols / width) }, params, ...all.map((code) => code.params)),
    workgroup,
    groups: lanes === 1 ? Math.ceil(rows / workgroup) : rows,
    cost: {
      flops: rows * cols * (spec.flops + all.reduce((sum, { flops }) => sum + flops, 0)),
      bytes: bytes + moved + (sink ? bytesMoved(sink, true) : 0),
    },
    laneName: 'localIndex',
    declarations: `
${aliases('f32', width)}
${horizontal(width)}
${totals(lanes, workgroup)}
${declare(...all)}
${declarations}`,
    body: `
${lanes === 64 ? 'lane = localIndex;' : ''}
let row = ${row}; let first = ${first}; let stride = ${stride};
if (row >= p.rows) { return; }
let cols = p.cols;
${holds.join('\n')}
${held.length > 0 ? goOver.each(fill) : ''}
${body(goOver)}`,
  });
}

/**
 * Emits `m`, the largest element of the row, and `sum`, the sum of exp(x - m) over it; `x` is WGSL of element
 * c. m is at least -3.4e38, so that a row of -inf gives exp(-inf) = 0 and then 0 / 0 = NaN, as in PyTorch.
 */
export function shiftedExpSum({ each, of }: RowBody, x = of('x')): string {
  return `var top = V(-3.4e38);
${each(`top = max(top, ${x});`)}
let m = maxRow(top);
var total = V(0);
${each(`total += exp(${x} - m);`)}
let sum = sumRow(total);`;
}
