import { crossEntropy, reshape } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { BertConfig } from './config.ts';
import type { BertInputs } from './inputs.ts';
import { BertModel, BertPreTrainedModel } from './model.ts';
import { internalsOf } from '../outputs.ts';
import type { HeadOutput } from '../outputs.ts';
import { BertHeads } from './prediction-head.ts';

/** Whether the second text follows the first: label 0, it does; 1, it was drawn at random. */
export class BertForNextSentencePrediction extends BertPreTrainedModel {
  readonly bert: BertModel;
  readonly cls: BertHeads;

  constructor(config: BertConfig) {
    super(config);
    this.bert = new BertModel(config);
    this.cls = new BertHeads(config, { nextSentence: true });
  }

  /** Logits (B, 2). Labels: [B]. */
  override forward({ labels, ...inputs }: BertInputs & { readonly labels?: Tensor }): HeadOutput {
    const output = this.bert.forward(inputs);
    const logits = this.cls.seqRelationship!.forward(output.pooled!); // (B, 2)
    return { logits, ...(labels ? { loss: crossEntropy(logits, reshape(labels, [-1])) } : {}), ...internalsOf(output) };
  }
}
