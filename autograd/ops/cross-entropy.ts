import { crossEntropy as crossEntropyKernel, crossEntropyBackward } from '../../kernels/cross-entropy.ts';
import { chooseLanes } from '../../kernels/rows.ts';
import { rowBlocks } from '../blocks/leading.ts';
import { compositeVjp } from '../composite.ts';
import { checkChoice, checkOptions, requireFloat, sameShape, show } from '../dtypes.ts';
import { defineOp, ShapeError } from '../op.ts';
import { sourceOf } from '../ports.ts';
import type { Lowering, Op, Port } from '../op.ts';
import { apply } from '../tape.ts';
import { isFloat } from '../tensor.ts';
import type { Tensor } from '../tensor.ts';
import { add, div, mul, neg, sub } from './arithmetic.ts';
import { cast, sum } from './broadcast.ts';
import { eq, where } from './comparison.ts';
import { checkLabels } from '../labels.ts';
import { embedding, oneHot } from './gather.ts';
import { reshape, squeeze, unsqueeze } from './reshape.ts';
import { slice } from './slice.ts';
import { softmax, logSoftmax } from './softmax.ts';
import { permute } from './movement.ts';

interface Attrs {
  readonly ignoreIndex: number;
  readonly smoothing: number;
}

/**
 * Inputs logits [rows, classes], target i32 [rows], (weight f32 [classes]); outputs loss [rows] and stats
 * [rows, 3], see the kernel.
 */
const lossOp: Op<Attrs> = defineOp<Attrs>({
  name: 'crossEntropy',
  infer: ([x]) => [
    { shape: [x!.shape[0]!], dtype: 'f32' },
    { shape: [x!.shape[0]!, 3], dtype: 'f32' },
  ],
  lower(lowering, [, labels, weight], [loss, stats], attrs) {
    const [logits, target] = [lowering.source(0), lowering.contiguous(labels!)];
    const dispatch = crossEntropyKernel(kernelParams(lowering, logits, target, weight, attrs));
    lowering.emit(dispatch, [...logits.tensors, ...(weight ? [weight] : []), target, loss!, stats!]);
  },
  blocks: rowBlocks(() => [2]),
  saves: { inputs: [0, 1, 2], outputs: [1] },
  vjp({ g, input, output, specs, attrs }) {
    const inputs = specs.map((_, i) => input(i));
    const weight = inputs[2];
    const [dx] = apply(lossBackwardOp, [inputs[0]!, inputs[1]!, ...(weight ? [weight] : []), output(1), g], attrs);
    return [dx!, ...specs.slice(1).map(() => null)];
  },
});

/** Inputs logits, target, (weight,) stats, g. */
const lossBackwardOp = defineOp<Attrs>({
  name: 'crossEntropyBackward',
  infer: ([x]) => [{ shape: x!.shape, dtype: x!.dtype }],
  lower(lowering, inputs, _, attrs) {
    const [stats, g] = inputs.slice(-2);
    const weight = inputs.length === 5 ? inputs[2] : undefined;
    const [logits, target, to] = [lowering.source(0), lowering.contiguous(inputs[1]!), lowering.sink()];
    const params = kernelParams(lowering, logits, target, weight, attrs);
    const cotangent = { offset: g!.offset, stride: g!.strides[0]! };
    const dispatch = crossEntropyBackward({ ...params, g: cotangent, y: to.elements });
    lowering.emit(dispatch, [...logits.tensors, ...(weight ? [weight] : []), target, stats!, g!, ...to.tensors]);
  },
  fuses: { epilogue: true },
  blocks: rowBlocks(({ length }) => (length === 5 ? [2] : [])),
  saves: { inputs: [0, 1, 2, 3, 4] },
  vjp: compositeVjp((inputs, { ignoreIndex, smoothing }) => {
    const [x, target] = [inputs[0]!, inputs[1]!];
    const weight = inputs.length === 5 ? inputs[2]! : undefined;
    const classes = x.shape[1]!;
    const ignored = eq(target, ignoreIndex);
    const safe = where(ignored, 0, target);
    const prob = softmax(x, 1);
    const w = weight ? embedding(reshape(weight, [classes, 1]), safe) : undefined;
    const hard = sub(prob, oneHot(safe, classes));
    const soft = weight ? sub(mul(prob, sum(weight)), weight) : sub(mul(prob, classes), 1);
    const direction = add(mul(w ? mul(hard, w) : hard, 1 - smoothing), mul(soft, smoothing / classes));
    const scale = where(ignored, 0, inputs.at(-1)!);
    return [cast(mul(direction, unsqueeze(scale, 1)), x.dtype)];
  }),
});

