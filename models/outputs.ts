import type { Tensor } from '../autograd/index.ts';

/** The layers' outputs and attention weights, where they were asked for. */
export interface Internals {
  /** The embeddings and the output of each layer, (B, T, D) each. */
  readonly hiddenStates?: readonly Tensor[];
  /** The attention weights of each layer, (B, H, T, T) each. */
  readonly attentions?: readonly Tensor[];
}

/** What a Transformer without a head returns. */
export interface EncoderOutput extends Internals {
  /** (B, T, D). */
  readonly lastHiddenState: Tensor;
}

/** What a head returns; the loss where labels were given. */
export interface HeadOutput extends Internals {
  readonly logits: Tensor;
  readonly loss?: Tensor;
}

export function internalsOf({ hiddenStates, attentions }: Internals): Internals {
  return { ...(hiddenStates ? { hiddenStates } : {}), ...(attentions ? { attentions } : {}) };
}
