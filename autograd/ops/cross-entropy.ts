import { crossEntropy as lossKernel, crossEntropyBackward } from '../../kernels/cross-entropy.ts';
import type { CrossEntropyAttrs } from '../../kernels/cross-entropy.ts';
import { sourceOf } from '../lower/elementwise.ts';
import { defineOp, ShapeError } from '../op.ts';
import type { Op } from '../op.ts';
import { checkChoice, checkOptions, requireFloat, sameShape, show } from '../shapes.ts';
import { apply } from '../tape.ts';
import { isFloat } from '../tensor.ts';
import type { Tensor } from '../tensor.ts';
import { add, div, mul, neg, sub } from './arithmetic.ts';
import { cast, sum } from './broadcast.ts';
import { eq, where } from './comparison.ts';
import { compositeVjp } from './composite.ts';
import { embedding, oneHot } from './gather.ts';
import { checkLabels } from './known-range.ts';
import { permute } from './movement.ts';
import { reshape, squeeze, unsqueeze } from './reshape.ts';
import { slice } from './slice.ts';
import { logSoftmax, softmax } from './softmax.ts';

/** logits [rows, classes], labels i32 [rows], weight f32 [classes]. */
type Inputs = { logits: Tensor; labels: Tensor; weight?: Tensor };
/** loss f32 [rows], stats f32 [rows, 3], see the kernel. */
type Outputs = { loss: Tensor; stats: Tensor };

const lossOp: Op<Inputs, Outputs, CrossEntropyAttrs> = defineOp<Inputs, Outputs, CrossEntropyAttrs>({
  name: 'crossEntropy',
  infer: ({ logits: { shape } }) => ({
    loss: { shape: [shape[0]!], dtype: 'f32' },
    stats: { shape: [shape[0]!, 3], dtype: 'f32' },
  }),
  lower({ emit, source, contiguous }, { logits, labels, weight }, outputs, attrs) {
    const operands = { logits: source('logits'), labels: contiguous(labels), weight: spread(weight, logits) };
    emit(lossKernel, { ...operands, ...outputs }, attrs);
  },
  axes: () => ({ of: { logits: 'rC', labels: 'r', weight: 'C', loss: 'r', stats: 'rS' } }),
  saves: { inputs: ['logits', 'labels', 'weight'], outputs: ['stats'] },
  vjp({ g, input, output, attrs }) {
    const inputs = { logits: input('logits'), labels: input('labels'), weight: input('weight') };
    return { logits: apply(lossBackwardOp, { ...inputs, stats: output('stats'), g }, attrs).dx };
  },
});

type BackwardInputs = Inputs & { stats: Tensor; g: Tensor };

const lossBackwardOp = defineOp<BackwardInputs, { dx: Tensor }, CrossEntropyAttrs>({
  name: 'crossEntropyBackward',
  infer: ({ logits: { shape, dtype } }) => ({ dx: { shape, dtype } }),
  lower({ emit, source, sink, contiguous }, { logits, labels, weight, stats, g }, _, attrs) {
    const operands = { logits: source('logits'), labels: contiguous(labels), weight: spread(weight, logits) };
    emit(crossEntropyBackward, { ...operands, stats, g, y: sink() }, attrs);
  },
  fuses: { epilogue: true },
  axes: () => ({ of: { logits: 'rC', labels: 'r', weight: 'C', stats: 'rS', g: 'r', dx: 'rC' } }),
  saves: { inputs: ['logits', 'labels', 'weight', 'stats', 'g'] },
  vjp: compositeVjp(({ logits, labels, weight, g }, { ignoreIndex, smoothing }) => {
    const classes = logits.shape[1]!;
    const ignored = eq(labels, ignoreIndex);
    const safe = where(ignored, 0, labels);
    const prob = softmax(logits, 1);
    const w = weight ? embedding(reshape(weight, [classes, 1]), safe) : undefined;
    const hard = sub(prob, oneHot(safe, classes));
    const soft = weight ? sub(mul(prob, sum(weight)), weight) : sub(mul(prob, classes), 1);
    const direction = add(mul(w ? mul(hard, w) : hard, 1 - smoothing), mul(soft, smoothing / classes));
    return { dx: cast(mul(direction, unsqueeze(where(ignored, 0, g), 1)), logits.dtype) };
  }),
});

/** The class weights [classes], broadcast to the shape of the logits. */
const spread = (weight: Tensor | undefined, logits: Tensor) => weight && sourceOf(weight, logits.shape);

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
 * Computes the cross-entropy of logits [N, C] or [N, C, ...] (torch.nn.functional.cross_entropy). Targets are
 * class numbers [N] or [N, ...], or probabilities in the shape of the logits.
 *
 * @example
 * crossEntropy(tensor([[2, 0]]), tensor([0], { dtype: 'i32' })); // 0.1269
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
      `crossEntropy: logits ${show(logits.shape)} need class numbers of shape ${show(expected)} ` +
        `or probabilities of their own shape, got ${show(target.shape)}`,
    );
  }
  const labels = checkLabels('crossEntropy', target, classes, ignoreIndex);
  const rows = logits.ndim > 2 ? permute(logits, [0, ...logits.shape.slice(2).map((_, i) => i + 2), 1]) : logits;
  const inputs = {
    logits: reshape(rows, [-1, classes]),
    labels: reshape(labels, [-1]),
    weight: weight && cast(weight, 'f32'),
  };
  const { loss, stats } = apply(lossOp, inputs, { ignoreIndex, smoothing: labelSmoothing });
  if (reduction === 'none') return reshape(loss, expected);
  const total = sum(loss);
  return reduction === 'sum' ? total : div(total, sum(squeeze(slice(stats.detach(), null, [2, 3]), 1)));
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
