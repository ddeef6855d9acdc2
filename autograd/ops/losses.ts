import * as e from '../../kernels/map/expr.ts';
import type { Expr } from '../../kernels/map/expr.ts';
import { broadcastShapes, checkChoice, normaliseAxis, requireFloat, sameShape, show } from '../shapes.ts';
import { ShapeError } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { isFloat } from '../tensor.ts';
import { div, mul, sqrt } from './arithmetic.ts';
import { cast, expand, sum } from './broadcast.ts';
import { maximum } from './comparison.ts';
import { reductions } from './cross-entropy.ts';
import type { Reduction } from './cross-entropy.ts';
import { checkLabels } from './known-range.ts';
import { embedding, gather } from './gather.ts';
import { applyMap, mapFunction } from './map-op.ts';
import { mean } from './reduce.ts';
import { reshape, squeeze, unsqueeze } from './reshape.ts';
import { logSoftmax } from './softmax.ts';

export interface LossOptions {
  /** Returns the mean of the losses (default), their sum, or all of them. */
  readonly reduction?: Reduction;
}

function reduced(op: string, loss: Tensor, reduction: Reduction = 'mean'): Tensor {
  checkChoice(op, 'reduction', reduction, reductions);
  if (reduction === 'none') return loss;
  return reduction === 'sum' ? sum(loss) : mean(loss);
}

function sameShapes(op: string, input: Tensor, target: Tensor): void {
  requireFloat(op, input);
  if (!sameShape(input.shape, target.shape)) {
    throw new ShapeError(
      `${op}: input ${show(input.shape)} and target ${show(target.shape)} must have one shape; ` +
        'reshape or expand one of them',
    );
  }
}

/** Defines a loss of two numbers. */
function pairwise(name: string, build: (x: Expr, y: Expr, s: Expr[]) => Expr, scalars = 0) {
  const fn = mapFunction(name, ['v', 'v'], ([x, y], s) => build(x!, y!, s), { float: true, scalars, autocast: 'f32' });
  return (input: Tensor, target: Tensor, options: LossOptions, ...values: number[]): Tensor => {
    sameShapes(name, input, target);
    return reduced(name, applyMap(fn, [input, target], values), options.reduction);
  };
}

const squaredError = pairwise('mse', (x, y) => e.mul(e.sub(x, y), e.sub(x, y)));
const absoluteError = pairwise('l1', (x, y) => e.abs(e.sub(x, y)));
const half = (d: Expr): Expr => e.mul(0.5, e.mul(d, d));
const huberLoss = pairwise(
  'huber',
  (x, y, [delta]) => {
    const size = e.abs(e.sub(x, y));
    return e.select(e.le(size, delta!), half(size), e.mul(delta!, e.sub(size, e.mul(0.5, delta!))));
  },
  1,
);
const smoothLoss = pairwise(
  'smoothL1',
  (x, y, [beta]) => {
    const size = e.abs(e.sub(x, y));
    return e.select(e.lt(size, beta!), e.div(half(size), beta!), e.sub(size, e.mul(0.5, beta!)));
  },
  1,
);

/**
 * Squared error (x - y)^2 of two tensors of one shape (torch mse_loss).
 *
 * @example
 * mse(tensor([1, 2]), tensor([2, 4])); // 2.5
 */
export function mse(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  return squaredError(input, target, options);
}

/**
 * Absolute error |x - y| of two tensors of one shape (torch l1_loss).
 *
 * @example
 * l1(tensor([1, 2]), tensor([2, 4])); // 1.5
 */
export function l1(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  return absoluteError(input, target, options);
}

/**
 * (x - y)^2 / 2 where |x - y| is at most `delta` (default 1), else delta (|x - y| - delta / 2) (Huber 1964;
 * torch huber_loss).
 *
 * @example
 * huber(tensor([0, 3]), tensor([0.5, 0])); // 1.3125
 */
export function huber(
  input: Tensor,
  target: Tensor,
  { delta = 1, ...options }: LossOptions & { readonly delta?: number } = {},
): Tensor {
  if (!(delta > 0)) throw new ShapeError(`huber: delta must be positive, got ${delta}`);
  return huberLoss(input, target, options, delta);
}

/**
 * `huber` with delta = `beta` (default 1), divided by beta: slope 1 for large errors (Girshick 2015; torch
 * smooth_l1_loss). beta 0 is `l1`.
 *
 * @example
 * smoothL1(tensor([0, 3]), tensor([0.5, 0])); // 1.3125
 */
export function smoothL1(
  input: Tensor,
  target: Tensor,
  { beta = 1, ...options }: LossOptions & { readonly beta?: number } = {},
): Tensor {
  if (!(beta >= 0)) throw new ShapeError(`smoothL1: beta must not be negative, got ${beta}`);
  return beta === 0 ? l1(input, target, options) : smoothLoss(input, target, options, beta);
}

