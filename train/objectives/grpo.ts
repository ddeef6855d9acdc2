import { clamp, div, exp, minimum, mul, neg, slice, sub, sum, unsqueeze } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { nextTokenLogProbs } from '../../models/nn/token-loss.ts';
import { mean, sampleDeviation } from '../../common/statistics.ts';

export const grpoLossTypes = ['dapo', 'grpo', 'dr_grpo'] as const;
export type GrpoLossType = (typeof grpoLossTypes)[number];

export interface GrpoOptions {
  /**
   * What the loss is a mean over: 'dapo' (Yu et al. 2025), all tokens of the batch; 'grpo' (Shao et al.
   * 2024), the tokens of each text, then the texts; 'dr_grpo' (Liu et al. 2025), all tokens that there could
   * be, so that long texts count no less.
   */
  readonly lossType: GrpoLossType;
  /** How far probabilities may move from those that the texts were drawn with, down and up. */
  readonly epsilon: number;
  readonly epsilonHigh?: number;
  /** Weight of the divergence from a reference; 0 for none. */
  readonly beta: number;
  /** 'sequence' clips the ratio of whole texts, by their geometric mean (Zheng et al. 2025, GSPO). */
  readonly importanceSamplingLevel?: 'token' | 'sequence';
  /** The most tokens that a text may have, for 'dr_grpo'. */
  readonly maxCompletionLength: number;
}

/** Log-probabilities of the tokens of drawn texts, all [B, T]. */
export interface GrpoBatch {
  readonly logps: Tensor;
  /** Of the model that drew them; without it, of the model as it is. */
  readonly oldLogps?: Tensor;
  /** Of the reference; wanted where beta is above 0. */
  readonly refLogps?: Tensor;
  /** How much better each text is than its group's, [B]. */
  readonly advantages: Tensor;
  /** 1 for tokens of the text, 0 behind its end. */
  readonly mask: Tensor;
}

/**
 * The loss of Group Relative Policy Optimization (Shao et al. 2024, DeepSeekMath) and its kin, as TRL 1.16
 * computes it: tokens of texts with an advantage become more probable, and the ratio to what they were drawn
 * with is clipped. Parts, each a scalar: `policy`, and with `beta` the weighed divergence `kl` (the estimator
 * r - ln r - 1, r = reference / model).
 */
export function grpoLosses(
  { logps, oldLogps = logps.detach(), refLogps, advantages, mask }: GrpoBatch,
  options: GrpoOptions,
): { readonly policy: Tensor; readonly kl?: Tensor } {
  const { lossType, epsilon, epsilonHigh = epsilon, beta, importanceSamplingLevel = 'token' } = options;
  const average = (x: Tensor): Tensor => meanOver(mul(x, mask), mask, lossType, options.maxCompletionLength);
  const perToken = sub(logps, oldLogps); // (B, T)
  const logRatio =
    importanceSamplingLevel === 'token'
      ? perToken
      : div(sum(mul(perToken, mask), [1], { keepDims: true }), clamp(sum(mask, [1], { keepDims: true }), 1));
  const ratio = exp(logRatio); // (B, T) or (B, 1)
  const clipped = clamp(ratio, 1 - epsilon, 1 + epsilonHigh);
  const gain = unsqueeze(advantages, 1); // (B, 1)
  const policy = average(neg(minimum(mul(ratio, gain), mul(clipped, gain))));
  if (beta === 0) return { policy };
  if (!refLogps) throw new Error(`grpo: beta is ${beta}, and there are no log-probabilities of a reference`);
  const away = sub(refLogps, logps);
  return { policy, kl: mul(average(sub(sub(exp(away), away), 1)), beta) };
}

/** x (B, T), masked, as a scalar. */
function meanOver(x: Tensor, mask: Tensor, lossType: GrpoLossType, length: number): Tensor {
  const batch = x.shape[0]!;
  if (lossType === 'dr_grpo') return div(sum(x), batch * length);
  if (lossType === 'dapo') return div(sum(x), clamp(sum(mask), 1));
  return div(sum(div(sum(x, [1]), clamp(sum(mask, [1]), 1))), batch);
}

export const rewardScales = ['group', 'batch', 'none'] as const;
export type RewardScale = (typeof rewardScales)[number];

/**
 * How much better each text is than the mean of its group, `size` texts of one prompt one after another; in
 * units of the deviation in the group or in all texts, unless `scale` is 'none' (Liu et al. 2025). In a group
 * of equals nobody is better.
 */
export function groupAdvantages(rewards: readonly number[], size: number, scale: RewardScale): Float32Array {
  const advantages = new Float32Array(rewards.length);
  const deviation = (values: readonly number[]): number => (values.length < 2 ? 0 : sampleDeviation(values));
  const everywhere = deviation(rewards);
  for (let start = 0; start < rewards.length; start += size) {
    const group = rewards.slice(start, start + size);
    const middle = mean(group);
    const unit = scale === 'none' ? 1 : (scale === 'group' ? deviation(group) : everywhere) + 1e-4;
    group.forEach((reward, i) => (advantages[start + i] = (reward - middle) / unit));
  }
  return advantages;
}

/**
 * Log-probabilities of the tokens of rows, given those before them: logits (B, T, V), inputIds [B, T] -> (B,
 * T - 1). `temperature` divides the logits, as it did when the tokens were drawn.
 */
export function tokenLogProbs(logits: Tensor, inputIds: Tensor, temperature = 1): Tensor {
  const scaled = temperature === 1 ? logits : div(logits, temperature);
  return slice(nextTokenLogProbs(scaled, inputIds), null, [0, inputIds.shape[1]! - 1]);
}
