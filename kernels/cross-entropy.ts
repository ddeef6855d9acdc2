import type { Dispatch } from '../gpu/dispatch.ts';
import { bytesOf, f32, i32, read, storedType, u32, write } from './kernel.ts';
import type { Operand } from './layout.ts';
import type { Elements } from './map/elements.ts';
import { rowKernel, rowWidth, shiftedExpSum } from './rows.ts';
import type { RowBody, RowKernel, RowTarget } from './rows.ts';

export interface CrossEntropyAttrs {
  /** Targets of this value count for nothing. */
  readonly ignoreIndex: number;
  /** Share of each target that is spread evenly over all classes (Szegedy et al. 2016). */
  readonly smoothing: number;
}

export interface CrossEntropyOperands {
  /** [rows, classes]. */
  readonly logits: Elements;
  /** [classes], broadcast over the rows. */
  readonly weight?: Elements;
  /** i32 [rows], row-major. */
  readonly labels: Operand;
  /** f32 [rows]. */
  readonly loss: Operand;
  /**
   * f32 [rows, 3]: m, the largest logit; lse - m, apart from m because their sum would be rounded to m's
   * precision; the weight of the row in the mean, 0 if it is ignored.
   */
  readonly stats: Operand;
}

/**
 * The target `t` of the row: whether it is `ignored` or `valid`, and its class `at`. The loss of an invalid
 * target is `nan`.
 */
const label = `
let t = labels[p.ot + row];
let ignored = t == p.ignore;
let valid = t >= 0 && t < i32(p.classes);
var bits = 0x7fc00000u;
let nan = bitcast<f32>(bits);
let at = u32(clamp(t, 0, i32(p.classes) - 1));`;

/** The loss of the row, of `value`. */
const lossOfRow = 'select(select(nan, value, valid), 0.0, ignored)';

/** Emits the `value` of a row: its nll, or that and `even`. */
const valueOf = (smooth: boolean): string =>
  `let value = ${smooth ? '(1.0 - p.smoothing) * nll + p.smoothing * even' : 'nll'};`;

/** Emits 1 where element c of the row is the class `at`, else 0. */
function hitOf(width: 1 | 4): string {
  return width === 4
    ? 'select(V(0), V(1), vec4<u32>(4u * c, 4u * c + 1u, 4u * c + 2u, 4u * c + 3u) == vec4<u32>(at))'
    : 'select(0.0, 1.0, c == at)';
}

/** Emits the target of the row and its weight `w`. */
function targetOf(weighted: boolean, width: 1 | 4): string {
  return `${label}\nlet w = ${weighted ? one('weight', width) : '1.0'};`;
}

/** Emits element `at` of a source, a single number. */
const one = (source: string, width: 1 | 4): string =>
  width === 4 ? `load_${source}(row, at / 4u)[at % 4u]` : `load_${source}(row, at)`;

function shared(
  { logits, weight, labels }: Pick<CrossEntropyOperands, 'logits' | 'weight' | 'labels'>,
  { ignoreIndex, smoothing }: CrossEntropyAttrs,
) {
  return {
    shape: logits.shape,
    sources: { logits, weight },
    params: {
      classes: u32(logits.shape[1]!),
      ignore: i32(ignoreIndex),
      smoothing: f32(smoothing),
      ot: u32(labels.offset),
    },
  };
}

/** Emits the class weights at element c. */
const weightAt = (weighted: boolean): string => (weighted ? 'load_weight(row, c)' : 'V(1)');

/**
 * Computes the loss of each row, (1 - s) w_t (lse - x_t) + s/C sum_c w_c (lse - x_c), with lse = log sum exp
 * x, target t, label smoothing s and class weights w; 0 for ignored rows (torch.nn.functional.cross_entropy).
 */
