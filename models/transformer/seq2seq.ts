import { add, arange, lt, reshape } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { ModelConfig } from '../config.ts';
import type { Decoder, SpecialTokens } from '../generation/decoder.ts';
import { additiveMask } from '../nn/attend.ts';
import type { KeyValueCache } from '../nn/kv-cache.ts';
import { isPlainLinear } from '../nn/linear.ts';
import type { Linear } from '../nn/linear.ts';
import { linearTokenLoss, tokenLoss } from '../nn/token-loss.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { checkLossInputs, checkShape, shiftRight } from './inputs.ts';
import type { Seq2SeqInputs, Seq2SeqLMInputs, TokenInputs } from './inputs.ts';
import { seq2seqInternals } from './outputs.ts';
import type { DecoderOutput, EncoderOutput, Seq2SeqInternals, Seq2SeqLMOutput, Seq2SeqOutput } from './outputs.ts';

export interface Seq2SeqDecoderInputs extends TokenInputs {
  /** The encoder's output for the source, (B, S, D). */
  readonly encoderHiddenStates: Tensor;
  /** Which of its tokens to attend to, [B, S] or [B, T, S]. Default: all. */
  readonly encoderAttentionMask?: Tensor;
}

/** The two sides of an encoder-decoder. */
export interface Seq2SeqSides {
  readonly encoder: { forward(inputs: TokenInputs): EncoderOutput };
  readonly decoder: {
    forward(inputs: Seq2SeqDecoderInputs): DecoderOutput;
    /**
     * Keys and values of what the encoder made of the source (B, S, D), for every layer: once for all tokens
     * of the target.
     */
    readSource(source: Tensor, cache: KeyValueCache): void;
    /** Tokens (B, T) after those of a cache, which has read the source -> (B, T, D). */
    continueFrom(cache: KeyValueCache, inputIds: Tensor): Tensor;
  };
}

/** Runs the encoder on the source, unless its output is given, and the decoder on the target. */
export function runSeq2Seq({ encoder, decoder }: Seq2SeqSides, inputs: Seq2SeqInputs): Seq2SeqOutput {
  const { inputIds, attentionMask, decoderInputIds, outputHiddenStates, outputAttentions } = inputs;
  if (!decoderInputIds)
    throw new Error('the decoder has no input; give decoderInputIds, or labels to a model with a head');
  if (!inputs.encoderOutputs && !inputIds)
    throw new Error('the decoder has nothing to attend to; give inputIds, or encoderOutputs made before');
  const encoded =
    inputs.encoderOutputs ??
    encoder.forward({ inputIds: inputIds!, attentionMask, outputHiddenStates, outputAttentions });
  const decoded = decoder.forward({
    inputIds: decoderInputIds,
    attentionMask: inputs.decoderAttentionMask,
    positionIds: inputs.decoderPositionIds,
    encoderHiddenStates: encoded.lastHiddenState,
    encoderAttentionMask: attentionMask,
    outputHiddenStates,
    outputAttentions,
  });
  return { lastHiddenState: decoded.lastHiddenState, ...seq2seqInternals(encoded, decoded) };
}

/**
 * The mask added to a decoder's scores of the source, (B, 1, 1 or T, S), for embeddings x (B, T, D). Throws
 * where the encoder's output or its mask do not go with the decoder's input.
 */
export function sourceMaskOf(x: Tensor, inputs: Seq2SeqDecoderInputs): Tensor | undefined {
  const { encoderHiddenStates: source, encoderAttentionMask: mask } = inputs;
  const [batch, length, dim] = x.shape as [number, number, number];
  checkShape('encoderHiddenStates', source, [[batch, source.shape[1] ?? 0, dim]]);
  const sourceLength = source.shape[1]!;
  checkShape('encoderAttentionMask', mask, [
    [batch, sourceLength],
    [batch, length, sourceLength],
  ]);
  return mask && additiveMask(mask, x.dtype);
}

export type Seq2SeqConfig = ModelConfig &
  SpecialTokens & {
    readonly vocabSize: number;
    readonly padTokenId: number;
    /** The id that the decoder's input begins with. */
    readonly decoderStartTokenId: number | null;
  };

