import type { Tensor } from '../../autograd/index.ts';
import { tokenLoss } from '../nn/token-loss.ts';
import type { BertConfig } from './config.ts';
import type { BertInputs } from './inputs.ts';
import { BertModel, BertPreTrainedModel } from './model.ts';
import { internalsOf } from '../outputs.ts';
import type { HeadOutput } from '../outputs.ts';
import { BertHeads } from './prediction-head.ts';

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

  /** Logits (B, T, V). Labels: token numbers [B, T], -100 where a token does not count. */
  override forward({ labels, ...inputs }: BertInputs & { readonly labels?: Tensor }): HeadOutput {
    const output = this.bert.forward(inputs);
    const logits = this.cls.predictions!.forward(output.lastHiddenState); // (B, T, V)
    return { logits, ...(labels ? { loss: tokenLoss(logits, labels) } : {}), ...internalsOf(output) };
  }
}
