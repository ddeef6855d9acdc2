import type { Tensor } from '../../autograd/index.ts';
import type { BertConfig } from './config.ts';
import type { BertInputs } from './inputs.ts';
import { BertModel, BertPreTrainedModel } from './model.ts';
import { internalsOf } from '../outputs.ts';
import type { HeadOutput, Internals } from '../outputs.ts';
import { BertHeads } from './prediction-head.ts';
import type { MaskedTokens } from './prediction-head.ts';

/** Predicts masked tokens. */
export class BertForMaskedLM extends BertPreTrainedModel {
  readonly bert: BertModel;
  readonly cls: BertHeads;

  constructor(config: BertConfig) {
    super(config);
    this.bert = new BertModel(config, { addPoolingLayer: false });
    this.cls = new BertHeads(config, {
      wordEmbeddings: this.bert.embeddings.wordEmbeddings.weight,
      nextSentence: false,
    });
  }

  /**
   * Logits (B, T, V). Labels: token numbers [B, T], -100 where a token does not count. With maskedPositions
   * [B, K] the head runs at those places only: logits (B, K, V), labels [B, K], the same loss for a fraction
   * of the work.
   */
  override forward(
    inputs: BertInputs & MaskedTokens & { readonly labels: Tensor; readonly outputLogits: false },
  ): Internals & { readonly loss: Tensor };
  override forward(inputs: BertInputs & MaskedTokens & { readonly outputLogits?: true }): HeadOutput;
  override forward({
    labels,
    maskedPositions,
    outputLogits,
    ...inputs
  }: BertInputs & MaskedTokens): Partial<HeadOutput> {
    const output = this.bert.forward(inputs);
    const predicted = this.cls.predictions!.predict(output.lastHiddenState, { labels, maskedPositions, outputLogits });
    return { ...predicted, ...internalsOf(output) };
  }
}
