import type { Dispatch } from '../gpu/dispatch.ts';
import type { Target } from '../gpu/device.ts';
import { kernel, u32 } from './kernel.ts';
import type { Binding, Param } from './kernel.ts';
import { aliases, bytesMoved, declare, loadElements, storeElements } from './map/elements.ts';
import type { Elements } from './map/elements.ts';
import { sizeOf } from './layout.ts';

/**
 * How a row is shared out: one thread a row, a subgroup of 8 (a processor's vector unit), or a workgroup of
 * 64 threads.
 */
export type RowLanes = 1 | 8 | 64;

export interface RowKernel {
  readonly name: string;
  /** [..., cols]. */
  readonly shape: readonly number[];
  /**
   * Operands read by element, over [..., cols]: `load_NAME(row, c)` gives a V. Absent ones are left out.
   */
  readonly sources: Readonly<Record<string, Elements | undefined>>;
  /** Bindings that the body reads by itself. */
  readonly inputs?: readonly Binding[];
  /** Stores each element of the result: `put(row, c, value)`. */
  readonly sink?: Elements;
  /** Bindings that the body writes by itself, last. */
  readonly outputs?: readonly Binding[];
  readonly params?: Readonly<Record<string, Param>>;
  /** Operations an element, but for those of sources and sink. */
  readonly flops: number;
  readonly declarations?: string;
  /** Sources that the body goes over more than once. */
  readonly repeated?: readonly string[];
  /**
   * Statements. In scope: `row`, `cols` (in units of V, four elements where they are a multiple of 4), and
   * `first`, 0 in one thread of the row; `sumRow(V)` and `maxRow(V)` give every thread the total over the
   * row.
   */
  readonly body: (row: RowBody) => string;
}

/** How a body goes over its row. */
export interface RowBody {
  /** Runs a statement for each of the thread's elements; `c` is the place in the row. */
  each(statement: string): string;
  /** Inside of `each`: the element of a source. */
  of(source: string): string;
}

/** Elements of a row that a thread of a subgroup holds at most, in units of V. */
const maxHeld = 32;

/** Elements an access takes. */
export function rowWidth(cols: number): 1 | 4 {
  return cols % 4 === 0 ? 4 : 1;
}

/** A device as far as the choice of threads for a row depends on it. */
export interface RowTarget extends Pick<Target, 'software' | 'subgroupSizes'> {
  /** Fixes the choice: tests run every variant at every size. */
  readonly lanes?: RowLanes;
}

/**
 * Barriers are dear where a subgroup is a processor's vector unit, but its lanes add up without one, and read
 * neighbours of a row where threads with a row each would gather from eight; short rows leave them idle. Few
 * rows would leave a GPU idle with one thread each.
 */
export function chooseLanes({ software, subgroupSizes, lanes }: RowTarget, cols: number): RowLanes {
  if (lanes) return lanes;
  if (!software) return 64;
  return subgroupSizes.every((size) => size === 8) && cols >= 64 ? 8 : 1;
}

/** Kernels over the rows of a matrix: softmax, norms, losses. One source for both ways of sharing a row. */
export function rowKernel(spec: RowKernel, target: RowTarget): Dispatch {
  const { name, shape, inputs = [], sink, outputs = [], params = {}, declarations = '', repeated = [], body } = spec;
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
  // A software driver gathers every load from memory lane by lane: 512 x 1024 softmax took 1.5 ms with three
  // passes over memory, 0.7 ms with one.
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
  const horizontal =
    width === 4
      ? 'fn addUp(v: V) -> f32 { return (v.x + v.y) + (v.z + v.w); }\nfn largest(v: V) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }'
      : 'fn addUp(v: V) -> f32 { return v; }\nfn largest(v: V) -> f32 { return v; }';
  const across = (combine: string): string => `
  scratch[lane] = v;
  workgroupBarrier();
  for (var s = ${workgroup / 2}u; s > 0u; s = s / 2u) {
    if (lane < s) { let other = scratch[lane + s]; scratch[lane] = ${combine}; }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&scratch[0]);`;
  const shared = {
    1: 'fn sumRow(v: V) -> f32 { return addUp(v); }\nfn maxRow(v: V) -> f32 { return largest(v); }',
    8: 'fn sumRow(v: V) -> f32 { return subgroupAdd(addUp(v)); }\nfn maxRow(v: V) -> f32 { return subgroupMax(largest(v)); }',
    64: `var<workgroup> scratch: array<f32, ${workgroup}>;
var<private> lane: u32;
fn sumAcross(v: f32) -> f32 {${across('scratch[lane] + other')}}
fn maxAcross(v: f32) -> f32 {${across('max(scratch[lane], other)')}}
fn sumRow(v: V) -> f32 { return sumAcross(addUp(v)); }
fn maxRow(v: V) -> f32 { return maxAcross(largest(v)); }`,
  }[lanes];
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
      bytes: moved + (sink ? bytesMoved(sink, true) : 0),
    },
    laneName: 'localIndex',
    declarations: `${aliases('f32', width)}\n${horizontal}\n${shared}\n${declare(...all)}\n${declarations}`,
    body: `
${lanes === 64 ? 'lane = localIndex;' : ''}
${lanes === 1 ? 'let row = id; let first = 0u; let stride = 1u;' : `let row = group; let first = localIndex; let stride = ${workgroup}u;`}
if (row >= p.rows) { return; }
let cols = p.cols;
${holds.join('\n')}
${held.length > 0 ? goOver.each(fill) : ''}
${body(goOver)}`,
  });
}

/**
 * WGSL that binds `m`, the row's largest element, and `sum`, that of exp(x - m), for source x. A row of -inf
 * only would give -inf - -inf: shifting by the lowest finite number instead yields the 0/0 = NaN of PyTorch.
 */
export function shiftedExpSum({ each, of }: RowBody, x = of('x')): string {
  return `var top = V(-3.4e38);
${each(`top = max(top, ${x});`)}
let m = maxRow(top);
var total = V(0);
${each(`total += exp(${x} - m);`)}
let sum = sumRow(total);`;
}
