import type { Dispatch } from '../gpu/dispatch.ts';
import type { Target } from '../gpu/device.ts';
import { kernel, u32 } from './kernel.ts';
import type { Binding, Param } from './kernel.ts';
import { aliases, bytesMoved, declare, loadElements, storeElements } from './map/elements.ts';
import type { Elements } from './map/elements.ts';
import { sizeOf } from './layout.ts';

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
  /** Bytes of a row that the body itself reads and writes at least, without those of sources and sink. */
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
  /** Whether a further pass over the row costs little: what is in registers, or short. */
  readonly short: boolean;
}

/** Elements that one load or store takes: 4 where the length of a row allows it, else 1. */
export function rowWidth(cols: number): 1 | 4 {
  return cols % 4 === 0 ? 4 : 1;
}

/** The facts of a device that choose the threads of a row. */
export interface RowTarget extends Pick<Target, 'software' | 'subgroupSizes'> {
  /** Fixes the threads of a row, a power of two: tests run every number at every size. */
  readonly share?: number;
}

/** Threads that share a row, a power of two, and those of a workgroup, which holds whole rows. */
export interface RowShare {
  readonly share: number;
  readonly workgroup: number;
}

/**
 * Chooses the threads of a row of `units` units of V. On a GPU a thread takes four of a short row, of which
 * several share a workgroup, and up to eight where a subgroup can then do without a barrier, or a small
 * workgroup with a cheap one. On a processor barriers cost much, so a row has one subgroup of 8, whose lanes
 * read neighbours; short rows would leave lanes idle and have one thread.
 */
export function chooseShare({ software, subgroupSizes, share: fixed }: RowTarget, units: number, width = 1): RowShare {
  const [least, most] = subgroupSizes;
  const wide = (share: number): RowShare => ({ share, workgroup: Math.max(64, share, most) });
  if (fixed !== undefined) return software && fixed === 8 ? { share: 8, workgroup: 8 } : wide(fixed);
  if (software) {
    const isLong = least === 8 && most === 8 && units * width >= 64;
    return isLong ? { share: 8, workgroup: 8 } : { share: 1, workgroup: 64 };
  }
  const threadsOf = (each: number): number => Math.min(256, 2 ** Math.max(0, Math.ceil(Math.log2(units / each))));
  if (least === 0 || threadsOf(4) <= least) return wide(threadsOf(4));
  return units <= 8 * least ? wide(least) : wide(Math.max(threadsOf(8), wide(1).workgroup));
}

/** The parts of a kernel whose threads add up what they have. */
export interface Totals {
  readonly enables: readonly string[];
  readonly builtins: readonly string[];
  /** Functions `sumAcross(f32)` and `maxAcross(f32)`: the total of all threads of a row, in each of them. */
  readonly declarations: string;
  /** First statements of main, which has the index in the workgroup as `localIndex`. Declares `place`. */
  readonly begin: string;
}

const combineBy = { sum: (a: string, b: string) => `${a} + ${b}`, max: (a: string, b: string) => `max(${a}, ${b})` };

/**
 * Emits totals over the threads of a row, in the same order on every run. Without a barrier within a
 * subgroup, whatever its size; over a workgroup by one exchange between its subgroups, which alternates
 * between two arrays, so that one barrier is enough; by a tree in workgroup memory where there are no
 * subgroups. `place` numbers the threads so that those of a row are neighbours in a subgroup.
 */
