import type { Dispatch } from '../gpu/dispatch.ts';
import { f32, i32, read, u32, write } from './kernel.ts';
import type { Elements } from './map/elements.ts';
import { rowKernel, rowWidth, shiftedExpSum } from './rows.ts';
import type { RowLanes } from './rows.ts';

export interface CrossEntropyParams {
  readonly rows: number;
  readonly classes: number;
  readonly lanes: RowLanes;
  readonly ignoreIndex: number;
  readonly smoothing: number;
  /** [rows, classes]. */
  readonly logits: Elements;
  /** [classes], broadcast over the rows. */
  readonly weight?: Elements;
  /** Where the row-major targets i32 [rows] begin. */
  readonly targetOffset: number;
}

/**
 * WGSL of the row's target `t`, in a binding of that name: whether it is ignored or valid, and its class
 * `at`. An invalid one poisons its row with `nan`.
 */
export function labelOf(binding: string): string {
  return `
let t = ${binding}[p.ot + row];
let ignored = t == p.ignore;
let valid = t >= 0 && t < i32(p.classes);
var bits = 0x7fc00000u;
let nan = bitcast<f32>(bits);
let at = u32(clamp(t, 0, i32(p.classes) - 1));`;
}

/** WGSL: 1 where element c of a row is the class `at`, else 0. */
export function hitOf(width: 1 | 4): string {
  return width === 4
    ? 'select(V(0), V(1), vec4<u32>(4u * c, 4u * c + 1u, 4u * c + 2u, 4u * c + 3u) == vec4<u32>(at))'
    : 'select(0.0, 1.0, c == at)';
}

/** WGSL: the row's target and its weight. */
function targetOf(weighted: boolean, width: 1 | 4): string {
  return `${labelOf('target_')}\nlet w = ${weighted ? one('weight', width) : '1.0'};`;
}

/** Element `at` of a source, alone. */
const one = (source: string, width: 1 | 4): string =>
  width === 4 ? `load_${source}(row, at / 4u)[at % 4u]` : `load_${source}(row, at)`;

function shared({ rows, classes, lanes, ignoreIndex, smoothing, logits, weight, targetOffset }: CrossEntropyParams) {
  return {
    rows,
    cols: classes,
    lanes,
    sources: { x: logits, ...(weight ? { weight } : {}) },
    params: { classes: u32(classes), ignore: i32(ignoreIndex), smoothing: f32(smoothing), ot: u32(targetOffset) },
  };
}

/** The weights of the classes at element c. */
const weightAt = (weighted: boolean): string => (weighted ? 'load_weight(row, c)' : 'V(1)');

/**
 * Loss of each row: (1 - s) w_t (lse - x_t) + s/C sum_c w_c (lse - x_c), with lse = log sum exp x, label
 * smoothing s, class weights w; 0 for ignored rows. Bindings those of logits, of weight, then target, loss,
 * stats; stats holds three numbers a row: the largest logit m, lse - m (apart from m, whose rounding would
 * swamp it), and the row's weight in the mean (0 if ignored).
 */
export function crossEntropy(params: CrossEntropyParams): Dispatch {
  const width = rowWidth(params.classes);
  const weighted = params.weight !== undefined;
  const smooth = params.smoothing > 0;
  return rowKernel({
    ...shared(params),
    name: 'crossEntropy',
    inputs: [read('target_', 'i32')],
    outputs: [write('loss', 'f32'), write('stats', 'f32')],
    repeated: ['x'],
    flops: 5,
    body: (row) => `
${shiftedExpSum(row)}
let logSum = log(sum);
${smooth ? `var spread = V(0);\n${row.each(`spread += ${weightAt(weighted)} * ((m - ${row.of('x')}) + logSum);`)}\nlet even = sumRow(spread) / f32(p.classes);` : ''}
${targetOf(weighted, width)}
let nll = w * ((m - ${one('x', width)}) + logSum);
let value = ${smooth ? '(1.0 - p.smoothing) * nll + p.smoothing * even' : 'nll'};
if (first == 0u) {
  loss[row] = select(select(nan, value, valid), 0.0, ignored);
  stats[3u * row] = m;
  stats[3u * row + 1u] = logSum;
  stats[3u * row + 2u] = select(w, 0.0, ignored);
}`,
  });
}

export interface CrossEntropyBackwardParams extends CrossEntropyParams {
  /** Cotangent of the rows' losses: where they begin, and from one to the next (0: the same for all). */
  readonly g: { readonly offset: number; readonly stride: number };
  readonly y: Elements;
}

/**
 * Cotangent of the logits: g ((1 - s) w_t (softmax - onehot) + s/C (W softmax - w_c)), W the sum of the
 * weights; 0 for ignored rows. Bindings those of logits, of weight, then target, stats, g, those of y.
 */
export function crossEntropyBackward(params: CrossEntropyBackwardParams): Dispatch {
  const { smoothing, g, y } = params;
  const width = rowWidth(params.classes);
  const weighted = params.weight !== undefined;
  const smooth = smoothing > 0;
  const hit = hitOf(width);
  const value = smooth
    ? `s * (1.0 - p.smoothing) * w * (prob - hit) + s * p.smoothing / f32(p.classes) * (all * prob - ${weightAt(weighted)})`
    : 's * w * (prob - hit)';
  const base = shared(params);
  return rowKernel({
    ...base,
    params: { ...base.params, og: i32(g.offset), sg: i32(g.stride) },
    name: 'crossEntropyBackward',
    inputs: [read('target_', 'i32'), read('stats', 'f32'), read('g', 'f32')],
    sink: y,
    flops: 5,
    body: ({ each, of }) => `
${targetOf(weighted, width)}
let m = stats[3u * row];
let logSum = stats[3u * row + 1u];
let s = select(select(nan, g[p.og + i32(row) * p.sg], valid), 0.0, ignored);
${smooth ? `var weights = V(0);\n${each(`weights += ${weightAt(weighted)};`)}\nlet all = sumRow(weights);` : ''}
${each(`let prob = exp((${of('x')} - m) - logSum); let hit = ${hit}; put(row, c, ${value});`)}`,
  });
}