// t log t and its derivative are 0 at t = 0 here, where log gives NaN; PyTorch's derivative is NaN.
const divergence = pairwise('klDiv', (x, t) => {
  const positive = e.gt(t, 0);
  const safe = e.select(positive, t, 1);
  return e.sub(e.select(positive, e.mul(safe, e.log(safe)), e.mul(t, 0)), e.mul(t, x));
});
const logDivergence = pairwise('klDiv', (x, t) => e.mul(e.exp(t), e.sub(t, x)));

/**
 * Kullback-Leibler divergence t (log t - x) of log-probabilities x from target probabilities t of the same
 * shape (torch kl_div); with `logTarget` t is given as log-probabilities. 'batchMean' divides by the length
 * of the first axis, which gives the divergence proper; 'mean' by the number of elements.
 *
 * @example
 * klDiv(tensor([0.5, 0.5]).log(), tensor([1, 0]), { reduction: 'sum' }); // 0.6931
 */
export function klDiv(
  input: Tensor,
  target: Tensor,
  {
    logTarget = false,
    reduction = 'mean',
  }: { readonly logTarget?: boolean; readonly reduction?: Reduction | 'batchMean' } = {},
): Tensor {
  checkChoice('klDiv', 'reduction', reduction, [...reductions, 'batchMean']);
  const of = logTarget ? logDivergence : divergence;
  if (reduction !== 'batchMean') return of(input, target, { reduction });
  return div(of(input, target, { reduction: 'sum' }), input.shape[0] ?? 1);
}

const softplusOf = (x: Expr): Expr => e.add(e.max(x, 0), e.log1p(e.exp(e.neg(e.abs(x)))));
/** -w log sigmoid(x) y - log(1 - sigmoid(x)) (1 - y), with softplus(-x) for -log sigmoid(x). */
const binaryCrossEntropy = (x: Expr, y: Expr, w?: Expr): Expr => {
  const positive = w ? e.add(1, e.mul(e.sub(w, 1), y)) : e.constant(1);
  return e.add(e.mul(e.sub(1, y), x), e.mul(positive, softplusOf(e.neg(x))));
};
const bce = mapFunction('bceWithLogits', ['v', 'v'], ([x, y]) => binaryCrossEntropy(x!, y!), {
  float: true,
  autocast: 'f32',
});
const bceWeighted = mapFunction('bceWithLogits', ['v', 'v', 'v'], ([x, y, w]) => binaryCrossEntropy(x!, y!, w), {
  float: true,
  autocast: 'f32',
});

export interface BceOptions extends LossOptions {
  /** Factor of each loss; broadcasts to the input. */
  readonly weight?: Tensor;
  /** Factor of the loss of positive targets, such as one for each class; broadcasts to the input. */
  readonly posWeight?: Tensor;
}

/**
 * Binary cross-entropy of logits with targets in [0, 1] of their shape (torch
 * binary_cross_entropy_with_logits).
 *
 * @example
 * bceWithLogits(tensor([0]), tensor([1])); // 0.6931
 */
export function bceWithLogits(
  input: Tensor,
  target: Tensor,
  { weight, posWeight, reduction }: BceOptions = {},
): Tensor {
  sameShapes('bceWithLogits', input, target);
  const loss = posWeight ? applyMap(bceWeighted, [input, target, posWeight]) : applyMap(bce, [input, target]);
  const weighted = weight ? mul(loss, weight) : loss;
  if (!sameShape(weighted.shape, input.shape)) {
    throw new ShapeError(
      `bceWithLogits: weight and posWeight must broadcast to ${show(input.shape)}, ` +
        `together they give ${show(weighted.shape)}`,
    );
  }
  return reduced('bceWithLogits', weighted, reduction);
}

/** q^gamma with q = 1 - p at least 1e-20, because the derivative of a small power is infinite at 0. */
const focus = (q: Expr, gamma: Expr): Expr => e.pow(e.max(q, 1e-20), gamma);

/** -a (1 - p)^gamma log p for targets of 0 or 1, where sigmoid(z) = 1 - p. */
const focalBinary = mapFunction(
  'focal',
  ['v', 'v'],
  ([x, y], [gamma, positive, negative]) => {
    const z = e.mul(x!, e.sub(1, e.mul(2, y!)));
    const share = e.add(e.mul(positive!, y!), e.mul(negative!, e.sub(1, y!)));
    return e.mul(e.mul(share, focus(e.sigmoid(z), gamma!)), softplusOf(z));
  },
  { float: true, scalars: 3, autocast: 'f32' },
);
const focalOfLog = mapFunction(
  'focal',
  ['v'],
  ([logP], [gamma]) => e.neg(e.mul(focus(e.neg(e.expm1(logP!)), gamma!), logP!)),
  {
    float: true,
    scalars: 1,
    autocast: 'f32',
  },
);

