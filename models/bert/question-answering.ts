import { add, clamp, crossEntropy, mul, reshape, select } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { Linear } from '../nn/linear.ts';
import type { BertConfig } from './config.ts';
import type { BertInputs } from './inputs.ts';
import { dense } from './layers.ts';
import { BertModel, BertPreTrainedModel } from './model.ts';
import { internalsOf } from '../outputs.ts';
import type { Internals } from '../outputs.ts';

export interface QuestionAnsweringOutput extends Internals {
  /** (B, T) each. */
  readonly startLogits: Tensor;
  readonly endLogits: Tensor;
  readonly loss?: Tensor;
}

export interface AnswerLabels {
  /**
   * Index of the answer's first token, [B]; beyond the last token where the answer was cut off, which then
   * does not count.
   */
  readonly startPositions?: Tensor;
  readonly endPositions?: Tensor;
}

/** The first and the last token of an answer within the text. */
export class BertForQuestionAnswering extends BertPreTrainedModel {
  readonly bert: BertModel;
  readonly qaOutputs: Linear;

  constructor(config: BertConfig) {
    super(config);
    if (config.numLabels !== 2)
      throw new Error(
        `BertForQuestionAnswering: needs numLabels 2 (start and end), got ${config.numLabels}; pass { numLabels: 2 }`,
      );
    this.bert = new BertModel(config, { addPoolingLayer: false });
    this.qaOutputs = dense(config, config.hiddenSize, 2);
  }

  override forward({ startPositions, endPositions, ...inputs }: BertInputs & AnswerLabels): QuestionAnsweringOutput {
    if (!startPositions !== !endPositions)
      throw new Error('a loss needs startPositions and endPositions; give both or neither');
    const output = this.bert.forward(inputs);
    const both = this.qaOutputs.forward(output.lastHiddenState); // (B, T, 2)
    const [startLogits, endLogits] = [select(both, 2, 0), select(both, 2, 1)]; // (B, T)
    const loss =
      startPositions &&
      mul(add(positionLoss(startLogits, startPositions), positionLoss(endLogits, endPositions!)), 0.5);
    return { startLogits, endLogits, ...(loss ? { loss } : {}), ...internalsOf(output) };
  }
}

/**
 * Cross-entropy over positions; those outside of the row count for nothing below or above it, as in
 * Transformers.
 */
function positionLoss(logits: Tensor, positions: Tensor): Tensor {
  const [batch, length] = logits.shape as [number, number];
  if (positions.size !== batch)
    throw new Error(`positions are [${positions.shape.join(', ')}]; one for each of the ${batch} rows is needed`);
  return crossEntropy(logits, clamp(reshape(positions, [batch]), 0, length), { ignoreIndex: length });
}
