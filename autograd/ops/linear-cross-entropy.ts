import type { Target } from '../../gpu/index.ts';
import { lossInPlace } from '../../kernels/cross-entropy.ts';
import type { CrossEntropyAttrs } from '../../kernels/cross-entropy.ts';
import { bytesOf } from '../../kernels/kernel.ts';
import { checkpoint } from './checkpoint.ts';
import { isGradEnabled, productPrecision } from '../context.ts';
import type { Precision } from '../context.ts';
import { fill } from '../lower/elementwise.ts';
import { transposed, viewOf } from '../lower/window.ts';
import { defineOp, ShapeError } from '../op.ts';
import type { Lowering, Op, VjpContext } from '../op.ts';
import { checkChoice, checkOptions, promote, requireFloat, sameShape, show } from '../shapes.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { div, mul } from './arithmetic.ts';
import { capped, checkSoftCap } from './attention-weights.ts';
import { cast, sumOp } from './broadcast.ts';
import { compositeVjp } from './composite.ts';
import { concat } from './concat.ts';
import { crossEntropy, reductions } from './cross-entropy.ts';
import type { Reduction } from './cross-entropy.ts';
import { checkLabels } from './known-range.ts';
import { linear, matmulOp } from './matmul.ts';
import { reshape } from './reshape.ts';
import { narrow, select } from './slice.ts';

interface Attrs extends CrossEntropyAttrs {
  /** Rows whose logits are in memory at once; default as many as fit. */
  readonly chunkRows?: number;
  /** Computes the gradients together with the loss, while the logits are in memory. */
  readonly gradients: boolean;
  readonly softCap?: number | undefined;
  readonly precision: Precision;
}

/** hidden [N, D], weight [V, D], bias [V], target i32 [N]. */
type Inputs = { hidden: Tensor; weight: Tensor; target: Tensor; bias?: Tensor };
/** sums f32 [2]: the sum of the losses and the number of rows that count; gradients of the sum, f32. */
type Outputs = { sums: Tensor; dHidden?: Tensor; dWeight?: Tensor; dBias?: Tensor };

const linearLossOp: Op<Inputs, Outputs, Attrs> = defineOp<Inputs, Outputs, Attrs>({
  name: 'linearCrossEntropy',
  infer({ hidden, weight, bias }, { gradients }) {
    const f32 = (shape: readonly number[]) => ({ shape, dtype: 'f32' as const });
    const of = { dHidden: f32(hidden.shape), dWeight: f32(weight.shape), ...(bias ? { dBias: f32(bias.shape) } : {}) };
    return { sums: f32([2]), ...(gradients ? of : {}) };
  },
  lower: lowerInRuns,
  autocast: ['hidden', 'weight'],
  saves: { inputs: ['hidden', 'weight', 'target', 'bias'], outputs: ['dHidden', 'dWeight', 'dBias'] },
  vjp(context) {
    if (isGradEnabled()) return again(context);
    const { g, output, specs, needs } = context;
    const factor = select(g, 0, 0);
    const scaled = (name: 'hidden' | 'weight' | 'bias', gradient: keyof Outputs): Tensor | null =>
      needs(name) ? cast(mul(output(gradient)!, factor), specs[name]!.dtype) : null;
    return {
      hidden: scaled('hidden', 'dHidden'),
      weight: scaled('weight', 'dWeight'),
      bias: scaled('bias', 'dBias'),
    };
  },
});

/** The derivative as ops, which can be differentiated again. */
function again(context: VjpContext<Inputs, Outputs, Attrs>) {
  const total = compositeVjp<Inputs, { sum: Tensor }, Attrs>(
    ({ hidden, weight, target, bias }, { ignoreIndex, smoothing, softCap }) => {
      const logits = capped(linear(hidden, weight, bias), softCap);
      return { sum: crossEntropy(logits, target, { reduction: 'sum', ignoreIndex, labelSmoothing: smoothing }) };
    },
  );
  const g = select(context.g, 0, 0);
  const { input, specs, attrs, needs } = context;
  return total({ input, specs, attrs, needs, g, grads: { sum: g }, output: () => g });
}