/**
 * An encoder-decoder with a head that predicts the target's next token from the source and those before. A
 * family's class has its parts in fields named as in its files.
 */
export abstract class Seq2SeqLM<C extends Seq2SeqConfig = Seq2SeqConfig> extends PreTrainedModel<C> {
  abstract readonly lmHead: Linear;

  protected abstract get sides(): Seq2SeqSides;

  /** How many tokens either side has positions for; Infinity where they are computed. */
  protected abstract get positions(): number;

  /** The decoder's output as the head takes it, (B, T, D). */
  protected abstract run(inputs: Seq2SeqInputs): Seq2SeqOutput;

  /** Added to the logits, (V). */
  protected get logitsBias(): Tensor | undefined {
    return undefined;
  }

  /** What the head takes, of the decoder's output (B, T, D). */
  protected beforeHead(hidden: Tensor): Tensor {
    return hidden;
  }

  /** Labels [B, T] as the decoder's input. */
  protected decoderInputsOf(labels: Tensor): Tensor {
    const { decoderStartTokenId, padTokenId: padding } = this.config;
    return shiftRight(labels, { start: decoderStartTokenId ?? 'last', padding });
  }

  #logits(hidden: Tensor): Tensor {
    const logits = this.lmHead.forward(this.beforeHead(hidden)); // (B, T, V)
    return this.logitsBias ? add(logits, this.logitsBias) : logits;
  }

  /**
   * Logits (B, T, V), and with labels the mean cross-entropy of each target token with what is predicted for
   * it. Without decoderInputIds the decoder reads the labels, moved one place to the right.
   */
  override forward(
    inputs: Seq2SeqLMInputs & { readonly labels: Tensor; readonly outputLogits: false },
  ): Seq2SeqInternals & { readonly loss: Tensor };
  override forward(
    inputs: Seq2SeqLMInputs & { readonly labels: Tensor; readonly outputLogits?: true },
  ): Seq2SeqLMOutput & { readonly loss: Tensor };
  override forward(inputs: Seq2SeqLMInputs & { readonly outputLogits?: true }): Seq2SeqLMOutput;
  override forward({
    labels,
    labelSmoothing,
    outputLogits = true,
    ...inputs
  }: Seq2SeqLMInputs): Seq2SeqInternals & Partial<Seq2SeqLMOutput> {
    checkLossInputs(labels, outputLogits);
    const decoderInputIds = inputs.decoderInputIds ?? (labels && this.decoderInputsOf(labels));
    const { lastHiddenState: hidden, ...internals } = this.run({ ...inputs, decoderInputIds }); // (B, T, D)
    if (!outputLogits && isPlainLinear(this.lmHead)) {
      const options = { bias: this.logitsBias, labelSmoothing };
      return { loss: linearTokenLoss(this.beforeHead(hidden), this.lmHead.weight, labels!, options), ...internals };
    }
    const logits = this.#logits(hidden); // (B, T, V)
    return {
      ...(outputLogits ? { logits } : {}),
      ...(labels ? { loss: tokenLoss(logits, labels, { labelSmoothing }) } : {}),
      ...internals,
    };
  }

  /** The model as `generate` uses it. Prompts are sources, with the token that ends them. */
  decoder(): Decoder {
    const { config, positions } = this;
    const { encoder, decoder } = this.sides;
    return {
      vocabSize: this.lmHead.weight.shape[0]!,
      positions,
      source: {
        vocabSize: config.vocabSize,
        positions,
        start: config.decoderStartTokenId ?? config.bosTokenId ?? config.padTokenId,
        read: (inputIds, lengths, cache) => {
          const [batch, length] = inputIds.shape as [number, number];
          const attentionMask = lt(arange(0, length, 1, { dtype: 'i32' }), reshape(lengths, [batch, 1])); // (B, S)
          cache.source.begin(lengths, length);
          decoder.readSource(encoder.forward({ inputIds, attentionMask }).lastHiddenState, cache);
        },
      },
      hidden: (inputIds, cache) => decoder.continueFrom(cache, inputIds),
      logits: (hidden) => this.#logits(hidden),
    };
  }
}
