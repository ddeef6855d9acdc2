import type { Dispatch } from '../gpu/dispatch.ts';
import { bytesOf, computeType, i32, kernel, read, storedType, u32, write } from './kernel.ts';
import type { Param } from './kernel.ts';
import { collapse, rowMajor, sizeOf } from './layout.ts';
import type { Operand } from './layout.ts';
import { aliases, bytesMoved, declare, loadElements, renamed, storeElements, widthOf } from './map/elements.ts';
import type { Elements } from './map/elements.ts';
import { isNanFunction } from './nan.ts';

/** Associative functions to reduce by. max and min of a NaN are NaN, as in PyTorch. */
export type ReduceKind = 'sum' | 'max' | 'min';

/** WGSL that combines a and b; `nan` names the function that tells whether b is NaN. */
const combine: Record<ReduceKind, (a: string, b: string, nan: string) => string> = {
  sum: (a, b) => `${a} + ${b}`,
  max: (a, b, nan) => `select(select(${a}, ${b}, ${b} > ${a}), ${b}, ${nan}(${b}))`,
  min: (a, b, nan) => `select(select(${a}, ${b}, ${b} < ${a}), ${b}, ${nan}(${b}))`,
};

export interface ReduceOperands {
  /** Index space that `offset` and the strides of the attributes count in: flat for a tensor in memory. */
  readonly x: Elements;
  /** Stores the results: [runs, kept axes], without `runs` where there is one. */
  readonly y: Elements;
}

export interface ReduceAttrs {
  readonly kind: ReduceKind;
  /** Lengths and strides of the axes that are kept. The output is row-major over them. */
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
  /** The axis that is reduced; at least 1 long. */
  readonly length: number;
  readonly stride: number;
  /** Elements of a run. Each is reduced on its own, and the runs become the first axis of the output. */
  readonly run?: number;
}

const workgroup = 64;

/**
 * Reduces one axis. A thread walks the run of one output in order, so that the result is always the same. A
 * long axis is cut into runs, whose results a second dispatch reduces. Variants: `columns` takes four outputs
 * a thread where the last kept axis is contiguous, `row` takes vec4s along a contiguous reduced axis, `plain`
 * takes any strides.
 */
export function reduce({ x, y }: ReduceOperands, attrs: ReduceAttrs): Dispatch {
  const { kind, offset, length, stride, run = length } = attrs;
  const runs = Math.ceil(length / run);
  const shape = [runs, ...attrs.shape];
  const merged = collapse(shape, [[run * stride, ...attrs.strides], rowMajor(shape)]);
  const operand = merged.strides[0]!;
  const rank = merged.shape.length;
  const outputs = sizeOf(shape);
  const aligned = (s: number): boolean => s % 4 === 0;
  const inner = merged.shape[rank - 1] ?? 1;
  const outer = operand.slice(0, -1);

  const vector = widthOf(x) === 4;
  const columns =
    vector &&
    rank > 0 &&
    operand[rank - 1] === 1 &&
    aligned(inner) &&
    aligned(offset) &&
    aligned(stride) &&
    outer.every(aligned);
  const row =
    vector && !columns && stride === 1 && aligned(offset) && aligned(run) && aligned(length) && operand.every(aligned);
  const width = columns ? 4 : 1;
  const type = computeType(x.compute);
  const loadWidth = columns || row ? 4 : 1;
  const storeWidth = columns && widthOf(y) === 4 ? 4 : 1;
  const load = loadElements('load', x, { width: loadWidth, prefix: 'x_' });
  const stored = storeElements('put', y, { width: storeWidth, prefix: 'y_', carries: true });
  // A kernel has one alias V: where the results are narrower than the loads, their types get other names.
  const store = storeWidth === loadWidth ? stored : renamed(stored, 'one');
  const threads = outputs / width;

  const wgslParams: Record<string, Param> = {
    n: u32(threads),
    length: u32(length),
    run: u32(run),
    stride: i32(stride),
    o: i32(offset),
  };
  const lines = ['var rest = id;', 'var base = p.o;'];
  for (let axis = rank - 1; axis >= 0; axis--) {
    const last = axis === rank - 1;
    if (axis > 0) wgslParams[`d${axis}`] = u32(last ? merged.shape[axis]! / width : merged.shape[axis]!);
    wgslParams[`k${axis}`] = i32(operand[axis]! * (last ? width : 1));
    lines.push(
      axis > 0 ? `base += i32(rest % p.d${axis}) * p.k${axis}; rest = rest / p.d${axis};` : `base += i32(rest) * p.k0;`,
    );
  }
  // The last run may be shorter: the slowest part of the thread's index numbers the runs.
  wgslParams.perRun = u32(threads / runs);
  const step = row ? 4 : 1;
  const nanAware = kind === 'max' || kind === 'min';
  const result = row ? ['acc.x', 'acc.y', 'acc.z', 'acc.w'].reduce((a, b) => combine[kind](a, b, 'is_nan')) : 'acc';
  const put =
    columns && storeWidth === 1
      ? [0, 1, 2, 3].map((e) => `put(4u * id + ${e}u, acc[${e}]);`).join(' ')
      : `put(${columns ? '4u * id' : 'id'}, ${result});`;
  return kernel({
    name: `reduce.${kind}.${columns ? 'columns' : row ? 'row' : 'plain'}`,
    bindings: [...load.operands, ...store.operands, ...store.outputs],
    params: { ...wgslParams, ...load.params, ...store.params },
    workgroup,
    groups: Math.ceil(threads / workgroup),
    declarations: [
      aliases(x.compute, loadWidth),
      storeWidth === loadWidth ? '' : renamed({ functions: [aliases(y.compute, 1)] }, 'one').functions[0]!,
      nanAware ? `${isNanFunction('is_nan', type, 1)}\n${isNanFunction('is_nan4', type, 4)}` : '',
      declare(load, store),
    ].join('\n'),
    cost: {
      flops: length * sizeOf(attrs.shape) * (1 + load.flops) + outputs * store.flops,
      bytes: bytesMoved(x, false) + bytesMoved(y, true),
    },
    body: `
if (id >= p.n) { return; }
${lines.join('\n')}
let count = min(p.run, p.length - (id / p.perRun) * p.run) / ${step}u;
var acc = load(u32(base));
for (var r = 1u; r < count; r++) {
  base += ${row ? '4' : 'p.stride'};
  let v = load(u32(base));
  acc = ${combine[kind]('acc', 'v', loadWidth === 1 ? 'is_nan' : 'is_nan4')};
}
${put}`,
  });
}

