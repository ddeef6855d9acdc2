import type { Tensor } from '../../autograd/index.ts';
import { normalInit } from '../init.ts';
import { checkCausalLMInputs, predictNext } from '../causal-lm.ts';
import type { CausalLMInputs } from '../causal-lm.ts';
import type { Decoder } from '../generation/decoder.ts';
import { Linear } from '../nn/linear.ts';
import type { HeadOutput, Internals } from '../outputs.ts';
import type { GPT2Config } from './config.ts';
import { GPT2Model, GPT2PreTrainedModel } from './model.ts';

/**
 * GPT-2 as it was trained: predicts the next token. The head's weight is the table of token embeddings,
 * unless `config.tieWordEmbeddings` is false.
 */
export class GPT2LMHeadModel extends GPT2PreTrainedModel {
  readonly transformer: GPT2Model;
  readonly lmHead: Linear;

  constructor(config: GPT2Config) {
    super(config);
    const { nEmbd, vocabSize, initializerRange, tieWordEmbeddings } = config;
    this.transformer = new GPT2Model(config);
    this.lmHead = new Linear(nEmbd, vocabSize, {
      bias: false,
      ...(tieWordEmbeddings ? { weight: this.transformer.wte.weight } : { weightInit: normalInit(initializerRange) }),
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
    return predictNext(this.transformer.forward(inputs), this.lmHead, { labels, outputLogits });
  }

  /** What `generate` asks of a model. */
  decoder(): Decoder {
    const { vocabSize, nPositions } = this.config;
    return {
      vocabSize,
      positions: nPositions,
      hidden: (inputIds, cache) => this.transformer.forward({ inputIds, cache }).lastHiddenState,
      logits: (hidden) => this.lmHead.forward(hidden),
    };
  }
}