export function totalsOf({ share, workgroup }: RowShare, [least, most]: Target['subgroupSizes']): Totals {
  const functions = (body: (kind: 'sum' | 'max') => string): string =>
    (['sum', 'max'] as const).map((kind) => `fn ${kind}Across(own: f32) -> f32 {${body(kind)}}`).join('\n');
  const none = { enables: [], builtins: [], begin: 'let place = localIndex;' };
  if (share === 1) return { ...none, declarations: functions(() => ' return own; ') };
  const reduced = { sum: 'subgroupAdd(own)', max: 'subgroupMax(own)' };
  const enables = ['enable subgroups;'];
  const isWhole = share === least && share === most;
  if (isWhole && share === workgroup)
    return { ...none, enables, declarations: functions((kind) => ` return ${reduced[kind]}; `) };
  const known = ['@builtin(subgroup_id) subgroup: u32', '@builtin(subgroup_invocation_id) member: u32'];
  const identified = ['requires subgroup_id;', ...enables];
  if (share <= least) {
    const distances = Array.from({ length: Math.log2(share) }, (_, i) => 2 ** i);
    const step = (kind: 'sum' | 'max', by: number): string =>
      `all = ${combineBy[kind]('all', `subgroupShuffleXor(all, ${by}u)`)};`;
    return {
      enables: identified,
      builtins: [...known, '@builtin(subgroup_size) members: u32'],
      declarations: functions((kind) =>
        isWhole
          ? ` return ${reduced[kind]}; `
          : ` var all = own; ${distances.map((by) => step(kind, by)).join(' ')} return all; `,
      ),
      begin: 'let place = subgroup * members + member;',
    };
  }
  if (most > 0 && share === workgroup) {
    const slots = workgroup / least;
    const across = (kind: 'sum' | 'max'): string => `
  let part = ${reduced[kind]};
  if (mine.y == 0u) { scratch[turn + mine.x] = part; }
  workgroupBarrier();
  var all = scratch[turn];
  for (var s = 1u; s < mine.z; s++) { all = ${combineBy[kind]('all', 'scratch[turn + s]')}; }
  turn = ${slots}u - turn;
  return all;
`;
    return {
      enables: identified,
      builtins: [...known, '@builtin(num_subgroups) subgroups: u32'],
      declarations: `
var<workgroup> scratch: array<f32, ${2 * slots}>;
var<private> turn: u32;
var<private> mine: vec3<u32>;
${functions(across)}`,
      begin: 'mine = vec3<u32>(subgroup, member, subgroups);\nlet place = localIndex;',
    };
  }
  const tree = (kind: 'sum' | 'max'): string => `
  scratch[lane] = own;
  workgroupBarrier();
  let first = lane % ${share}u;
  for (var s = ${share / 2}u; s > 0u; s = s / 2u) {
    if (first < s) { scratch[lane] = ${combineBy[kind]('scratch[lane]', 'scratch[lane + s]')}; }
    workgroupBarrier();
  }
  let all = scratch[lane - first];
  workgroupBarrier();
  return all;
`;
  return {
    ...none,
    declarations: `
var<workgroup> scratch: array<f32, ${workgroup}>;
var<private> lane: u32;
${functions(tree)}`,
    begin: 'lane = localIndex;\nlet place = localIndex;',
  };
}

/** WGSL of sumRow(V) and maxRow(V): the total of what the threads of a row have. */
function rowTotals(width: 1 | 4): string {
  const [sum, top] = width === 1 ? ['v', 'v'] : ['(v.x + v.y) + (v.z + v.w)', 'max(max(v.x, v.y), max(v.z, v.w))'];
  return `fn sumRow(v: V) -> f32 { return sumAcross(${sum}); }
fn maxRow(v: V) -> f32 { return maxAcross(${top}); }`;
}

/** Most elements of each source that a thread holds in registers: rows of up to 4096 fit on a GPU. */
const maxHeld = { software: 128, gpu: 32 };

/**
 * Assembles a kernel over the rows of a matrix: softmax, norms, losses. One body serves every choice of
 * threads.
 */