function kernelParams(
  { target }: Lowering,
  { elements }: Port,
  labels: Tensor,
  weight: Tensor | undefined,
  { ignoreIndex, smoothing }: Attrs,
) {
  const [rows, classes] = elements.shape as [number, number];
  return {
    rows,
    classes,
    lanes: chooseLanes(target, classes),
    ignoreIndex,
    smoothing,
    logits: elements,
    weight: weight && sourceOf(weight, elements.shape).elements,
    targetOffset: labels.offset,
  };
}

export type Reduction = 'mean' | 'sum' | 'none';
export const reductions: readonly Reduction[] = ['mean', 'sum', 'none'];

export interface CrossEntropyOptions {
  /** 'mean' divides by the sum of the weights of the targets that are not ignored. */
  readonly reduction?: Reduction;
  /** Targets of this value count for nothing. */
  readonly ignoreIndex?: number;
  /** One weight for each class, f32. */
  readonly weight?: Tensor;
  /** Share of each target spread evenly over all classes (Szegedy et al. 2016). */
  readonly labelSmoothing?: number;
}

/**
 * Cross-entropy of logits [N, C] or [N, C, ...] with targets of shape [N] or [N, ...]: class numbers, or
 * probabilities of the logits' shape.
 */
export function crossEntropy(logits: Tensor, target: Tensor, options: CrossEntropyOptions = {}): Tensor {
  const { reduction = 'mean', ignoreIndex = -100, weight, labelSmoothing = 0 } = options;
  requireFloat('crossEntropy', logits);
  checkOptions('crossEntropy', options, ['reduction', 'ignoreIndex', 'weight', 'labelSmoothing']);
  checkChoice('crossEntropy', 'reduction', reduction, reductions);
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1)) {
    throw new ShapeError(`crossEntropy: labelSmoothing must lie in [0, 1], got ${labelSmoothing}`);
  }
  const axis = logits.ndim === 1 ? 0 : 1;
  const classes = logits.shape[axis]!;
  if (weight && !sameShape(weight.shape, [classes])) {
    throw new ShapeError(
      `crossEntropy: weight ${show(weight.shape)} must have one element for each of the ${classes} classes`,
    );
  }
  if (isFloat(target.dtype) && sameShape(target.shape, logits.shape))
    return withProbabilities(logits, target, options, axis);
  const expected = logits.shape.filter((_, i) => i !== axis);
  if (!sameShape(target.shape, expected)) {
    throw new ShapeError(
      `crossEntropy: logits ${show(logits.shape)} need class numbers of shape ${show(expected)} or probabilities of their own shape, got ${show(target.shape)}`,
    );
  }
  const labels = checkLabels('crossEntropy', target, classes, ignoreIndex);
  const rows = logits.ndim > 2 ? permute(logits, [0, ...logits.shape.slice(2).map((_, i) => i + 2), 1]) : logits;
  const inputs = [reshape(rows, [-1, classes]), reshape(labels, [-1]), ...(weight ? [cast(weight, 'f32')] : [])];
  const [loss, stats] = apply(lossOp, inputs, { ignoreIndex, smoothing: labelSmoothing });
  if (reduction === 'none') return reshape(loss!, expected);
  const total = sum(loss!);
  return reduction === 'sum' ? total : div(total, sum(squeeze(slice(stats!.detach(), null, [2, 3]), 1)));
}

function withProbabilities(logits: Tensor, target: Tensor, options: CrossEntropyOptions, axis: number): Tensor {
  const { reduction = 'mean', weight, labelSmoothing = 0 } = options;
  const classes = logits.shape[axis]!;
  const smooth = labelSmoothing > 0 ? add(mul(target, 1 - labelSmoothing), labelSmoothing / classes) : target;
  const shape = logits.shape.map((_, i) => (i === axis ? classes : 1));
  const weighted = weight ? mul(smooth, reshape(weight, shape)) : smooth;
  const loss = neg(sum(mul(weighted, logSoftmax(logits, axis)), axis));
  if (reduction === 'none') return loss;
  return reduction === 'sum' ? sum(loss) : div(sum(loss), Math.max(1, loss.size));
}
