// RoBERTa (Liu et al. 2019): BERT's layers, positions that begin behind that of padding, other heads.
import type { Tensor } from '../../autograd/index.ts';
import { classifierDropout } from '../bert/heads.ts';
import { BertEmbeddings, BertEncoder, encodeTokens } from '../bert/model.ts';
import type { BaseModelOptions, BertInputs } from '../bert/model.ts';
import { tokenRetentionOf } from '../bert/token-pruning.ts';
import type { Parameter } from '../parameter.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { ClassificationHead, encoderHeads, FirstTokenPooler, TokenPredictions } from '../transformer/encoder-heads.ts';
import type { PooledOutput, TokenHead } from '../transformer/encoder-heads.ts';
import { RobertaConfig } from './config.ts';

/** What all RoBERTa classes have in common. */
abstract class RobertaPreTrainedModel extends PreTrainedModel<RobertaConfig> {
  static readonly configFormat = RobertaConfig;
  static readonly keyRules = {
    baseModelPrefix: 'roberta',
    ignoredKeys: /(^|\.)embeddings\.(position_ids|token_type_ids)$/,
  };

  /** Checkpoints of heads that do not use the pooler lack it. */
  protected override mayBeNew(key: string): boolean {
    return /^(roberta\.)?pooler\./.test(key) || super.mayBeNew(key);
  }
}

/**
 * Tokens to one vector for each, and one for the whole from <s>.
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = RobertaModel.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).lastHiddenState.shape; // [1, 3, 8]
 */
export class RobertaModel extends RobertaPreTrainedModel {
  readonly embeddings: BertEmbeddings;
  readonly encoder: BertEncoder;
  readonly pooler: FirstTokenPooler | undefined;

  constructor(config: RobertaConfig, { addPoolingLayer = true }: BaseModelOptions = {}) {
    super(config);
    this.embeddings = new BertEmbeddings(config, { paddingPosition: config.padTokenId });
    this.encoder = new BertEncoder(config);
    this.pooler = addPoolingLayer ? new FirstTokenPooler(config) : undefined;
  }

  override forward(inputs: BertInputs): PooledOutput {
    return encodeTokens(this, inputs);
  }
}

const heads = encoderHeads<'roberta', BertInputs, RobertaConfig, typeof RobertaPreTrainedModel, RobertaModel>(
  RobertaPreTrainedModel,
  {
    prefix: 'roberta',
    encoder: (config, addPoolingLayer) => new RobertaModel(config, { addPoolingLayer }),
    dim: ({ hiddenSize }) => hiddenSize,
    dropout: classifierDropout,
  },
);

/** RoBERTa's head for tokens, whose activation is always gelu. */
export class RobertaLMHead extends TokenPredictions {
  static override readonly keys = { LayerNorm: 'layer_norm' };

  constructor(
    config: Pick<RobertaConfig, 'hiddenSize' | 'layerNormEps' | 'initializerRange' | 'tieWordEmbeddings'>,
    wordEmbeddings: Parameter,
  ) {
    super({ ...config, activation: 'gelu' }, wordEmbeddings);
  }
}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = RobertaForMaskedLM.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 50]
 */
export class RobertaForMaskedLM extends heads.MaskedLM {
  readonly lmHead: RobertaLMHead;

  constructor(config: RobertaConfig) {
    super(config);
    this.lmHead = new RobertaLMHead(config, this.roberta.embeddings.wordEmbeddings.weight);
  }

  protected override get tokenHead(): TokenHead {
    return this.lmHead;
  }
}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = RobertaForSequenceClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 2]
 */
export class RobertaForSequenceClassification extends heads.SequenceClassification {
  readonly classifier: ClassificationHead;

  constructor(config: RobertaConfig) {
    super(config);
    this.roberta.encoder.tokenRetention = tokenRetentionOf(config, config.numHiddenLayers);
    this.classifier = new ClassificationHead(config, { dropout: classifierDropout(config) });
  }

  protected override score({ lastHiddenState }: PooledOutput): Tensor {
    return this.classifier.forward(lastHiddenState); // (B, L)
  }
}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = RobertaForTokenClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 2]
 */
export class RobertaForTokenClassification extends heads.TokenClassification {}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = RobertaForQuestionAnswering.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).startLogits.shape; // [1, 3]
 */
export class RobertaForQuestionAnswering extends heads.QuestionAnswering {}