/**
 * Bytes of logits in memory at once: as many as one binding holds on every device, more on a GPU with memory
 * of its own, where short runs would not fill it (and add to the gradient of the weight again and again).
 */
const scratchBytes = ({ kind, bindingLimit }: Target): number =>
  Math.min(bindingLimit, Math.max(2 ** 27, kind === 'discrete' ? bindingLimit / 8 : 0));

/**
 * Computes, for each run of rows: the logits, the loss, the gradient of the logits in their place, and from
 * it the gradients of hidden, weight and bias, the last two added up in the order of the runs. Four
 * dispatches a run (five with a bias), two without gradients.
 */
function lowerInRuns(
  lowering: Lowering<Inputs>,
  { hidden, weight, target, bias }: Inputs,
  { sums, dHidden, dWeight, dBias }: Outputs,
  { chunkRows, precision, ...attrs }: Attrs,
): void {
  const rows = hidden.shape[0]!;
  const classes = weight.shape[0]!;
  if (rows === 0) return [sums, dHidden, dWeight, dBias].forEach((y) => y && y.size > 0 && fill(lowering, y, 0));

  const dtype = promote(hidden.dtype, weight.dtype) === 'f16' ? 'f16' : 'f32';
  const pitch = Math.ceil(classes / 8) * 8; // rows that products read in whole vectors, in f16 too
  const run = chunkRows ?? runLength(rows, scratchBytes(lowering.target), pitch * bytesOf(dtype));
  const scratch = lowering.temporary([Math.min(run, rows) * pitch], dtype);
  const losses = lowering.temporary([rows, 2], 'f32');
  const labels = lowering.contiguous(target);
  for (let first = 0; first < rows; first += run) {
    const count = Math.min(run, rows - first);
    const accumulate = first > 0;
    const part = rowsOf(hidden, first, count);
    const logits = viewOf(scratch, { shape: [count, classes], strides: [pitch, 1], offset: 0 });
    lowering.run(matmulOp, { a: part, b: transposed(weight), bias }, { y: logits }, precision);
    const own = viewOf(labels, { shape: [count], strides: [1], offset: labels.offset + first });
    lowering.emit(lossInPlace, { x: logits, labels: own, losses }, { ...attrs, firstRow: first, gradient: !!dWeight });
    if (!dHidden || !dWeight) continue;
    lowering.run(matmulOp, { a: logits, b: weight }, { y: rowsOf(dHidden, first, count) }, precision);
    lowering.run(matmulOp, { a: transposed(logits), b: part }, { y: dWeight }, precision, { accumulate });
    if (dBias) lowering.run(sumOp, { x: logits }, { y: dBias }, { axes: [0] }, { accumulate });
  }
  lowering.run(sumOp, { x: losses }, { y: sums }, { axes: [0] });
}

/** Returns the rows of a run: runs of about equal length, in whole tiles of matrix products. */
function runLength(rows: number, bytes: number, rowBytes: number): number {
  const most = Math.max(1, Math.floor(bytes / rowBytes));
  if (most >= rows) return rows;
  const even = Math.ceil(rows / Math.ceil(rows / most));
  return Math.min(Math.ceil(even / 64) * 64, most);
}

const rowsOf = (x: Tensor, first: number, count: number): Tensor =>
  viewOf(x, { shape: [count, x.shape[1]!], strides: x.strides, offset: x.offset + first * x.strides[0]! });

export interface LinearCrossEntropyOptions {
  /** [V] */
  readonly bias?: Tensor;
  /** 'mean' divides by the number of targets that are not ignored. */
  readonly reduction?: Reduction;
  /** Targets of this value count for nothing. */
  readonly ignoreIndex?: number;
  /** Share of each target spread evenly over all classes (Szegedy et al. 2016). */
  readonly labelSmoothing?: number;
  /**
   * Rows whose logits are in memory at once; default as many as fit in 128 MiB, or on a GPU with memory of
   * its own in an eighth of what one binding holds, 512 MiB most often.
   */
  readonly chunkRows?: number;
  /** Logits x become softCap * tanh(x / softCap) (Gemma Team 2024, "Gemma 2"). Default: as they are. */
  readonly softCap?: number | undefined;
}

