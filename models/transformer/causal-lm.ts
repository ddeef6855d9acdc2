import { div, mul, tanh } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { ModelConfig } from '../config.ts';
import type { Decoder, SpecialTokens } from '../generation/decoder.ts';
import type { Module } from '../module.ts';
import type { Embedding } from '../nn/embedding.ts';
import { isPlainLinear, Linear } from '../nn/linear.ts';
import { linearNextTokenLogProbs, linearNextTokenLoss, nextTokenLogProbs, nextTokenLoss } from '../nn/token-loss.ts';
import { normalInit } from '../parameter.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { checkLossInputs } from './inputs.ts';
import type { DecoderInputs } from './inputs.ts';
import { internalsOf } from './outputs.ts';
import type { EncoderOutput, HeadOutput, Internals } from './outputs.ts';

/** The inputs of a model that predicts the next token. */
export interface CausalLMInputs extends DecoderInputs {
  /**
   * Token numbers [B, T], -100 where a token does not count: most often inputIds themselves. The model shifts
   * them.
   */
  readonly labels?: Tensor;
  /** false: the loss alone, for training. The logits, B x T x V numbers, are then not kept. Default true. */
  readonly outputLogits?: boolean;
}

/** The settings that the head depends on. */
interface HeadConfig {
  /** The head's weight is the table of token embeddings. */
  readonly tieWordEmbeddings: boolean;
  readonly initializerRange: number;
}

export type CausalLMConfig = ModelConfig & SpecialTokens & { readonly vocabSize: number };

/** A head that scores all tokens: hidden (..., D) -> logits (..., V). No bias. */
export function lmHead({ tieWordEmbeddings, initializerRange }: HeadConfig, { weight }: Embedding): Linear {
  const [count, dim] = weight.shape as [number, number];
  const own = tieWordEmbeddings ? { weight } : { weightInit: normalInit(initializerRange) };
  return new Linear(dim, count, { bias: false, ...own });
}

/**
 * A decoder with the head it was trained with: predicts the next token. A family's class has the decoder and
 * the head in fields named as in its files, and gives `decoderModel` and `positions`.
 */
export abstract class CausalLM<C extends CausalLMConfig = CausalLMConfig> extends PreTrainedModel<C> {
  abstract readonly lmHead: Linear;

  /** Tokens to one vector for each. */
  protected abstract get decoderModel(): Module & { forward(inputs: DecoderInputs): EncoderOutput };

  /** How many tokens the model has positions for. */
  protected abstract get positions(): number;

  /** See `Decoder`. */
  protected get switchAt(): number | undefined {
    return undefined;
  }

  /** Logits x become softCap * tanh(x / softCap); undefined: they stay as they are. */
  protected get softCap(): number | undefined {
    return undefined;
  }

  /** Hidden states (..., D) -> logits (..., V). */
  #logits(hidden: Tensor): Tensor {
    const { softCap } = this;
    const logits = this.lmHead.forward(hidden);
    return softCap === undefined ? logits : mul(tanh(div(logits, softCap)), softCap);
  }

  /** Logits (B, T, V), and with labels the mean cross-entropy of each token with the one after it. */
  override forward(
    inputs: CausalLMInputs & { readonly labels: Tensor; readonly outputLogits: false },
  ): Internals & { readonly loss: Tensor };
  override forward(
    inputs: CausalLMInputs & { readonly labels: Tensor; readonly outputLogits?: true },
  ): HeadOutput & { readonly loss: Tensor };
  override forward(inputs: CausalLMInputs & { readonly outputLogits?: true }): HeadOutput;
  override forward({ labels, outputLogits = true, ...inputs }: CausalLMInputs): Partial<HeadOutput> {
    checkLossInputs(labels, outputLogits);
    const output = this.decoderModel.forward(inputs);
    const hidden = output.lastHiddenState; // (B, T, D)
    const internals = internalsOf(output);
    if (!outputLogits && isPlainLinear(this.lmHead))
      return { loss: linearNextTokenLoss(hidden, this.lmHead.weight, labels!, this.softCap), ...internals };
    const logits = this.#logits(hidden); // (B, T, V)
    return {
      ...(outputLogits ? { logits } : {}),
      ...(labels ? { loss: nextTokenLoss(logits, labels) } : {}),
      ...internals,
    };
  }

  /** ln p of the token that follows each one, (B, T), for labels as of `forward`; 0 where there is none. */
  nextTokenLogProbs({ labels, ...inputs }: DecoderInputs & { readonly labels: Tensor }): Tensor {
    const hidden = this.decoderModel.forward(inputs).lastHiddenState; // (B, T, D)
    if (isPlainLinear(this.lmHead)) return linearNextTokenLogProbs(hidden, this.lmHead.weight, labels, this.softCap);
    return nextTokenLogProbs(this.#logits(hidden), labels);
  }

  /** The vectors that the head takes, of tokens [B, T]: (B, T, D). */
  lastHiddenState(inputIds: Tensor): Tensor {
    return this.decoderModel.forward({ inputIds }).lastHiddenState;
  }

  /** The model as `generate` uses it. */
  decoder(): Decoder {
    return {
      vocabSize: this.config.vocabSize,
      positions: this.positions,
      ...(this.switchAt === undefined ? {} : { switchAt: this.switchAt }),
      hidden: (inputIds, cache) => this.decoderModel.forward({ inputIds, cache }).lastHiddenState,
      logits: (hidden) => this.#logits(hidden),
    };
  }
}
