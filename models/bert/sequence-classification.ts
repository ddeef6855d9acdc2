import { bceWithLogits, crossEntropy, mse, reshape } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Dropout } from '../nn/dropout.ts';
import type { Linear } from '../nn/linear.ts';
import { showShape } from '../names.ts';
import type { BertConfig } from './config.ts';
import type { BertInputs } from './inputs.ts';
import { dense } from './layers.ts';
import { BertModel, BertPreTrainedModel } from './model.ts';
import { internalsOf } from '../outputs.ts';
import type { HeadOutput } from '../outputs.ts';

/**
 * A linear classifier on the pooled output. `config.problemType` gives the loss: cross-entropy for one label
 * a text, binary cross-entropy for any number of labels, mean squared error for regression.
 */
export class BertForSequenceClassification extends BertPreTrainedModel {
  readonly bert: BertModel;
  readonly dropout: Dropout;
  readonly classifier: Linear;

  constructor(config: BertConfig) {
    super(config);
    this.bert = new BertModel(config);
    this.dropout = new Dropout(config.classifierDropout ?? config.hiddenDropoutProb);
    this.classifier = dense(config, config.hiddenSize, config.numLabels);
  }

  /**
   * Logits (B, numLabels). Labels: class numbers [B]; or numbers [B, numLabels] (regression to one number:
   * [B] too).
   */
  override forward({ labels, ...inputs }: BertInputs & { readonly labels?: Tensor }): HeadOutput {
    const output = this.bert.forward(inputs);
    const logits = this.classifier.forward(this.dropout.forward(output.pooled!)); // (B, L)
    return { logits, ...(labels ? { loss: this.#loss(logits, labels) } : {}), ...internalsOf(output) };
  }

  #loss(logits: Tensor, labels: Tensor): Tensor {
    const [batch, count] = logits.shape as [number, number];
    if (this.config.problemType === null) {
      const problemType =
        count === 1
          ? 'regression'
          : labels.ndim === 2 && labels.shape[1] === count
            ? 'multi_label_classification'
            : 'single_label_classification';
      this.config = Object.freeze({ ...this.config, problemType }); // saved with the model, as in Transformers
    }
    if (this.config.problemType === 'single_label_classification') {
      if (labels.size !== batch)
        throw new Error(
          `labels are ${showShape(labels.shape)}; one class number for each of the ${batch} texts is needed`,
        );
      return crossEntropy(logits, reshape(labels, [batch]));
    }
    if (labels.size !== logits.size) {
      throw new Error(
        `labels are ${showShape(labels.shape)}; ${this.config.problemType} needs ${showShape(logits.shape)}, like the logits`,
      );
    }
    const target = reshape(labels, logits.shape);
    return this.config.problemType === 'regression' ? mse(logits, target) : bceWithLogits(logits, target);
  }
}
