import { crossEntropy, reshape } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Dropout } from '../nn/dropout.ts';
import type { Linear } from '../nn/linear.ts';
import type { BertConfig } from './config.ts';
import type { BertInputs } from './inputs.ts';
import { dense } from './layers.ts';
import { BertModel, BertPreTrainedModel } from './model.ts';
import { internalsOf } from './outputs.ts';
import type { HeadOutput } from './outputs.ts';

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

/** Cross-entropy of logits (B, T, C) with labels [B, T], over the tokens whose label is not -100. */
export function tokenLoss(logits: Tensor, labels: Tensor): Tensor {
  const [batch, length, classes] = logits.shape as [number, number, number];
  if (labels.shape.join() !== `${batch},${length}`) {
    throw new Error(`labels are [${labels.shape.join(', ')}]; one for each token is needed, [${batch}, ${length}]`);
  }
  return crossEntropy(reshape(logits, [batch * length, classes]), reshape(labels, [batch * length]));
}
