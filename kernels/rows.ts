import type { Cost, Dispatch } from '../gpu/dispatch.ts';
import type { Target } from '../gpu/device.ts';
import { computeType, kernel, storedType, u32 } from './kernel.ts';
import type { Binding, Dtype, Param } from './kernel.ts';

/** How a row is shared out: one thread a row, or a workgroup of this many threads a row. */
export type RowLanes = 1 | 64;

export interface RowKernel {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  readonly lanes: RowLanes;
  readonly bindings: readonly Binding[];
  readonly params?: Readonly<Record<string, Param>>;
  readonly cost: Cost;
  readonly declarations?: string;
  /**
   * In scope: `row`; loops run `for (var c = first; c < cols; c += stride)` over elements of type V (see `rowWidth`), `start` is the index of
   * the row's first element in those units; `sumRow(V)` and `maxRow(V)` give every thread the total over the row.
   */
  readonly body: string;
}

/** Elements an access takes: 4 where rows and offsets allow it. */
export function rowWidth(cols: number, ...offsets: number[]): 1 | 4 {
  return cols % 4 === 0 && offsets.every((offset) => offset % 4 === 0) ? 4 : 1;
}

/** Type of an access in memory. */
export function rowType(dtype: Dtype, width: 1 | 4): string {
  return width === 4 ? `vec4<${storedType(dtype)}>` : storedType(dtype);
}

/** Barriers are dear where a subgroup is a CPU's vector unit; few rows would leave a GPU idle with one thread each. */
export function chooseLanes({ software }: Target): RowLanes {
  return software ? 1 : 64;
}

/** Kernels over the rows of a row-major matrix: softmax, norms, losses. One source for both ways of sharing a row. */
export function rowKernel(spec: RowKernel, width: 1 | 4): Dispatch {
  const { name, rows, cols, lanes, bindings, params = {}, cost, declarations = '', body } = spec;
  const workgroup = 64;
  const V = width === 4 ? 'vec4<f32>' : 'f32';
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
    bindings,
    params: { rows: u32(rows), cols: u32(cols / width), ...params },
    workgroup,
    groups: lanes === 1 ? Math.ceil(rows / workgroup) : rows,
    cost,
    laneName: 'localIndex',
    declarations: `alias V = ${V};\n${horizontal}\n${shared}\n${declarations}`,
    body: `
${lanes === 1 ? 'let row = id; let first = 0u; let stride = 1u;' : `lane = localIndex; let row = group; let first = lane; let stride = ${workgroup}u;`}
if (row >= p.rows) { return; }
let cols = p.cols;
let start = row * cols;
${body}`,
  });
}

/** WGSL conversion of a stored row element to V. */
export function loadRow(binding: string, index: string): string {
  return `V(${binding}[${index}])`;
}

/** WGSL conversion of V to the stored type. */
export function storeRow(dtype: Dtype, width: 1 | 4, value: string): string {
  return computeType(dtype) === storedType(dtype) ? value : `${rowType(dtype, width)}(${value})`;
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
