import type { Dispatch } from '../gpu/dispatch.ts';
import { hitOf, labelOf } from './cross-entropy.ts';
import { f32, i32, read, storedType, u32, write } from './kernel.ts';
import { rowKernel, rowWidth, shiftedExpSum } from './rows.ts';
import type { RowLanes } from './rows.ts';

export interface LossInPlaceParams {
  readonly rows: number;
  readonly classes: number;
  readonly dtype: 'f32' | 'f16';
  readonly lanes: RowLanes;
  readonly ignoreIndex: number;
  readonly smoothing: number;
  /** Elements from one row of the logits to the next, a multiple of 4. */
  readonly pitch: number;
  /** Where the targets i32 of these rows begin, and the first of them among all rows. */
  readonly targetOffset: number;
  readonly firstRow: number;
  /** Overwrite the logits with the gradient of each row's loss. */
  readonly gradient: boolean;
}

/**
 * Cross-entropy of rows of logits that are not needed any more: their gradient takes their place. Bindings
 * targets, losses, x. losses f32 [.., 2] gets each row's loss and whether it counts; an invalid target poisons
 * both loss and gradient with NaN. See kernels/cross-entropy.ts for the formulas.
 *
 * A thread reads and writes no logit but its own (every stride-th of the row), because the barriers inside of
 * the row's sums order workgroup memory only, not the buffer.
 */
export function lossInPlace(params: LossInPlaceParams): Dispatch {
  const { rows, classes, dtype, lanes, ignoreIndex, smoothing, pitch, targetOffset, firstRow, gradient } = params;
  const width = rowWidth(classes);
  const vector = width === 4;
  const type = vector ? `vec4<${storedType(dtype)}>` : storedType(dtype);
  const smooth = smoothing > 0;
  const x = 'V(x[o + c])';
  const unit = vector ? '(at / 4u)' : 'at';
  const hit = hitOf(width);
  return rowKernel({
    name: 'lossInPlace',
    rows,
    cols: classes,
    lanes,
    sources: {},
    inputs: [read('targets', 'i32')],
    outputs: [write('losses', 'f32'), write('x', type)],
    params: {
      classes: u32(classes),
      ignore: i32(ignoreIndex),
      smoothing: f32(smoothing),
      pitch: u32(pitch / width),
      ot: u32(targetOffset),
      firstRow: u32(firstRow),
    },
    flops: gradient ? 10 : 5,
    body: (line) => `
let o = row * p.pitch;
${labelOf('targets')}
${shiftedExpSum(line, x)}
let logSum = log(sum);
${smooth ? `var spread = V(0);\n${line.each(`spread += (m - ${x}) + logSum;`)}\nlet even = sumRow(spread) / f32(p.classes);` : ''}
// Only the thread that will overwrite the target's logit reads it: no other thread's order matters.
if (${unit} % stride == first) {
  let xt = f32(${vector ? 'x[o + at / 4u][at % 4u]' : 'x[o + at]'});
  let nll = (m - xt) + logSum;
  let value = ${smooth ? '(1.0 - p.smoothing) * nll + p.smoothing * even' : 'nll'};
  let to = 2u * (p.firstRow + row);
  losses[to] = select(select(nan, value, valid), 0.0, ignored);
  losses[to + 1u] = select(1.0, 0.0, ignored);
}
${
  gradient
    ? `let s = select(select(nan, 1.0, valid), 0.0, ignored);
${line.each(`let prob = exp((${x} - m) - logSum); x[o + c] = ${type}(s * ((prob - (1.0 - p.smoothing) * ${hit}) - V(p.smoothing / f32(p.classes))));`)}`
    : ''
}`,
  });
}