/**
 * Finds the index, i32, of the first largest or smallest element along an axis, or of the first NaN.
 *
 * @example
 * const x = { dtype: 'f32', ...contiguousLayout([4, 100]) } as const;
 * const y = { dtype: 'i32', ...contiguousLayout([4]) } as const;
 * argReduce({ x, y }, { kind: 'argmax', axis: 1 }).names; // ['x', 'y']
 */
export function argReduce(
  { x }: { readonly x: Operand; readonly y: Operand },
  { kind, axis }: { readonly kind: 'argmax' | 'argmin'; readonly axis: number },
): Dispatch {
  const { dtype, offset } = x;
  const [length, stride] = [x.shape[axis] ?? 1, x.strides[axis] ?? 0];
  const kept = (list: readonly number[]): number[] => list.filter((_, i) => i !== axis);
  const shape = kept(x.shape);
  const merged = collapse(shape, [kept(x.strides), rowMajor(shape)]);
  const threads = sizeOf(shape);
  const wgslParams: Record<string, Param> = {
    n: u32(threads),
    length: u32(length),
    stride: i32(stride),
    o: i32(offset),
  };
  const lines = ['var rest = id;', 'var base = p.o;'];
  for (let axis = merged.shape.length - 1; axis >= 0; axis--) {
    wgslParams[`d${axis}`] = u32(merged.shape[axis]!);
    wgslParams[`k${axis}`] = i32(merged.strides[0]![axis]!);
    lines.push(`base += i32(rest % p.d${axis}) * p.k${axis}; rest = rest / p.d${axis};`);
  }
  const type = computeType(dtype);
  return kernel({
    name: `reduce.${kind}`,
    bindings: [read('x', storedType(dtype)), write('y', 'i32')],
    params: wgslParams,
    workgroup,
    groups: Math.ceil(threads / workgroup),
    declarations: isNanFunction('is_nan', type, 1),
    cost: { flops: length * threads, bytes: length * threads * bytesOf(dtype) + threads * 4 },
    body: `
if (id >= p.n) { return; }
${lines.join('\n')}
var best = ${type}(x[base]);
var at = 0u;
for (var r = 1u; r < p.length; r++) {
  base += p.stride;
  let v = ${type}(x[base]);
  if (!is_nan(best) && (v ${kind === 'argmax' ? '>' : '<'} best || is_nan(v))) { best = v; at = r; }
}
y[id] = i32(at);`,
  });
}
