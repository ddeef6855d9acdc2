import type { Dispatch } from '../gpu/dispatch.ts';
import { bytesOf, computeType, i32, kernel, read, storedType, u32, write } from './kernel.ts';
import type { Param } from './kernel.ts';
import { collapse, rowMajor, sizeOf } from './layout.ts';
import type { Operand } from './layout.ts';
import { aliases, bytesMoved, declare, loadElements, renamed, storeElements, widthOf } from './map/elements.ts';
import type { Elements } from './map/elements.ts';
import { isNanFunction } from './nan.ts';
import { chooseShare, totalsOf } from './rows.ts';
import type { RowShare, RowTarget, Totals } from './rows.ts';

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
  /** Stores the results: [runs, kept axes], or where `sharesRows` [kept axes, runs]; one run is no axis. */
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
  /** Elements of a run. Each is reduced on its own, and the runs become an axis of the output. */
  readonly run?: number;
}

const workgroup = 64;

/** WGSL of `base`, where output `out` begins in x; along the last axis a thread has `width` of them. */
function placeOf(shape: readonly number[], strides: readonly number[], width = 1) {
  const params: Record<string, Param> = {};
  const lines = ['var rest = out;', 'var base = p.o;'];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const each = axis === shape.length - 1 ? width : 1;
    if (axis > 0) params[`d${axis}`] = u32(shape[axis]! / each);
    params[`k${axis}`] = i32(strides[axis]! * each);
    const [own, next] = axis > 0 ? [`rest % p.d${axis}`, `rest = rest / p.d${axis};`] : ['rest', ''];
    lines.push(`base += i32(${own}) * p.k${axis}; ${next}`);
  }
  return { params, code: lines.join('\n') };
}

/** Whether threads of a GPU share each run of a contiguous axis of floats. */
export const sharesRows = ({ software }: RowTarget, compute: Elements['compute'], stride: number): boolean =>
  !software && stride === 1 && computeType(compute) === 'f32';

/** How threads share a row whose elements they load `width` at once; one each where they do not. */
function shareOf(target: RowTarget, isShared: boolean, length: number, width: number): RowShare {
  return isShared ? chooseShare(target, Math.ceil(length / width), width) : { share: 1, workgroup };
}

/**
 * WGSL: the total over the threads of a row of `own`, a number of each; NaN where one is. NaN is told apart,
 * since the largest of a subgroup may leave it out.
 */
const across = (kind: ReduceKind): string => {
  if (kind === 'sum') return 'let all = sumAcross(own);';
  const sign = kind === 'min' ? '-' : '';
  return `let top = ${sign}maxAcross(${sign}own);
let all = select(top, bitcast<f32>(0x7fc00000u | p.n), maxAcross(select(0.0, 1.0, is_nan(own))) > 0.0);`;
};

/**
 * Reduces one axis. A thread walks the run of one output in order, so that the result is always the same. A
 * long axis is cut into runs, whose results a second dispatch reduces. Variants: `columns` takes four outputs
 * a thread where the last kept axis is contiguous, `row` takes vec4s along a contiguous reduced axis, `plain`
 * takes any strides. On GPUs neighbouring threads take neighbours of a run along a contiguous axis, as many
 * as its length is worth (kernels/rows.ts), and add up what they have.
 */
