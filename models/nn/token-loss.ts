import { crossEntropy, linearCrossEntropy, neg, pad, reshape, slice } from '../../autograd/index.ts';
import type { LinearCrossEntropyOptions, Tensor } from '../../autograd/index.ts';
import { checkLabels } from '../../autograd/ops/known-range.ts';
import { showShape } from '../names.ts';

/** The label of a token that does not count. */
export const ignoredLabel = -100;

export interface TokenLossOptions {
  /**
   * Share of each label spread evenly over all classes (Szegedy et al. 2016); 0.1 in Vaswani et al. 2017,
   * section 5.4.
   */
  readonly labelSmoothing?: number;
}

/**
 * Cross-entropy of logits (B, T, C) with labels [B, T], over the tokens whose label is not -100.
 *
 * @example
 * tokenLoss(zeros(1, 3, 50), tensor([[2, -100, 3]], { dtype: 'i32' })); // 3.9120
 */
export function tokenLoss(logits: Tensor, labels: Tensor, options: TokenLossOptions = {}): Tensor {
  const [batch, length, classes] = logits.shape as [number, number, number];
  checkOnePerToken(labels, batch, length);
  return crossEntropy(reshape(logits, [batch * length, classes]), reshape(labels, [batch * length]), options);
}

/**
 * As tokenLoss of the logits hidden @ weight^T + bias, which are never in memory: hidden (B, T, D), weight
 * [C, D], bias [C].
 *
 * @example
 * linearTokenLoss(zeros(1, 3, 8), zeros(50, 8), tensor([[2, -100, 3]], { dtype: 'i32' })); // 3.9120
 */
export function linearTokenLoss(
  hidden: Tensor,
  weight: Tensor,
  labels: Tensor,
  options: TokenLossOptions & Pick<LinearCrossEntropyOptions, 'bias' | 'softCap'> = {},
): Tensor {
  checkOnePerToken(labels, hidden.shape[0]!, hidden.shape[1]!);
  return linearCrossEntropy(hidden, weight, labels, options);
}

/**
 * Labels [B, T] moved one place to the left, so that each token's label is the token after it; the last
 * token's is ignored. Shifting the labels and not the logits leaves those whole: no copy of them, and none of
 * their gradient.
 */
function nextTokenLabels(labels: Tensor, classes: number): Tensor {
  checkLabels('nextTokenLoss', labels, classes, ignoredLabel);
  return pad(slice(labels, null, [1]), [[0, 1]], ignoredLabel); // (B, T)
}

/**
 * Mean cross-entropy of logits (B, T, V) with the token that follows, labels [B, T] being the tokens
 * themselves or -100.
 *
 * @example
 * nextTokenLoss(zeros(1, 3, 50), tensor([[2, 7, 3]], { dtype: 'i32' })); // 3.9120
 */
export function nextTokenLoss(logits: Tensor, labels: Tensor): Tensor {
  const [batch, length, classes] = logits.shape as [number, number, number];
  checkOnePerToken(labels, batch, length);
  return tokenLoss(logits, nextTokenLabels(labels, classes));
}

/**
 * As nextTokenLoss of the logits hidden @ weight^T, which are never in memory: hidden (B, T, D), weight [V,
 * D]; `softCap` as of `linearCrossEntropy`.
 *
 * @example
 * linearNextTokenLoss(zeros(1, 3, 8), zeros(50, 8), tensor([[2, 7, 3]], { dtype: 'i32' })); // 3.9120
 */
export function linearNextTokenLoss(hidden: Tensor, weight: Tensor, labels: Tensor, softCap?: number): Tensor {
  checkOnePerToken(labels, hidden.shape[0]!, hidden.shape[1]!);
  return linearTokenLoss(hidden, weight, nextTokenLabels(labels, weight.shape[0]!), { softCap });
}

/**
 * ln p of the token that follows each one, (B, T), by logits (B, T, V), for labels [B, T]; 0 where that label
 * is -100, and of the last.
 */
export function nextTokenLogProbs(logits: Tensor, labels: Tensor): Tensor {
  const [batch, length, classes] = logits.shape as [number, number, number];
  checkOnePerToken(labels, batch, length);
  const next = reshape(nextTokenLabels(labels, classes), [batch * length]);
  const losses = crossEntropy(reshape(logits, [batch * length, classes]), next, { reduction: 'none' });
  return reshape(neg(losses), [batch, length]);
}

/**
 * The same of the logits hidden @ weight^T, which are never in memory as a whole: hidden (B, T, D), weight
 * [V, D].
 */
export function linearNextTokenLogProbs(hidden: Tensor, weight: Tensor, labels: Tensor, softCap?: number): Tensor {
  checkOnePerToken(labels, hidden.shape[0]!, hidden.shape[1]!);
  const next = nextTokenLabels(labels, weight.shape[0]!);
  return neg(linearCrossEntropy(hidden, weight, next, { reduction: 'none', softCap }));
}

/** Throws unless labels are [batch, length]. */
function checkOnePerToken(labels: Tensor, batch: number, length: number): void {
  if (labels.shape.join() === `${batch},${length}`) return;
  throw new Error(`labels are ${showShape(labels.shape)}; one for each token is needed, [${batch}, ${length}]`);
}
