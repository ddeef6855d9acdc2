import type { Dispatch } from '../gpu/dispatch.ts';
import { bytesOf, f32, i32, read, u32, write } from './kernel.ts';
import type { Dtype } from './kernel.ts';
import { loadRow, rowKernel, rowType, rowWidth, shiftedExpSum, storeRow } from './rows.ts';
import type { RowLanes } from './rows.ts';

export interface CrossEntropyParams {
  readonly rows: number;
  readonly classes: number;
  readonly dtype: Dtype;
  readonly lanes: RowLanes;
  readonly ignoreIndex: number;
  readonly smoothing: number;
  /** Sum of the class weights; the number of classes without weights. */
  readonly weighted: boolean;
  /** Offsets of the row-major logits [rows, classes], the targets i32 [rows] and the weights [classes]. */
  readonly offsets: readonly [number, number, number];
}

/** WGSL: the row's target, whether it is ignored, and its weight. An invalid target poisons its row with NaN. */
function targetOf(weighted: boolean): string {
  return `
let t = target_[p.ot + row];
let ignored = t == p.ignore;
let valid = t >= 0 && t < i32(p.classes);
var bits = 0x7fc00000u;
let nan = bitcast<f32>(bits);
let at = u32(clamp(t, 0, i32(p.classes) - 1));
let w = ${weighted ? 'f32(weight[p.ow + at])' : '1.0'};`;
}

function bindings(params: CrossEntropyParams, type: string) {
  return [read('x', type), read('target_', 'i32'), ...(params.weighted ? [read('weight', 'f32')] : [])];
}

function uniforms({ classes, ignoreIndex, smoothing, offsets }: CrossEntropyParams, width: 1 | 4) {
  return {
    classes: u32(classes),
    ignore: i32(ignoreIndex),
    smoothing: f32(smoothing),
    o: u32(offsets[0] / width),
    ot: u32(offsets[1]),
    ow: u32(offsets[2]),
  };
}

/** Component e of element c of a row, as a class number. */
const weightAt = (weighted: boolean, width: 1 | 4): string => {
  if (!weighted) return 'V(1)';
  return width === 4
    ? 'vec4<f32>(weight[p.ow + 4u * c], weight[p.ow + 4u * c + 1u], weight[p.ow + 4u * c + 2u], weight[p.ow + 4u * c + 3u])'
    : 'weight[p.ow + c]';
};

/**
 * Loss of each row: (1 - s) w_t (lse - x_t) + s/C sum_c w_c (lse - x_c), with lse = log sum exp x, label smoothing s, class weights w; 0 for ignored rows.
 * Bindings x, target, (weight,) loss, stats; stats holds three numbers a row: the largest logit m, lse - m (apart from m, whose rounding would swamp it),
 * and the row's weight in the mean (0 if ignored).
 */
export function crossEntropy(params: CrossEntropyParams): Dispatch {
  const { rows, classes, dtype, lanes, weighted, smoothing, offsets } = params;
  const width = rowWidth(classes, offsets[0]);
  const x = loadRow('x', 'o + c');
  const smooth = smoothing > 0;
  const xt = width === 4 ? 'f32(x[o + at / 4u][at % 4u])' : 'f32(x[o + at])';
  return rowKernel(
    {
      name: 'crossEntropy',
      rows,
      cols: classes,
      lanes,
      bindings: [...bindings(params, rowType(dtype, width)), write('loss', 'f32'), write('stats', 'f32')],
      params: uniforms(params, width),
      cost: { flops: 5 * rows * classes, bytes: rows * classes * bytesOf(dtype) },
      body: `
let o = p.o + start;
${shiftedExpSum(x)}
let logSum = log(sum);
${smooth ? `var spread = V(0);\nfor (var c = first; c < cols; c += stride) { spread += ${weightAt(weighted, width)} * ((m - ${x}) + logSum); }\nlet even = sumRow(spread) / f32(p.classes);` : ''}
${targetOf(weighted)}
let nll = w * ((m - ${xt}) + logSum);
let value = ${smooth ? '(1.0 - p.smoothing) * nll + p.smoothing * even' : 'nll'};
if (first == 0u) {
  loss[row] = select(select(nan, value, valid), 0.0, ignored);
  stats[3u * row] = m;
  stats[3u * row + 1u] = logSum;
  stats[3u * row + 2u] = select(w, 0.0, ignored);
}`,
    },
    width,
  );
}

/**
 * Cotangent of the logits: g ((1 - s) w_t (softmax - onehot) + s/C (W softmax - w_c)), W the sum of the weights; 0 for ignored rows.
 * Bindings x, target, (weight,) stats, g, dx.
 */
export function crossEntropyBackward(params: CrossEntropyParams & { readonly gOffset: number }): Dispatch {
  const { rows, classes, dtype, lanes, weighted, smoothing, offsets, gOffset } = params;
  const width = rowWidth(classes, offsets[0]);
  const smooth = smoothing > 0;
  const hit =
    width === 4
      ? 'select(V(0), V(1), vec4<u32>(4u * c, 4u * c + 1u, 4u * c + 2u, 4u * c + 3u) == vec4<u32>(at))'
      : 'select(0.0, 1.0, c == at)';
  const value = smooth
    ? `s * (1.0 - p.smoothing) * w * (prob - hit) + s * p.smoothing / f32(p.classes) * (all * prob - ${weightAt(weighted, width)})`
    : 's * w * (prob - hit)';
  return rowKernel(
    {
      name: 'crossEntropyBackward',
      rows,
      cols: classes,
      lanes,
      bindings: [
        ...bindings(params, rowType(dtype, width)),
        read('stats', 'f32'),
        read('g', 'f32'),
        write('dx', rowType(dtype, width)),
      ],
      params: { ...uniforms(params, width), og: u32(gOffset) },
      cost: { flops: 5 * rows * classes, bytes: 2 * rows * classes * bytesOf(dtype) },
      body: `
let o = p.o + start;
${targetOf(weighted)}
let m = stats[3u * row];
let logSum = stats[3u * row + 1u];
let s = select(select(nan, g[p.og + row], valid), 0.0, ignored);
${smooth ? `var weights = V(0);\nfor (var c = first; c < cols; c += stride) { weights += ${weightAt(weighted, width)}; }\nlet all = sumRow(weights);` : ''}
for (var c = first; c < cols; c += stride) {
  let prob = exp((${loadRow('x', 'o + c')} - m) - logSum);
  let hit = ${hit};
  dx[start + c] = ${storeRow(dtype, width, value)};
}`,
    },
    width,
  );
}
