import { add } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { Linear } from '../nn/linear.ts';
import { tokenLoss } from '../nn/token-loss.ts';
import { internalsOf } from '../outputs.ts';
import type { Internals } from '../outputs.ts';
import type { BertConfig } from './config.ts';
import type { BertInputs } from './inputs.ts';
import { dense } from './layers.ts';
import { BertModel, BertPreTrainedModel } from './model.ts';
import { BertHeads } from './prediction-head.ts';
import type { MaskedTokens } from './prediction-head.ts';

export interface RotaryFillOutput extends Internals {
  /** Which token was there: (B, T, V), or (B, K, V) at maskedPositions. */
  readonly logits: Tensor;
  /** Whether a token is another than was there, (B, T, 2). */
  readonly rotatedLogits: Tensor;
  /** The sum of the two losses. */
  readonly loss?: Tensor;
  readonly fillLoss?: Tensor;
  readonly rotatedLoss?: Tensor;
}

export interface RotaryFillLabels extends MaskedTokens {
  /**
   * 1 where the token is another than was there, 0 where it is the same, -100 where it does not count; [B,
   * T].
   */
  readonly rotatedLabels?: Tensor;
}

/**
 * Puts back tokens of rotated spans and tells which tokens were changed: the masked-token head, so that
 * checkpoints of BertForMaskedLM load and go there again, and a classifier of every token, `detector`. The
 * objective is defined with its training task, train/objectives/rotary-fill.ts.
 */
export class BertForRotaryFill extends BertPreTrainedModel {
  readonly bert: BertModel;
  readonly cls: BertHeads;
  readonly detector: Linear;

  constructor(config: BertConfig) {
    super(config);
    this.bert = new BertModel(config, { addPoolingLayer: false });
    this.cls = new BertHeads(config, {
      wordEmbeddings: this.bert.embeddings.wordEmbeddings.weight,
      nextSentence: false,
    });
    this.detector = dense(config, config.hiddenSize, 2);
  }

  override forward(
    inputs: BertInputs & RotaryFillLabels & { readonly outputLogits: false },
  ): Omit<Required<RotaryFillOutput>, 'logits' | keyof Internals> & Internals;
  override forward(inputs: BertInputs & RotaryFillLabels & { readonly outputLogits?: true }): RotaryFillOutput;
  override forward({
    labels,
    maskedPositions,
    rotatedLabels,
    outputLogits,
    ...inputs
  }: BertInputs & RotaryFillLabels): Partial<RotaryFillOutput> {
    if (!labels !== !rotatedLabels) throw new Error('a loss needs labels and rotatedLabels; give both or neither');
    const output = this.bert.forward(inputs);
    const hidden = output.lastHiddenState; // (B, T, D)
    const { logits, loss: fillLoss } = this.cls.predictions!.predict(hidden, { labels, maskedPositions, outputLogits });
    const rotatedLogits = this.detector.forward(hidden); // (B, T, 2)
    const scores = { ...(logits ? { logits } : {}), rotatedLogits, ...internalsOf(output) };
    if (!fillLoss) return scores;
    const rotatedLoss = tokenLoss(rotatedLogits, rotatedLabels!);
    return { ...scores, loss: add(fillLoss, rotatedLoss), fillLoss, rotatedLoss };
  }
}
