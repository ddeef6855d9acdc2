import { eq, pad, slice, where } from '../autograd/index.ts';
import type { Tensor } from '../autograd/index.ts';
import { showShape } from './names.ts';
import { ignoredLabel } from './nn/token-loss.ts';
import type { EncoderOutput } from './outputs.ts';

/** What an encoder-decoder model takes. */
export interface Seq2SeqInputs {
  /** Tokens of the source [B, S], for the encoder; or encoderOutputs. */
  readonly inputIds?: Tensor;
  /**
   * 1 (or true) for tokens of the source to attend to, 0 for padding, [B, S]: for the encoder, and for the
   * decoder's attention to it. Default: all.
   */
  readonly attentionMask?: Tensor;
  /** What the encoder made of the source before: it does not run again. */
  readonly encoderOutputs?: Pick<EncoderOutput, 'lastHiddenState'>;
  /**
   * Tokens of the target [B, T], for the decoder, beginning with the config's decoderStartTokenId. Default:
   * made of the labels.
   */
  readonly decoderInputIds?: Tensor;
  /** Which tokens of the target to attend to, [B, T]. Default: all; no token sees those after it. */
  readonly decoderAttentionMask?: Tensor;
  /** [T] or [B, T]. Default: 0, 1, ... */
  readonly decoderPositionIds?: Tensor;
  /** Return what each layer computed. */
  readonly outputHiddenStates?: boolean;
  /** Return the attention weights of each layer. */
  readonly outputAttentions?: boolean;
}

export interface Seq2SeqLMInputs extends Seq2SeqInputs {
  /** The target [B, T], -100 where a token does not count. */
  readonly labels?: Tensor;
  /**
   * Share of each label spread evenly over the vocabulary; 0.1 in Vaswani et al. 2017, section 5.4. Default
   * 0.
   */
  readonly labelSmoothing?: number;
  /** false: the loss alone, for training. The logits, B x T x V numbers, are then not kept. Default true. */
  readonly outputLogits?: boolean;
}

/**
 * Labels [B, T] as the decoder's input: `start`, then all but the last label, with `padding` for those that
 * do not count.
 */
export function shiftRight(labels: Tensor, { start, padding }: { start: number; padding: number }): Tensor {
  if (labels.ndim !== 2 || labels.size === 0)
    throw new Error(`labels are ${showShape(labels.shape)}; they must be [batch, tokens] and not empty`);
  const shifted = pad(slice(labels, null, [0, -1]), [[1, 0]], start); // (B, T)
  return where(eq(shifted, ignoredLabel), padding, shifted);
}
