import { add, logSigmoid, mean, mul, neg, pow, reshape, slice, sub } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { rowLimits } from '../../models/index.ts';
import type { SequenceClassificationModel } from '../../models/index.ts';
import type { TokenRow } from '../../models/pipelines/rows.ts';
import { endlessBatches } from '../data/batches.ts';
import type { BatchOptions } from '../data/batches.ts';
import { paddedArrays, tokensOf } from '../data/tokenised.ts';
import { rewardMetrics } from './preference-losses.ts';
import type { Pair } from './preference-losses.ts';
import type { DeviceBatch, TrainingTask } from './task.ts';

/** A better and a worse text, as a reward model reads them. */
export interface RewardPair {
  readonly chosen: TokenRow;
  readonly rejected: TokenRow;
  /** By how much the better one is better; default 0. */
  readonly margin?: number;
}

export interface RewardLossOptions {
  /** Weight of the squared sum of a pair's rewards, which keeps them around 0; default 0, TRL's None. */
  readonly centerRewardsCoefficient?: number;
}

export interface RewardOptions extends BatchOptions, RewardLossOptions {
  /** Gives a text one number. */
  readonly model: SequenceClassificationModel;
  readonly pairs: readonly RewardPair[];
  readonly padTokenId: number;
}

/**
 * Parts of the loss of a pair's rewards, [P] each, as TRL's RewardTrainer has them: `preference`, the mean of
 * -ln σ(chosen - rejected - margin), the chance of Bradley and Terry 1952 that the better one wins, with the
 * margins [P] of Touvron et al. 2023; with a coefficient `centre`, it times the mean of (chosen + rejected)²
 * (Eisenstein et al. 2023).
 */
export function rewardLoss(
  { chosen, rejected }: Pair,
  { margins, centerRewardsCoefficient = 0 }: RewardLossOptions & { readonly margins?: Tensor } = {},
): Readonly<Record<string, Tensor>> {
  const ahead = sub(chosen, rejected);
  return {
    preference: neg(mean(logSigmoid(margins ? sub(ahead, margins) : ahead))),
    ...(centerRewardsCoefficient > 0
      ? { centre: mul(mean(pow(add(chosen, rejected), 2)), centerRewardsCoefficient) }
      : {}),
  };
}

/**
 * Learns to give better texts higher rewards; see `rewardLoss`. The margin of rewards, how often the better
 * text is ahead (`accuracy`), and the mean reward are recorded.
 *
 * Arrays: inputIds and attentionMask [2 P, T], of models that tell types apart tokenTypeIds, too, the chosen
 * above the rejected; where a pair has a margin, margins [P].
 */
export function rewardPairs(options: RewardOptions): TrainingTask {
  const { model, pairs, padTokenId, batchSize, seed, centerRewardsCoefficient = 0 } = options;
  const hasMargins = pairs.some(({ margin }) => margin !== undefined);
  const longest = pairs.map(({ chosen, rejected }) => Math.max(chosen.inputIds.length, rejected.inputIds.length));
  const { batchesPerEpoch, indices } = endlessBatches(longest, { batchSize, seed });
  const measures = ['margin', 'accuracy', 'reward'];
  const parts = ['preference', ...(centerRewardsCoefficient > 0 ? ['centre'] : []), ...measures];
  return {
    name: 'rewards',
    lossLabel: 'Bradley-Terry loss, nats',
    measures,
    batchesPerEpoch,
    examples: { labels: Object.fromEntries(parts.map((name) => [name, 'inputIds'])), sets: 2 },
    batch(index) {
      const members = indices(index).map((i) => pairs[i]!);
      const rows = [...members.map(({ chosen }) => chosen), ...members.map(({ rejected }) => rejected)];
      const count = members.length;
      const margins = { data: Float32Array.from(members, ({ margin = 0 }) => margin), shape: [count] };
      return {
        arrays: { ...paddedArrays(rows, padTokenId, rowLimits(model)), ...(hasMargins ? { margins } : {}) },
        counts: Object.fromEntries(parts.map((name) => [name, count])),
        tokens: tokensOf(rows),
      };
    },
    losses({ inputIds, attentionMask, tokenTypeIds, margins }: DeviceBatch) {
      const { logits } = model.forward({ inputIds: inputIds!, attentionMask, tokenTypeIds }); // (2 P, 1)
      const rewards = reshape(logits, [-1]);
      const half = rewards.shape[0]! / 2;
      const pair = { chosen: slice(rewards, [0, half]), rejected: slice(rewards, [half]) };
      const settled = { chosen: pair.chosen.detach(), rejected: pair.rejected.detach() };
      return {
        ...rewardLoss(pair, { margins, centerRewardsCoefficient }),
        ...rewardMetrics(settled),
        reward: mean(rewards.detach()),
      };
    },
  };
}
