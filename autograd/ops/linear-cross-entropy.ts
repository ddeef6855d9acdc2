import { checkpoint } from '../checkpoint.ts';
import { compositeVjp } from '../composite.ts';
import { checkChoice, checkOptions, requireFloat, sameShape, show } from '../dtypes.ts';
import { isGradEnabled } from '../grad-mode.ts';
import { checkLabels } from '../labels.ts';
import { lowerChunkedLoss } from '../lower-loss.ts';
import { defineOp, ShapeError } from '../op.ts';
import type { Op, VjpContext } from '../op.ts';
import { apply } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { div, mul } from './arithmetic.ts';
import { cast } from './broadcast.ts';
import { concat } from './concat.ts';
import { crossEntropy, reductions } from './cross-entropy.ts';
import type { Reduction } from './cross-entropy.ts';
import { linear } from './matmul.ts';
import { reshape } from './reshape.ts';
import { narrow, select } from './slice.ts';

interface Attrs {
  readonly ignoreIndex: number;
  readonly smoothing: number;
  readonly chunkRows?: number;
  /** Compute the gradients with the loss: the logits are there only once. */
  readonly gradients: boolean;
}

/**
 * Inputs hidden [N, D], weight [V, D], target i32 [N], (bias [V]); outputs (sum of the losses, rows that
 * count) f32 [2] and, where asked for, the sum's gradients f32 of hidden, weight (and bias).
 */
const linearLossOp: Op<Attrs> = defineOp<Attrs>({
  name: 'linearCrossEntropy',
  infer: ([hidden, weight, , bias], { gradients }) => [
    { shape: [2], dtype: 'f32' },
    ...(gradients ? [hidden!, weight!, ...(bias ? [bias] : [])] : []).map(({ shape }) => ({
      shape,
      dtype: 'f32' as const,
    })),
  ],
  lower(lowering, [hidden, weight, target, bias], [sums, ...gradients], { gradients: _, ...options }) {
    const inputs = { hidden: hidden!, weight: weight!, target: target!, bias };
    lowerChunkedLoss(lowering, { ...inputs, sums: sums!, gradients, ...options });
  },
  saves: { inputs: [0, 1, 2, 3], outputs: [1, 2, 3] },
  vjp(context) {
    if (isGradEnabled()) return again(context);
    const { g, output, specs, needs } = context;
    const factor = select(g, 0, 0);
    const scaled = (input: number, gradient: number): Tensor | null =>
      needs(input) ? cast(mul(output(gradient), factor), specs[input]!.dtype) : null;
    return [scaled(0, 1), scaled(1, 2), null, scaled(3, 3)].slice(0, specs.length);
  },
});

/** The derivative in ops, for derivatives of it. */
function again(context: VjpContext<Attrs>): readonly (Tensor | null)[] {
  const total = compositeVjp<Attrs>(([hidden, weight, target, bias], { ignoreIndex, smoothing }) => {
    const logits = linear(hidden!, weight!, bias);
    return [crossEntropy(logits, target!, { reduction: 'sum', ignoreIndex, labelSmoothing: smoothing })];
  });
  return total({ ...context, grads: [select(context.g, 0, 0)] });
}

export interface LinearCrossEntropyOptions {
  /** [V] */
  readonly bias?: Tensor;
  /** 'mean' divides by the number of targets that are not ignored. */
  readonly reduction?: Reduction;
  /** Targets of this value count for nothing. */
  readonly ignoreIndex?: number;
  /** Share of each target spread evenly over all classes (Szegedy et al. 2016). */
  readonly labelSmoothing?: number;
  /** Rows whose logits are in memory at once; default as many as fit in 128 MiB. */
  readonly chunkRows?: number;
}

/**
 * crossEntropy(linear(hidden, weight, bias), target) of hidden [..., D], weight [V, D] and class numbers
 * [...], without the logits [..., V] in memory: for the heads of language models. Runs of rows pass through
 * one buffer, in which the gradient of the logits takes their place as soon as the loss is known (Hsu et al.
 * 2024, "Liger kernel"); backward only multiplies. With reduction 'none' the runs are computed again in
 * backward.
 */
export function linearCrossEntropy(
  hidden: Tensor,
  weight: Tensor,
  target: Tensor,
  options: LinearCrossEntropyOptions = {},
): Tensor {
  const { bias, reduction = 'mean', ignoreIndex = -100, labelSmoothing = 0, chunkRows } = options;
  requireFloat('linearCrossEntropy', hidden);
  checkOptions('linearCrossEntropy', options, ['bias', 'reduction', 'ignoreIndex', 'labelSmoothing', 'chunkRows']);
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
  const numbers = checkLabels('linearCrossEntropy', target, classes, ignoreIndex);

  const rows = reshape(hidden, [target.size, width]);
  const labels = reshape(numbers, [target.size]);
  if (reduction === 'none') return reshape(lossOfRows(rows, weight, labels, options), target.shape);
  const inputs = [rows, weight, labels, ...(bias ? [bias] : [])];
  const gradients = isGradEnabled() && inputs.some((x) => x.requiresGrad);
  const [sums] = apply(linearLossOp, inputs, {
    ignoreIndex,
    smoothing: labelSmoothing,
    chunkRows,
    gradients,
  });
  const total = select(sums!, 0, 0);
  return reduction === 'sum' ? total : div(total, select(sums!.detach(), 0, 1));
}

/** Each row's loss; a run's logits are forgotten and computed again in backward. */
function lossOfRows(
  rows: Tensor,
  weight: Tensor,
  labels: Tensor,
  { bias, ignoreIndex, labelSmoothing, chunkRows }: LinearCrossEntropyOptions,
): Tensor {
  const count = rows.shape[0]!;
  const run = chunkRows ?? Math.max(1, Math.floor(2 ** 25 / weight.shape[0]!));
  const parts = Array.from({ length: Math.max(1, Math.ceil(count / run)) }, (_, i) => {
    const [first, length] = [i * run, Math.min(run, count - i * run)];
    const loss = (): Tensor =>
      crossEntropy(linear(narrow(rows, 0, first, length), weight, bias), narrow(labels, 0, first, length), {
        reduction: 'none',
        ignoreIndex,
        labelSmoothing,
      });
    return checkpoint(loss);
  });
  return parts.length === 1 ? parts[0]! : concat(parts);
}
