import type { Tensor } from '../../autograd/index.ts';

/** The layers' outputs and attention weights, where they were asked for. */
export interface Internals {
  /** The embeddings and the output of each layer, (B, T, D) each. */
  readonly hiddenStates?: readonly Tensor[];
  /** The attention weights of each layer, (B, H, T, T) each. */
  readonly attentions?: readonly Tensor[];
}

/** The output of a Transformer without a head. */
export interface EncoderOutput extends Internals {
  /** (B, T, D). */
  readonly lastHiddenState: Tensor;
}

/** The output of a head; the loss where labels were given. */
export interface HeadOutput extends Internals {
  readonly logits: Tensor;
  readonly loss?: Tensor;
}

export function internalsOf({ hiddenStates, attentions }: Internals): Internals {
  return { ...(hiddenStates ? { hiddenStates } : {}), ...(attentions ? { attentions } : {}) };
}

/** The output of a decoder that attends to an encoder's output. */
export interface DecoderOutput extends EncoderOutput {
  /** The weights of each layer's attention to the encoder's output, (B, H, T, S) each. */
  readonly crossAttentions?: readonly Tensor[];
}

/** Computed by an encoder and a decoder beside the result; names are those of Transformers. */
export interface Seq2SeqInternals {
  /** (B, S, D): given back as `encoderOutputs`, it need not be computed again. */
  readonly encoderLastHiddenState: Tensor;
  readonly encoderHiddenStates?: readonly Tensor[];
  readonly encoderAttentions?: readonly Tensor[];
  readonly decoderHiddenStates?: readonly Tensor[];
  readonly decoderAttentions?: readonly Tensor[];
  readonly crossAttentions?: readonly Tensor[];
}

export interface Seq2SeqOutput extends Seq2SeqInternals {
  /** Of the decoder, (B, T, D). */
  readonly lastHiddenState: Tensor;
}

export interface Seq2SeqLMOutput extends Seq2SeqInternals {
  /** (B, T, V). */
  readonly logits: Tensor;
  readonly loss?: Tensor;
}

/** Joins what the two sides computed. */
export function seq2seqInternals(encoder: EncoderOutput, decoder: DecoderOutput): Seq2SeqInternals {
  return {
    encoderLastHiddenState: encoder.lastHiddenState,
    ...(encoder.hiddenStates ? { encoderHiddenStates: encoder.hiddenStates } : {}),
    ...(encoder.attentions ? { encoderAttentions: encoder.attentions } : {}),
    ...(decoder.hiddenStates ? { decoderHiddenStates: decoder.hiddenStates } : {}),
    ...(decoder.attentions ? { decoderAttentions: decoder.attentions } : {}),
    ...(decoder.crossAttentions ? { crossAttentions: decoder.crossAttentions } : {}),
  };
}
