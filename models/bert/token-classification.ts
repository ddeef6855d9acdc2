import type { Tensor } from '../../autograd/index.ts';
import { Dropout } from '../nn/dropout.ts';
import type { Linear } from '../nn/linear.ts';
import { tokenLoss } from '../nn/token-loss.ts';
import type { BertConfig } from './config.ts';
import type { BertInputs } from './inputs.ts';
import { dense } from './layers.ts';
import { BertModel, BertPreTrainedModel } from './model.ts';
import { internalsOf } from '../outputs.ts';
import type { HeadOutput } from '../outputs.ts';

/** A linear classifier on every token, as for named entities. */
export class BertForTokenClassification extends BertPreTrainedModel {
  readonly bert: BertModel;
  readonly dropout: Dropout;
  readonly classifier: Linear;

  constructor(config: BertConfig) {
    super(config);
    this.bert = new BertModel(config, { addPoolingLayer: false });
    this.dropout = new Dropout(config.classifierDropout ?? config.hiddenDropoutProb);
    this.classifier = dense(config, config.hiddenSize, config.numLabels);
  }

  /** Logits (B, T, numLabels). Labels: class numbers [B, T], -100 where a token does not count. */
  override forward({ labels, ...inputs }: BertInputs & { readonly labels?: Tensor }): HeadOutput {
    const output = this.bert.forward(inputs);
    const logits = this.classifier.forward(this.dropout.forward(output.lastHiddenState)); // (B, T, L)
    return { logits, ...(labels ? { loss: tokenLoss(logits, labels) } : {}), ...internalsOf(output) };
  }
}