export function crossEntropy(operands: CrossEntropyOperands, attrs: CrossEntropyAttrs, target: RowTarget): Dispatch {
  const width = rowWidth(operands.logits.shape[1]!);
  const weighted = operands.weight !== undefined;
  const smooth = attrs.smoothing > 0;
  const spec: RowKernel = {
    ...shared(operands, attrs),
    name: 'crossEntropy',
    inputs: [read('labels', 'i32')],
    outputs: [write('loss', 'f32'), write('stats', 'f32')],
    repeated: ['logits'],
    flops: 5,
    bytes: 20,
    body: (row) => `
${shiftedExpSum(row, row.of('logits'))}
let logSum = log(sum);
${smooth ? spreadOf(row, `${weightAt(weighted)} * ((m - ${row.of('logits')}) + logSum)`) : ''}
${targetOf(weighted, width)}
let nll = w * ((m - ${one('logits', width)}) + logSum);
${valueOf(smooth)}
if (first == 0u) {
  loss[row] = ${lossOfRow};
  stats[3u * row] = m;
  stats[3u * row + 1u] = logSum;
  stats[3u * row + 2u] = select(w, 0.0, ignored);
}`,
  };
  return rowKernel(spec, target);
}

/** Emits `even`, the mean of `term` over the classes: the part of the loss that smoothing adds. */
function spreadOf({ each }: RowBody, term: string): string {
  return `var spread = V(0);
${each(`spread += ${term};`)}
let even = sumRow(spread) / f32(p.classes);`;
}

export interface CrossEntropyBackwardOperands extends Omit<CrossEntropyOperands, 'loss'> {
  /** Cotangent of the losses, f32 [rows]; stride 0 where all rows have the same. */
  readonly g: Operand;
  readonly y: Elements;
}

/**
 * Computes the cotangent of the logits, g ((1 - s) w_t (softmax - onehot) + s/C (W softmax - w_c)) with W the
 * sum of the class weights; 0 for ignored rows.
 */
export function crossEntropyBackward(
  operands: CrossEntropyBackwardOperands,
  attrs: CrossEntropyAttrs,
  target: RowTarget,
): Dispatch {
  const { g, y } = operands;
  const width = rowWidth(operands.logits.shape[1]!);
  const weighted = operands.weight !== undefined;
  const smooth = attrs.smoothing > 0;
  const even = `s * p.smoothing / f32(p.classes) * (all * prob - ${weightAt(weighted)})`;
  const value = smooth ? `s * (1.0 - p.smoothing) * w * (prob - hit) + ${even}` : 's * w * (prob - hit)';
  const base = shared(operands, attrs);
  const spec: RowKernel = {
    ...base,
    params: { ...base.params, og: i32(g.offset), sg: i32(g.strides[0]!) },
    name: 'crossEntropyBackward',
    inputs: [read('labels', 'i32'), read('stats', 'f32'), read('g', 'f32')],
    sink: y,
    flops: 5,
    bytes: 20,
    body: ({ each, of }) => `
${targetOf(weighted, width)}
let m = stats[3u * row];
let logSum = stats[3u * row + 1u];
let s = select(select(nan, g[p.og + i32(row) * p.sg], valid), 0.0, ignored);
${smooth ? `var weights = V(0);\n${each(`weights += ${weightAt(weighted)};`)}\nlet all = sumRow(weights);` : ''}
${each(`let prob = exp((${of('logits')} - m) - logSum); let hit = ${hitOf(width)}; put(row, c, ${value});`)}`,
  };
  return rowKernel(spec, target);
}

export interface LossInPlaceAttrs extends CrossEntropyAttrs {
  /** Row of `losses` that the first of these rows writes. */
  readonly firstRow: number;
  /** Overwrites the logits with the gradient of each row's loss. */
  readonly gradient: boolean;
  /** Logits x become softCap * tanh(x / softCap) first; the gradient is that of x. */
  readonly softCap?: number | undefined;
}

export interface LossInPlaceOperands {
  /**
   * f32 or f16 [rows, classes], from the start of its buffer; the stride of rows is a multiple of 4 elements.
   */
  readonly x: Operand;
  /** i32 [rows], row-major. */
  readonly labels: Operand;
  /** f32 [..., 2]: the loss of each row, and 1 where it counts or 0 where it is ignored. */
  readonly losses: Operand;
}

