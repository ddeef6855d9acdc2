import type { Tensor } from '../autograd/index.ts';
import type { DecoderInputs } from './inputs.ts';
import type { Linear } from './nn/linear.ts';
import { linearNextTokenLoss, nextTokenLoss } from './nn/token-loss.ts';
import { internalsOf } from './outputs.ts';
import type { EncoderOutput, HeadOutput } from './outputs.ts';

/** What a model takes that predicts the next token. */
export interface CausalLMInputs extends DecoderInputs {
  /**
   * Token numbers [B, T], -100 where a token does not count: most often inputIds themselves. The model shifts
   * them.
   */
  readonly labels?: Tensor;
  /** false: the loss alone, for training. The logits, B x T x V numbers, are then not kept. Default true. */
  readonly outputLogits?: boolean;
}

/**
 * Logits (B, T, V) of what a decoder made of the tokens, and with labels the mean cross-entropy of each token
 * with the one after it.
 */
export function predictNext(
  output: EncoderOutput,
  head: Linear,
  { labels, outputLogits = true }: Pick<CausalLMInputs, 'labels' | 'outputLogits'>,
): Partial<HeadOutput> {
  const hidden = output.lastHiddenState; // (B, T, D)
  if (!outputLogits) return { loss: linearNextTokenLoss(hidden, head.weight, labels!), ...internalsOf(output) };
  const logits = head.forward(hidden); // (B, T, V)
  return { logits, ...(labels ? { loss: nextTokenLoss(logits, labels) } : {}), ...internalsOf(output) };
}

/** Throws, before anything is computed, where neither logits nor a loss are asked for. */
export function checkCausalLMInputs({ labels, outputLogits = true }: CausalLMInputs): void {
  if (!labels && !outputLogits)
    throw new Error('without logits there is only a loss, and it needs labels; give labels');
}
