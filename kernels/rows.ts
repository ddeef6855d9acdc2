import type { Dispatch } from '../gpu/dispatch.ts';
import type { Target } from '../gpu/device.ts';
import { kernel, u32 } from './kernel.ts';
import type { Binding, Param } from './kernel.ts';
import { aliases, bytesMoved, declare, loadElements, storeElements } from './map/elements.ts';
import type { Elements } from './map/elements.ts';

/** How a row is shared out: one thread a row, or a workgroup of this many threads a row. */
export type RowLanes = 1 | 64;

export interface RowKernel {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  readonly lanes: RowLanes;
  /** What is read by element, over [..., cols]: `load_NAME(row, c)` gives a V. Their operands come first among the bindings. */
  readonly sources: Readonly<Record<string, Elements>>;
  /** Bindings that the body reads by itself. */
  readonly inputs?: readonly Binding[];
  /** What is done with each element of the result: `put(row, c, value)`. Its operands and outputs come after the inputs. */
  readonly sink?: Elements;
  /** Bindings that the body writes by itself, last. */
  readonly outputs?: readonly Binding[];
  readonly params?: Readonly<Record<string, Param>>;
  /** Operations an element, but for those of sources and sink. */
  readonly flops: number;
  readonly declarations?: string;
  /**
   * In scope: `row`; loops run `for (var c = first; c < cols; c += stride)` over the row in units of V, four elements where cols is a multiple of 4;
   * `sumRow(V)` and `maxRow(V)` give every thread the total over the row.
   */
  readonly body: string;
}

/** Elements an access takes. */
export function rowWidth(cols: number): 1 | 4 {
  return cols % 4 === 0 ? 4 : 1;
}

/** Barriers are dear where a subgroup is a CPU's vector unit; few rows would leave a GPU idle with one thread each. */
export function chooseLanes({ software }: Target): RowLanes {
  return software ? 1 : 64;
}

/** Kernels over the rows of a matrix: softmax, norms, losses. One source for both ways of sharing a row. */
export function rowKernel(spec: RowKernel): Dispatch {
  const {
    name,
    rows,
    cols,
    lanes,
    sources,
    inputs = [],
    sink,
    outputs = [],
    params = {},
    declarations = '',
    body,
  } = spec;
  const width = rowWidth(cols);
  const codes = Object.entries(sources).map(([source, elements]) =>
    loadElements(`load_${source}`, elements, { width, prefix: `${source}_`, by: 'row' }),
  );
  const end = sink && storeElements('put', sink, { width, prefix: 'put_', by: 'row', carries: true });
  const all = end ? [...codes, end] : codes;
  const moved = Object.values(sources).reduce((sum, source) => sum + bytesMoved(source, false), 0);
  const workgroup = 64;
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
  const shared =
    lanes === 1
      ? 'fn sumRow(v: V) -> f32 { return addUp(v); }\nfn maxRow(v: V) -> f32 { return largest(v); }'
      : `var<workgroup> scratch: array<f32, ${workgroup}>;
var<private> lane: u32;
fn sumAcross(v: f32) -> f32 {${across('scratch[lane] + other')}}
fn maxAcross(v: f32) -> f32 {${across('max(scratch[lane], other)')}}
fn sumRow(v: V) -> f32 { return sumAcross(addUp(v)); }
fn maxRow(v: V) -> f32 { return maxAcross(largest(v)); }`;
  return kernel({
    name: `${name}.${lanes === 1 ? 'thread' : 'workgroup'}`,
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
${lanes === 1 ? 'let row = id; let first = 0u; let stride = 1u;' : `lane = localIndex; let row = group; let first = lane; let stride = ${workgroup}u;`}
if (row >= p.rows) { return; }
let cols = p.cols;
${body}`,
  });
}

/**
 * WGSL that binds `m`, the row's largest element, and `sum`, that of exp(x - m), for the expression x of element c. A row of -inf only would give -inf - -inf:
 * shifting by the lowest finite number instead yields the 0/0 = NaN of PyTorch.
 */
export function shiftedExpSum(x: string): string {
  return `var top = V(-3.4e38);
for (var c = first; c < cols; c += stride) { top = max(top, ${x}); }
let m = maxRow(top);
var total = V(0);
for (var c = first; c < cols; c += stride) { total += exp(${x} - m); }
let sum = sumRow(total);`;
}