export function rowKernel(spec: RowKernel, target: RowTarget): Dispatch {
  const { name, shape, inputs = [], sink, outputs = [], params = {}, declarations = '', repeated = [], body } = spec;
  const { bytes = 0 } = spec;
  const cols = shape.at(-1) ?? 1;
  const rows = sizeOf(shape.slice(0, -1));
  const width = rowWidth(cols);
  const chosen = chooseShare(target, cols / width, width);
  const { share, workgroup } = chosen;
  const sources = Object.entries(spec.sources).flatMap(([source, elements]) =>
    elements ? [{ source, elements }] : [],
  );
  const codes = sources.map(({ source, elements }) =>
    loadElements(`load_${source}`, elements, { width, prefix: `${source}_`, by: 'row' }),
  );
  const end = sink && storeElements('put', sink, { width, prefix: 'y_', by: 'row', carries: true });
  const all = end ? [...codes, end] : codes;
  // What is read again is held in registers. On llvmpipe, which loads lane by lane, a softmax of 512 x 1024
  // took 1.5 ms with three passes over memory, 0.7 ms with one.
  const units = Math.ceil(cols / width / share);
  const short = units * width <= (target.software ? maxHeld.software : maxHeld.gpu);
  const held = short && units > 0 && (share > 1 || !target.software) ? repeated : [];
  const isFull = units * share === cols / width && (share === 1 || share === workgroup);
  const guard = (statement: string): string => (isFull ? statement : `if (c < cols) { ${statement} }`);
  // A GPU keeps an array in registers where its indices are constants.
  const heldLoop = (statement: string): string =>
    target.software
      ? `for (var i = 0u; i < ${units}u; i++) { let c = first + ${share}u * i; ${guard(statement)} }`
      : Array.from(
          { length: units },
          (_, i) => `{ const i = ${i}u; let c = first + ${share * i}u; ${guard(statement)} }`,
        ).join('\n');
  const goOver: RowBody = {
    each: (statement) =>
      held.length > 0 ? heldLoop(statement) : `for (var c = first; c < cols; c += stride) { ${statement} }`,
    of: (source) => (held.includes(source) ? `held_${source}[i]` : `load_${source}(row, c)`),
    short,
  };
  const holds = held.map((source) => `var held_${source}: array<V, ${units}>;`);
  const fill = held.map((source) => `held_${source}[i] = load_${source}(row, c);`).join(' ');
  const moved = sources.reduce((sum, { elements }) => sum + bytesMoved(elements, false), 0);
  const { enables, builtins, begin, declarations: functions } = totalsOf(chosen, target.subgroupSizes);
  // Threads beyond the last row must take part in totals where they share a workgroup, or a subgroup, with
  // others: their rows are empty, and none of them is the first of its row.
  const placed =
    share === 1 || share === workgroup
      ? `let row = ${share === 1 ? 'id' : 'group'}; let first = ${share === 1 ? '0u' : 'place'}; let cols = p.cols;
if (row >= p.rows) { return; }`
      : `let at_row = group * ${workgroup / share}u + place / ${share}u;
let row = min(at_row, p.rows - 1u);
let first = select(0xffffffffu, place % ${share}u, at_row < p.rows);
let cols = select(0u, p.cols, at_row < p.rows);`;
  return kernel({
    name: `${name}.${share === 1 ? 'thread' : share < workgroup ? 'rows' : workgroup <= 8 ? 'subgroup' : 'workgroup'}`,
    enables,
    builtins,
    bindings: [
      ...codes.flatMap((code) => code.operands),
      ...inputs,
      ...(end ? [...end.operands, ...end.outputs] : []),
      ...outputs,
    ],
    params: Object.assign({ rows: u32(rows), cols: u32(cols / width) }, params, ...all.map((code) => code.params)),
    workgroup,
    groups: Math.ceil((rows * share) / workgroup),
    cost: {
      flops: rows * cols * (spec.flops + all.reduce((sum, { flops }) => sum + flops, 0)),
      bytes: rows * bytes + moved + (sink ? bytesMoved(sink, true) : 0),
    },
    laneName: 'localIndex',
    declarations: `
${aliases('f32', width)}
${functions}
${rowTotals(width)}
${declare(...all)}
${declarations}`,
    body: `
${begin}
let stride = ${share}u;
${placed}
${holds.join('\n')}
${held.length > 0 ? goOver.each(fill) : ''}
${body(goOver)}`,
  });
}

/**
 * Emits `m`, the largest element of the row, and `sum`, the sum of exp(x - m) over it; `x` is WGSL of element
 * c. m is at least -3.4e38, so that a row of -inf gives exp(-inf) = 0 and then 0 / 0 = NaN, as in PyTorch. A
 * long row is read once for both: sums are corrected where a larger element is met, which is seldom (Milakov
 * and Gimelshein 2018).
 */
export function shiftedExpSum({ each, of, short }: RowBody, x = of('x')): string {
  if (short)
    return `var top = V(-3.4e38);
${each(`top = max(top, ${x});`)}
let m = maxRow(top);
var total = V(0);
${each(`total += exp(${x} - m);`)}
let sum = sumRow(total);`;
  return `var top = V(-3.4e38);
var total = V(0);
${each(`let v = ${x}; let higher = max(top, v);
if (any(higher > top)) { total *= exp(top - higher); top = higher; }
total += exp(v - top);`)}
let m = maxRow(top);
let sum = sumRow(total * exp(top - m));`;
}
