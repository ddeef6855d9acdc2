import { add, crossEntropy, reshape } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { tokenLoss } from '../nn/token-loss.ts';
import type { BertConfig } from './config.ts';
import type { BertInputs } from './inputs.ts';
import { BertModel, BertPreTrainedModel } from './model.ts';
import { internalsOf } from '../outputs.ts';
import type { Internals } from '../outputs.ts';
import { BertHeads } from './prediction-head.ts';

export interface PreTrainingOutput extends Internals {
  /** (B, T, V). */
  readonly predictionLogits: Tensor;
  /** (B, 2). */
  readonly seqRelationshipLogits: Tensor;
  /** The sum of the two losses. */
  readonly loss?: Tensor;
}

export interface PreTrainingLabels {
  /** Masked tokens, [B, T]; -100 where a token does not count. */
  readonly labels?: Tensor;
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

  override forward({ labels, nextSentenceLabel, ...inputs }: BertInputs & PreTrainingLabels): PreTrainingOutput {
    if (!labels !== !nextSentenceLabel)
      throw new Error('a loss needs labels and nextSentenceLabel; give both or neither');
    const output = this.bert.forward(inputs);
    const predictionLogits = this.cls.predictions!.forward(output.lastHiddenState); // (B, T, V)
    const seqRelationshipLogits = this.cls.seqRelationship!.forward(output.pooled!); // (B, 2)
    const loss =
      labels &&
      add(tokenLoss(predictionLogits, labels), crossEntropy(seqRelationshipLogits, reshape(nextSentenceLabel!, [-1])));
    return { predictionLogits, seqRelationshipLogits, ...(loss ? { loss } : {}), ...internalsOf(output) };
  }
}