/**
 * Computes the cross-entropy of rows of logits, and writes their gradient over them. An invalid target makes
 * both NaN.
 *
 * A thread reads and writes only its own logits (every stride-th of the row): the barriers inside of the sums
 * order workgroup memory, not the buffer.
 */
export function lossInPlace(
  { x: logits, labels }: LossInPlaceOperands,
  { ignoreIndex, smoothing, firstRow, gradient, softCap }: LossInPlaceAttrs,
  target: RowTarget,
): Dispatch {
  const { shape, strides, dtype } = logits;
  const [rows, classes] = shape as [number, number];
  const padded = Math.ceil(classes / 4) * 4;
  const type = `vec4<${storedType(dtype)}>`;
  const smooth = smoothing > 0;
  // Elements behind the last class, up to a whole vec4, weigh nothing, whatever they are.
  const inside = 'vec4<u32>(4u * c, 4u * c + 1u, 4u * c + 2u, 4u * c + 3u) < vec4<u32>(p.classes)';
  const only = (value: string, other: string): string =>
    padded === classes ? value : `select(V(${other}), ${value}, ${inside})`;
  /** tanh of a logit over the cap: beyond 10 it is 1 in f32, and overflows on some drivers. */
  const bent = (logit: string, type: string): string => `tanh(clamp(${logit} / p.cap, ${type}(-10.0), ${type}(10.0)))`;
  const capped = (logit: string, type: string): string =>
    softCap === undefined ? logit : `(p.cap * ${bent(logit, type)})`;
  const x = only(capped('V(x[o + c])', 'V'), 'lowest');
  const ofCapped = `s * ((prob - (1.0 - p.smoothing) * ${hitOf(4)}) - V(p.smoothing / f32(p.classes)))`;
  // The derivative of the cap is 1 - tanh^2.
  const slope = softCap === undefined ? ofCapped : `${ofCapped} * ${only('(V(1) - bend * bend)', '0')}`;
  const bend = softCap === undefined ? '' : `let bend = ${bent('V(x[o + c])', 'V')};`;
  const spec: RowKernel = {
    name: 'lossInPlace',
    shape: [rows, padded],
    sources: {},
    inputs: [read('labels', 'i32')],
    outputs: [write('losses', 'f32'), write('x', type)],
    params: {
      classes: u32(classes),
      ignore: i32(ignoreIndex),
      smoothing: f32(smoothing),
      pitch: u32(strides[0]! / 4),
      ot: u32(labels.offset),
      firstRow: u32(firstRow),
      ...(softCap === undefined ? {} : { cap: f32(softCap) }),
    },
    flops: gradient ? 10 : 5,
    bytes: classes * bytesOf(dtype) * (gradient ? 2 : 1) + 12,
    body: (line) => `
let o = row * p.pitch;
var lowestBits = 0xff800000u; let lowest = bitcast<f32>(lowestBits);
${label}
${shiftedExpSum(line, x)}
let logSum = log(sum);
${smooth ? spreadOf(line, only(`((m - ${x}) + logSum)`, '0')) : ''}
// The target's logit is read by the thread that will overwrite it, so that no other thread can be earlier.
if ((at / 4u) % stride == first) {
  let xt = ${capped('f32(x[o + at / 4u][at % 4u])', 'f32')};
  let nll = (m - xt) + logSum;
  ${valueOf(smooth)}
  let to = 2u * (p.firstRow + row);
  losses[to] = ${lossOfRow};
  losses[to + 1u] = select(1.0, 0.0, ignored);
}
${
  gradient
    ? `let s = select(select(nan, 1.0, valid), 0.0, ignored);
${line.each(`${bend} let prob = exp((${x} - m) - logSum); x[o + c] = ${type}(${slope});`)}`
    : ''
}`,
  };
  return rowKernel(spec, target);
}
