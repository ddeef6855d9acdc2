import type { Tensor } from '../../autograd/index.ts';
import { normalInit } from '../init.ts';
import type { Decoder } from '../generation/decoder.ts';
import type { DecoderInputs } from '../inputs.ts';
import { Linear } from '../nn/linear.ts';
import { linearNextTokenLoss, nextTokenLoss } from '../nn/token-loss.ts';
import { internalsOf } from '../outputs.ts';
import type { HeadOutput, Internals } from '../outputs.ts';
import type { GPT2Config } from './config.ts';
import { GPT2Model, GPT2PreTrainedModel } from './model.ts';

export interface GPT2LMInputs extends DecoderInputs {
  /** Token numbers [B, T], -100 where a token does not count: most often inputIds themselves. The model shifts them. */
  readonly labels?: Tensor;
  /** false: the loss alone, for training. The logits, B x T x V numbers, are then not kept. Default true. */
  readonly outputLogits?: boolean;
}

/** GPT-2 as it was trained: predicts the next token. The head's weight is the table of token embeddings, unless `config.tieWordEmbeddings` is false. */
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
    inputs: GPT2LMInputs & { readonly labels: Tensor; readonly outputLogits: false },
  ): Internals & { readonly loss: Tensor };
  override forward(
    inputs: GPT2LMInputs & { readonly labels: Tensor; readonly outputLogits?: true },
  ): HeadOutput & { readonly loss: Tensor };
  override forward(inputs: GPT2LMInputs & { readonly outputLogits?: true }): HeadOutput;
  override forward({ labels, outputLogits = true, ...inputs }: GPT2LMInputs): Partial<HeadOutput> {
    if (!labels && !outputLogits)
      throw new Error('without logits there is only a loss, and it needs labels; give labels');
    const output = this.transformer.forward(inputs);
    const hidden = output.lastHiddenState; // (B, T, D)
    if (!outputLogits)
      return { loss: linearNextTokenLoss(hidden, this.lmHead.weight, labels!), ...internalsOf(output) };
    const logits = this.lmHead.forward(hidden); // (B, T, V)
    return { logits, ...(labels ? { loss: nextTokenLoss(logits, labels) } : {}), ...internalsOf(output) };
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
