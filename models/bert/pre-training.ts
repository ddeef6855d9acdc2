import { add, crossEntropy, reshape } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { BertConfig } from './config.ts';
import type { BertInputs } from './inputs.ts';
import { BertModel, BertPreTrainedModel } from './model.ts';
import { internalsOf } from '../outputs.ts';
import type { Internals } from '../outputs.ts';
import { BertHeads } from './prediction-head.ts';
import type { MaskedTokens } from './prediction-head.ts';

export interface PreTrainingOutput extends Internals {
  /** (B, T, V), or (B, K, V) at maskedPositions. */
  readonly predictionLogits: Tensor;
  /** (B, 2). */
  readonly seqRelationshipLogits: Tensor;
  /** The sum of the two losses. */
  readonly loss?: Tensor;
  readonly maskedLMLoss?: Tensor;
  readonly nextSentenceLoss?: Tensor;
}

export interface PreTrainingLabels extends MaskedTokens {
  /** 0 where the second text follows the first, else 1; [B]. */
  readonly nextSentenceLabel?: Tensor;
}

/** Both of BERT's pre-training tasks: masked tokens and next sentence. */
export class BertForPreTraining extends BertPreTrainedModel {
  readonly bert: BertModel;
  readonly cls: BertHeads;

  constructor(config: BertConfig) {
    super(config);
    this.bert = new BertModel(config);
    this.cls = new BertHeads(config, {
      wordEmbeddings: this.bert.embeddings.wordEmbeddings.weight,
      nextSentence: true,
    });
  }

  override forward(
    inputs: BertInputs & PreTrainingLabels & { readonly outputLogits: false },
  ): Omit<Required<PreTrainingOutput>, 'predictionLogits' | keyof Internals> & Internals;
  override forward(inputs: BertInputs & PreTrainingLabels & { readonly outputLogits?: true }): PreTrainingOutput;
  override forward({
    labels,
    nextSentenceLabel,
    maskedPositions,
    outputLogits,
    ...inputs
  }: BertInputs & PreTrainingLabels): Partial<PreTrainingOutput> {
    if (!labels !== !nextSentenceLabel)
      throw new Error('a loss needs labels and nextSentenceLabel; give both or neither');
    const output = this.bert.forward(inputs);
    const masked = { labels, maskedPositions, outputLogits };
    const { logits, loss: maskedLMLoss } = this.cls.predictions!.predict(output.lastHiddenState, masked);
    const seqRelationshipLogits = this.cls.seqRelationship!.forward(output.pooled!); // (B, 2)
    const scores = { ...(logits ? { predictionLogits: logits } : {}), seqRelationshipLogits, ...internalsOf(output) };
    if (!maskedLMLoss) return scores;
    const nextSentenceLoss = crossEntropy(seqRelationshipLogits, reshape(nextSentenceLabel!, [-1]));
    return { ...scores, loss: add(maskedLMLoss, nextSentenceLoss), maskedLMLoss, nextSentenceLoss };
  }
}
