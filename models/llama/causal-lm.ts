import type { Tensor } from '../../autograd/index.ts';
import { checkCausalLMInputs, predictNext } from '../causal-lm.ts';
import type { CausalLMInputs } from '../causal-lm.ts';
import type { Decoder } from '../generation/decoder.ts';
import { normalInit } from '../init.ts';
import { Linear } from '../nn/linear.ts';
import type { HeadOutput, Internals } from '../outputs.ts';
import type { LlamaConfig } from './config.ts';
import { LlamaModel, LlamaPreTrainedModel } from './model.ts';

/**
 * Llama as it was trained: predicts the next token. With `config.tieWordEmbeddings` the head's weight is the
 * table of token embeddings.
 */
export class LlamaForCausalLM extends LlamaPreTrainedModel {
  readonly model: LlamaModel;
  readonly lmHead: Linear;

  constructor(config: LlamaConfig) {
    super(config);
    const { hiddenSize, vocabSize, initializerRange, tieWordEmbeddings } = config;
    this.model = new LlamaModel(config);
    this.lmHead = new Linear(hiddenSize, vocabSize, {
      bias: false,
      ...(tieWordEmbeddings ? { weight: this.model.embedTokens.weight } : { weightInit: normalInit(initializerRange) }),
    });
  }

  /** Logits (B, T, V), and with labels the mean cross-entropy of each token with the one after it. */
  override forward(
    inputs: CausalLMInputs & { readonly labels: Tensor; readonly outputLogits: false },
  ): Internals & { readonly loss: Tensor };
  override forward(
    inputs: CausalLMInputs & { readonly labels: Tensor; readonly outputLogits?: true },
  ): HeadOutput & { readonly loss: Tensor };
  override forward(inputs: CausalLMInputs & { readonly outputLogits?: true }): HeadOutput;
  override forward({ labels, outputLogits, ...inputs }: CausalLMInputs): Partial<HeadOutput> {
    checkCausalLMInputs({ labels, outputLogits, ...inputs });
    return predictNext(this.model.forward(inputs), this.lmHead, { labels, outputLogits });
  }

  /** What `generate` asks of a model. */
  decoder(): Decoder {
    const { vocabSize, maxPositionEmbeddings } = this.config;
    return {
      vocabSize,
      positions: maxPositionEmbeddings,
      hidden: (inputIds, cache) => this.model.forward({ inputIds, cache }).lastHiddenState,
      logits: (hidden) => this.lmHead.forward(hidden),
    };
  }
}