export function reduce({ x, y }: ReduceOperands, attrs: ReduceAttrs, target: RowTarget): Dispatch {
  const { kind, offset, length, stride, run = length } = attrs;
  const runs = Math.ceil(length / run);
  const isShared = sharesRows(target, x.compute, stride);
  const [shape, steps] = isShared
    ? [
        [...attrs.shape, runs],
        [...attrs.strides, run],
      ]
    : [
        [runs, ...attrs.shape],
        [run * stride, ...attrs.strides],
      ];
  const merged = collapse(shape, [steps, rowMajor(shape)]);
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
  const chosen = shareOf(target, isShared, run, loadWidth);
  const { share } = chosen;
  const totals = totalsOf(chosen, target.subgroupSizes);

  const at = placeOf(merged.shape, operand, width);
  const wgslParams: Record<string, Param> = {
    n: u32(threads),
    length: u32(length),
    run: u32(run),
    stride: i32(stride),
    o: i32(offset),
    ...at.params,
  };
  // The last run may be shorter: the slowest part of the output's index numbers the runs, or the fastest.
  wgslParams.perRun = u32(isShared ? runs : threads / runs);
  const step = row ? 4 : 1;
  const nanAware = kind === 'max' || kind === 'min';
  const result = row ? ['acc.x', 'acc.y', 'acc.z', 'acc.w'].reduce((a, b) => combine[kind](a, b, 'is_nan')) : 'acc';
  const put =
    columns && storeWidth === 1
      ? [0, 1, 2, 3].map((e) => `put(4u * out + ${e}u, acc[${e}]);`).join(' ')
      : share > 1
        ? `let own = ${result};\n${across(kind)}\nif (share_at == 0u && place_of < p.n) { put(out, all); }`
        : `put(${columns ? '4u * out' : 'out'}, ${result});`;
  return kernel({
    name: `reduce.${kind}.${columns ? 'columns' : share > 1 ? 'shared' : row ? 'row' : 'plain'}`,
    enables: totals.enables,
    builtins: totals.builtins,
    bindings: [...load.operands, ...store.operands, ...store.outputs],
    params: { ...wgslParams, ...load.params, ...store.params },
    workgroup: chosen.workgroup,
    groups: Math.ceil((threads * share) / chosen.workgroup),
    laneName: 'localIndex',
    declarations: [
      aliases(x.compute, loadWidth),
      share > 1 ? totals.declarations : '',
      storeWidth === loadWidth ? '' : renamed({ functions: [aliases(y.compute, 1)] }, 'one').functions[0]!,
      nanAware ? `${isNanFunction('is_nan', type, 1)}\n${isNanFunction('is_nan4', type, 4)}` : '',
      declare(load, store),
    ].join('\n'),
    cost: {
      flops: length * sizeOf(attrs.shape) * (1 + load.flops) + outputs * store.flops,
      bytes: bytesMoved(x, false) + bytesMoved(y, true),
    },
    body:
      share > 1
        ? `
${outputOfTeam(totals, chosen)}
${at.code}
let count = min(p.run, p.length - (out % p.perRun) * p.run) / ${step}u;
var acc = ${kind === 'sum' ? 'V(0)' : 'load(u32(base))'};
for (var r = share_at; r < count; r += ${share}u) {
  let v = load(u32(base) + ${step}u * r);
  acc = ${combine[kind]('acc', 'v', loadWidth === 1 ? 'is_nan' : 'is_nan4')};
}
${put}`
        : `
if (id >= p.n) { return; }
let out = id;
${at.code}
let count = min(p.run, p.length - (${isShared ? 'out % p.perRun' : 'out / p.perRun'}) * p.run) / ${step}u;
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
 * WGSL: the output `out` of a thread, and its number `share_at` among those that share it. Threads beyond the
 * last output take part in totals: `place_of` says that they store nothing.
 */
const outputOfTeam = ({ begin }: Totals, { share, workgroup }: RowShare): string => `${begin}
let place_of = group * ${workgroup / share}u + place / ${share}u; let share_at = place % ${share}u;
let out = min(place_of, p.n - 1u);`;

export interface ArgReduceOperands {
  readonly x: Operand;
  /** Of runs that were reduced before: the index of each element, i32, in the order of a contiguous x. */
  readonly places?: Operand;
  /** i32: the kept axes, then the runs where there are several. */
  readonly y: Operand;
  /** The element at each index, f32, where runs are still to be compared. */
  readonly values?: Operand;
}

export interface ArgReduceAttrs {
  readonly kind: 'argmax' | 'argmin';
  readonly axis: number;
  /** Elements of a run, with `sharesPlaces`. */
  readonly run?: number;
}

/** Whether threads of a GPU share a row, whose indices they compare as f32, which must hold them. */
export const sharesPlaces = (target: RowTarget, { dtype, shape, strides }: Operand, axis: number): boolean =>
  sharesRows(target, dtype, strides[axis] ?? 0) && shape[axis]! <= 2 ** 24;

/**
 * Finds the index, i32, of the first largest or smallest element along an axis, or of the first NaN.
 *
 * @example
 * const x = { dtype: 'f32', ...contiguousLayout([4, 100]) } as const;
 * const y = { dtype: 'i32', ...contiguousLayout([4]) } as const;
 * const target = { software: true, subgroupSizes: [0, 0] } as const;
 * argReduce({ x, y }, { kind: 'argmax', axis: 1 }, target).names; // ['x', 'y']
 */
export function argReduce(
  { x, places, values }: ArgReduceOperands,
  { kind, axis, run }: ArgReduceAttrs,
  target: RowTarget,
): Dispatch {
  const { dtype, offset } = x;
  const [length, stride] = [x.shape[axis] ?? 1, x.strides[axis] ?? 0];
  const runs = run === undefined ? 1 : Math.ceil(length / run);
  const kept = (list: readonly number[], along: number): number[] => [...list.filter((_, i) => i !== axis), along];
  const shape = kept(x.shape, runs);
  const merged = collapse(shape, [kept(x.strides, (run ?? 0) * stride), rowMajor(shape)]);
  const outputs = sizeOf(shape);
  const chosen = shareOf(target, sharesPlaces(target, x, axis), run ?? length, 1);
  const { share } = chosen;
  const totals = totalsOf(chosen, target.subgroupSizes);
  const at = placeOf(merged.shape, merged.strides[0]!);
  const params = {
    n: u32(outputs),
    length: u32(length),
    run: u32(run ?? length),
    runs: u32(runs),
    stride: i32(stride),
    o: i32(offset),
    ...at.params,
  };
  const type = computeType(dtype);
  const isMax = kind === 'argmax';
  const sign = isMax ? '' : '-';
  const put = `y[out] = i32(at);${values ? ' values[out] = best;' : ''}`;
  const store =
    share === 1
      ? put
      : `
let lost = is_nan(best);
let isLost = maxAcross(select(0.0, 1.0, lost)) > 0.0;
let top = ${sign}maxAcross(select(${sign}best, -3.4e38, lost));
at = u32(-maxAcross(select(-3.4e38, -f32(at), select(best == top, lost, isLost))));
best = select(top, bitcast<f32>(0x7fc00000u | p.n), isLost);
if (share_at == 0u && place_of < p.n) { ${put} }`;
  return kernel({
    name: `reduce.${kind}${share > 1 ? '.shared' : ''}`,
    enables: totals.enables,
    builtins: totals.builtins,
    bindings: [
      read('x', storedType(dtype)),
      ...(places ? [read('places', 'i32')] : []),
      write('y', 'i32'),
      ...(values ? [write('values', 'f32')] : []),
    ],
    params,
    workgroup: chosen.workgroup,
    groups: Math.ceil((outputs * share) / chosen.workgroup),
    laneName: 'localIndex',
    declarations: `${isNanFunction('is_nan', type, 1)}\n${share > 1 ? totals.declarations : ''}`,
    cost: { flops: length * sizeOf(shape), bytes: sizeOf(x.shape) * bytesOf(dtype) + outputs * 4 },
    body: `
${share > 1 ? outputOfTeam(totals, chosen) : 'let out = id; let share_at = 0u;\nif (id >= p.n) { return; }'}
${at.code}
let begin = (out % p.runs) * p.run;
let count = min(p.run, p.length - begin);
var best = ${type}(x[base]);
var at = ${places ? 'u32(places[base])' : 'begin'};
for (var r = ${share > 1 ? 'share_at' : '1u'}; r < count; r += ${share}u) {
  let next = base + i32(r) * p.stride;
  let v = ${type}(x[next]);
  if (!is_nan(best) && (v ${isMax ? '>' : '<'} best || is_nan(v))) {
    best = v; at = ${places ? 'u32(places[next])' : 'begin + r'};
  }
}
${store}`,
  });
}