/**
 * Computes crossEntropy(linear(hidden, weight, bias), target) of hidden [..., D], weight [V, D], bias [V] and
 * class numbers [...] without all logits [..., V] in memory, for the heads of language models. Runs of rows
 * pass through one buffer, where the gradient of the logits takes their place as soon as the loss is known
 * (Hsu et al. 2024, "Liger kernel"); backward only multiplies. With reduction 'none' backward computes the
 * runs again.
 *
 * @example
 * linearCrossEntropy(tensor([[2, 0]]), eye(2), tensor([0], { dtype: 'i32' })); // 0.1269
 */
export function linearCrossEntropy(
  hidden: Tensor,
  weight: Tensor,
  target: Tensor,
  options: LinearCrossEntropyOptions = {},
): Tensor {
  const { bias, reduction = 'mean', ignoreIndex = -100, labelSmoothing = 0, chunkRows, softCap } = options;
  requireFloat('linearCrossEntropy', hidden);
  const names = ['bias', 'reduction', 'ignoreIndex', 'labelSmoothing', 'chunkRows', 'softCap'];
  checkOptions('linearCrossEntropy', options, names);
  checkChoice('linearCrossEntropy', 'reduction', reduction, reductions);
  requireFloat('linearCrossEntropy', weight);
  const fail = (what: string): never => {
    throw new ShapeError(`linearCrossEntropy: ${what}`);
  };
  const [classes, width] = weight.shape as [number, number];
  if (weight.ndim !== 2 || hidden.ndim < 1 || hidden.shape.at(-1) !== width || weight.size === 0)
    fail(
      `hidden ${show(hidden.shape)} needs a weight [classes, ${hidden.shape.at(-1) ?? 'D'}], got ${show(weight.shape)}`,
    );
  if (!sameShape(target.shape, hidden.shape.slice(0, -1)))
    fail(`hidden ${show(hidden.shape)} needs targets ${show(hidden.shape.slice(0, -1))}, got ${show(target.shape)}`);
  if (bias && !sameShape(bias.shape, [classes]))
    fail(`bias ${show(bias.shape)} must be [${classes}], one for each class`);
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1)) fail(`labelSmoothing must lie in [0, 1], got ${labelSmoothing}`);
  if (chunkRows !== undefined && !(Number.isInteger(chunkRows) && chunkRows > 0))
    fail(`chunkRows must be a positive integer, got ${chunkRows}`);
  checkSoftCap('linearCrossEntropy', softCap);
  const numbers = checkLabels('linearCrossEntropy', target, classes, ignoreIndex);

  const rows = reshape(hidden, [target.size, width]);
  const labels = reshape(numbers, [target.size]);
  if (reduction === 'none') return reshape(lossOfRows(rows, weight, labels, options), target.shape);
  const inputs = { hidden: rows, weight, target: labels, bias };
  const gradients = isGradEnabled() && [rows, weight, bias].some((x) => x?.requiresGrad);
  const precision = productPrecision();
  const attrs = { ignoreIndex, smoothing: labelSmoothing, chunkRows, gradients, softCap, precision };
  const { sums } = apply(linearLossOp, inputs, attrs);
  const total = select(sums, 0, 0);
  return reduction === 'sum' ? total : div(total, select(sums.detach(), 0, 1));
}

/** Returns the loss of each row. Logits are not kept, and backward computes them again. */
function lossOfRows(
  rows: Tensor,
  weight: Tensor,
  labels: Tensor,
  { bias, ignoreIndex, labelSmoothing, chunkRows, softCap }: LinearCrossEntropyOptions,
): Tensor {
  const count = rows.shape[0]!;
  const run = chunkRows ?? Math.max(1, Math.floor(2 ** 25 / weight.shape[0]!));
  const parts = Array.from({ length: Math.max(1, Math.ceil(count / run)) }, (_, i) => {
    const [first, length] = [i * run, Math.min(run, count - i * run)];
    const loss = (): Tensor => {
      const logits = capped(linear(narrow(rows, 0, first, length), weight, bias), softCap);
      return crossEntropy(logits, narrow(labels, 0, first, length), { reduction: 'none', ignoreIndex, labelSmoothing });
    };
    return checkpoint(loss);
  });
  return parts.length === 1 ? parts[0]! : concat(parts);
}
