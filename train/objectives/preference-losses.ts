import {
  add,
  cast,
  clamp,
  div,
  exp,
  expm1,
  gt,
  log,
  log1p,
  logSigmoid,
  lt,
  mean,
  mul,
  neg,
  pow,
  sigmoid,
  sub,
  where,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';

export const preferenceLossNames = ['dpo', 'cdpo', 'ipo', 'simpo', 'orpo', 'kto'] as const;
export type PreferenceLossName = (typeof preferenceLossNames)[number];

/** What a loss is computed from; chosen and rejected answers, [P] each. */
export interface Pair {
  readonly chosen: Tensor;
  readonly rejected: Tensor;
}

export interface PreferenceLossOptions {
  readonly loss: PreferenceLossName;
  /**
   * How far the model may go from its reference, or for simpo and orpo the weight of the preference; default
   * 0.1.
   */
  readonly beta?: number;
  /** cdpo: probability that a preference is the wrong way round; default 0.1. */
  readonly labelSmoothing?: number;
  /** simpo: the margin of rewards that is asked for; default 0.5. */
  readonly gamma?: number;
}

export interface PreferenceInputs {
  /** ln p of the answers: sums over their tokens. */
  readonly policy: Pair;
  /** The same of the model that training began with; not for simpo and orpo. */
  readonly reference?: Pair;
  /** Tokens of the answers, f32. */
  readonly lengths: Pair;
  /** kto: the divergence from the reference, a scalar of 0 or more without a gradient. */
  readonly divergence?: Tensor;
}

export interface PreferenceLoss {
  /** [P]; of kto the mean over chosen and rejected. */
  readonly losses: Tensor;
  /** Rewards that the loss compares, [P] each, without a gradient. */
  readonly rewards: Pair;
}

/** Losses that compare the model with the one that it began as. */
export const needsReference = (loss: PreferenceLossName): boolean => loss !== 'simpo' && loss !== 'orpo';

/**
 * The loss of each pair of a chosen and a rejected answer, as TRL computes them. With Δ the difference of the
 * rewards' logarithms:
 *
 * dpo -ln σ(β Δ) (Rafailov et al. 2023); cdpo the same with labels that are wrong now and then (Mitchell
 * 2023); ipo (Δ - 1 / 2β)² of means over tokens (Azar et al. 2024); simpo -ln σ(β Δ - γ) of means over
 * tokens, no reference (Meng et al. 2024); orpo -β ln σ(ln odds ratio), to which the cross-entropy of the
 * chosen answer comes (Hong et al. 2024); kto each answer by itself against the divergence (Ethayarajh et al.
 * 2024).
 */
export function preferenceLoss(inputs: PreferenceInputs, options: PreferenceLossOptions): PreferenceLoss {
  const { loss, beta = 0.1, labelSmoothing = 0.1, gamma = 0.5 } = options;
  const { policy, reference, lengths, divergence } = inputs;
  const both = (of: (x: Tensor, name: 'chosen' | 'rejected') => Tensor): Pair => ({
    chosen: of(policy.chosen, 'chosen'),
    rejected: of(policy.rejected, 'rejected'),
  });
  if (needsReference(loss) && !reference)
    throw new Error(`preferenceLoss: ${loss} compares with the model that training began with; give reference`);
  const means = both((x, name) => div(x, lengths[name]));
  const ratios = reference ? both((x, name) => sub(x, reference[name])) : means;
  const rewards = both((_, name) => mul(ratios[name], beta).detach());
  const delta = ({ chosen, rejected }: Pair): Tensor => sub(chosen, rejected);
  const losses = (): Tensor => {
    switch (loss) {
      case 'dpo':
        return neg(logSigmoid(mul(delta(ratios), beta)));
      case 'cdpo': {
        const scores = mul(delta(ratios), beta);
        const right = mul(logSigmoid(scores), 1 - labelSmoothing);
        return neg(add(right, mul(logSigmoid(neg(scores)), labelSmoothing)));
      }
      case 'ipo':
        return pow(sub(delta(both((_, name) => div(ratios[name], lengths[name]))), 1 / (2 * beta)), 2);
      case 'simpo':
        return neg(logSigmoid(sub(mul(delta(means), beta), gamma)));
      case 'orpo': {
        const odds = both((_, name) => sub(means[name], log1mexp(means[name])));
        return mul(logSigmoid(delta(odds)), -beta);
      }
      case 'kto': {
        if (!divergence) throw new Error('preferenceLoss: kto needs the divergence from the reference');
        const good = sigmoid(mul(sub(ratios.chosen, divergence), beta));
        const bad = sigmoid(mul(sub(divergence, ratios.rejected), beta));
        return sub(1, mul(add(good, bad), 0.5));
      }
    }
  };
  return { losses: losses(), rewards };
}

/** kto's divergence from ln p of answers to other questions, [N] each: their mean ratio, 0 or more. */
export const divergenceOf = (policy: Tensor, reference: Tensor): Tensor =>
  clamp(mean(sub(policy, reference)), 0, Infinity).detach();

/** ln(1 - e^x) for x < 0 without cancellation (Mächler 2012). */
function log1mexp(x: Tensor): Tensor {
  const isSmall = lt(x, -Math.LN2);
  // The branch that is not taken gets a value that does it no harm.
  const small = log1p(neg(exp(where(isSmall, x, -1))));
  const large = log(neg(expm1(where(isSmall, -0.5, x))));
  return where(isSmall, small, large);
}

/** How far rewards lie apart, and how often the chosen answer has the higher one. */
export const rewardMetrics = ({ chosen, rejected }: Pair): Readonly<Record<'margin' | 'accuracy', Tensor>> => ({
  margin: mean(sub(chosen, rejected)),
  accuracy: mean(cast(gt(chosen, rejected), 'f32')),
});