export interface FocalOptions extends LossOptions {
  /**
   * Exponent, default 2: the larger, the less count examples that are classified well; 0 is cross-entropy.
   */
  readonly gamma?: number;
  /**
   * Binary: weight of positives, and 1 - alpha of negatives. Classes: a weight for each, [C]. Default none.
   */
  readonly alpha?: number | Tensor;
}

/**
 * Focal loss -alpha (1 - p)^gamma log p with p the probability of the target (Lin et al. 2017, eq. 5).
 * Binary: logits and float targets of 0 or 1, of one shape. Classes: logits [N, C] with integer class numbers
 * [N]. 'mean' divides by the number of losses, whatever their weights.
 *
 * @example
 * focal(tensor([0]), tensor([1])); // 0.1733
 */
export function focal(logits: Tensor, target: Tensor, { gamma = 2, alpha, reduction }: FocalOptions = {}): Tensor {
  requireFloat('focal', logits);
  if (!(gamma >= 0)) throw new ShapeError(`focal: gamma must not be negative, got ${gamma}`);
  if (isFloat(target.dtype)) return focalOfBinary(logits, target, gamma, alpha, reduction);
  if (logits.ndim !== 2 || !sameShape(target.shape, logits.shape.slice(0, 1))) {
    throw new ShapeError(
      `focal: logits ${show(logits.shape)} and class numbers ${show(target.shape)} must be [N, C] and [N]; ` +
        'binary targets must be floats',
    );
  }
  const classes = logits.shape[1]!;
  const labels = checkLabels('focal', target, classes);
  if (typeof alpha === 'number')
    throw new ShapeError(`focal: alpha of ${classes} classes must be a tensor [${classes}], got the number ${alpha}`);
  if (alpha && !sameShape(alpha.shape, [classes]))
    throw new ShapeError(`focal: alpha ${show(alpha.shape)} must be [${classes}]`);
  const logP = squeeze(gather(logSoftmax(logits, 1), 1, unsqueeze(labels, 1)), 1);
  const loss = applyMap(focalOfLog, [logP], [gamma]);
  const weighted = alpha ? mul(loss, squeeze(embedding(reshape(alpha, [classes, 1]), labels), 1)) : loss;
  return reduced('focal', weighted, reduction);
}

function focalOfBinary(
  logits: Tensor,
  target: Tensor,
  gamma: number,
  alpha: number | Tensor | undefined,
  reduction: Reduction | undefined,
): Tensor {
  sameShapes('focal', logits, target);
  if (typeof alpha === 'object')
    throw new ShapeError(`focal: alpha of a binary loss must be a number, got a tensor ${show(alpha.shape)}`);
  if (alpha !== undefined && !(alpha >= 0 && alpha <= 1))
    throw new ShapeError(`focal: alpha must lie in [0, 1], got ${alpha}`);
  const shares = alpha === undefined ? [1, 1] : [alpha, 1 - alpha];
  return reduced('focal', applyMap(focalBinary, [logits, target], [gamma, ...shares]), reduction);
}

/**
 * Computes sum(a b) / (max(|a|, eps) max(|b|, eps)) along an axis (default 1), which is dropped, with
 * broadcasting (torch cosine_similarity).
 *
 * @example
 * cosineSimilarity(tensor([[1, 0]]), tensor([[1, 1]])); // [0.7071]
 */
export function cosineSimilarity(
  a: Tensor,
  b: Tensor,
  { axis = 1, eps = 1e-8 }: { readonly axis?: number; readonly eps?: number } = {},
): Tensor {
  requireFloat('cosineSimilarity', a);
  requireFloat('cosineSimilarity', b);
  const shape = broadcastShapes('cosineSimilarity', a.shape, b.shape);
  const at = normaliseAxis('cosineSimilarity', axis, shape.length) - shape.length;
  // In f16 squares overflow from 256 on, and eps^2 is 0.
  const [x, y] = [cast(expand(a, shape), 'f32'), cast(expand(b, shape), 'f32')];
  const product = mul(x, y);
  const norm = (v: Tensor): Tensor => sqrt(maximum(sum(mul(v, v), at, { keepDims: true }), eps * eps));
  const unit = div(product, mul(norm(x), norm(y)));
  return cast(sum(unit, at), a.dtype === 'f16' && b.dtype === 'f16' ? 'f16' : 'f32');
}
