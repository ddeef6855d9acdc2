// MPNet (Song et al. 2020): BERT's layers, whose scores of attention know the distance of two tokens.
import { add } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { BertEmbeddings, BertLayer, encodeTokens, selfAttend, selfProjections } from '../bert/model.ts';
import type { BaseModelOptions } from '../bert/model.ts';
import { Module } from '../module.ts';
import type { Attended } from '../nn/attend.ts';
import { Dropout } from '../nn/dropout.ts';
import type { Linear } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import { RelativeBias } from '../nn/relative-bias.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { RobertaLMHead } from '../roberta/model.ts';
import { ClassificationHead, dense, encoderHeads, FirstTokenPooler } from '../transformer/encoder-heads.ts';
import type { PooledOutput, TokenHead } from '../transformer/encoder-heads.ts';
import type { TokenInputs } from '../transformer/inputs.ts';
import { addAttention, runLayers } from '../transformer/layers.ts';
import type { EncoderOutput } from '../transformer/outputs.ts';
import { MPNetConfig } from './config.ts';

/** The row of padding in the tables of words and positions, whatever padTokenId says. */
const padding = 1;

class MPNetSelfAttention extends Module {
  q: Linear;
  k: Linear;
  v: Linear;
  readonly o: Linear;
  readonly dropout: Dropout;
  readonly headDim: number;

  constructor(config: MPNetConfig) {
    super();
    const { hiddenSize, numAttentionHeads, attentionProbsDropoutProb, initializerRange } = config;
    [this.q, this.k, this.v] = selfProjections(hiddenSize, initializerRange);
    this.o = dense(config, hiddenSize, hiddenSize);
    this.dropout = new Dropout(attentionProbsDropoutProb);
    this.headDim = hiddenSize / numAttentionHeads;
  }

  override forward(x: Tensor, mask: Tensor, outputWeights: boolean): Attended {
    const { q, k, v, dropout, headDim } = this;
    const { hidden, weights } = selfAttend([q, k, v], x, { headDim, mask, dropout, outputWeights });
    return { hidden: this.o.forward(hidden), weights };
  }
}

class MPNetAttention extends Module {
  readonly attn: MPNetSelfAttention;
  readonly LayerNorm: LayerNorm;
  readonly dropout: Dropout;

  constructor(config: MPNetConfig) {
    super();
    this.attn = new MPNetSelfAttention(config);
    this.LayerNorm = new LayerNorm(config.hiddenSize, { eps: config.layerNormEps });
    this.dropout = new Dropout(config.hiddenDropoutProb);
  }

  override forward(x: Tensor, bias: Tensor, outputWeights: boolean): Attended {
    const { hidden, weights } = this.attn.forward(x, bias, outputWeights);
    return { hidden: this.LayerNorm.forward(addAttention(x, this.dropout.forward(hidden))), weights };
  }
}

class MPNetEncoder extends Module {
  readonly layer: readonly BertLayer<Tensor, MPNetAttention>[];
  readonly relativeAttentionBias: RelativeBias;

  constructor(config: MPNetConfig) {
    super();
    const { numHiddenLayers, relativeAttentionNumBuckets, numAttentionHeads, initializerRange } = config;
    this.layer = Array.from({ length: numHiddenLayers }, () => new BertLayer(config, new MPNetAttention(config)));
    this.relativeAttentionBias = new RelativeBias({
      ...{ buckets: 32, maxDistance: 128, bidirectional: true }, // whatever the table has
      rows: relativeAttentionNumBuckets,
      heads: numAttentionHeads,
      initStd: initializerRange,
    });
  }

  /** x (B, T, D) -> (B, T, D) and what was asked for; the mask is added to the scores (B, H, T, T). */
  override forward(x: Tensor, mask: Tensor | undefined, options: TokenInputs): EncoderOutput {
    const positions = this.relativeAttentionBias.among(x.shape[1]!); // (1, H, T, T)
    const bias = mask ? add(positions, mask) : positions; // (1 or B, H, T, T)
    const run = (layer: BertLayer<Tensor, MPNetAttention>, y: Tensor, outputWeights: boolean): Attended =>
      layer.forward(y, bias, outputWeights);
    return runLayers(x, this.layer, { ...options, run });
  }
}

/** What all MPNet classes have in common. */
abstract class MPNetPreTrainedModel extends PreTrainedModel<MPNetConfig> {
  static readonly configFormat = MPNetConfig;
  static readonly keyRules = { baseModelPrefix: 'mpnet', ignoredKeys: /(^|\.)embeddings\.position_ids$/ };

  /** Checkpoints of heads that do not use the pooler lack it. */
  protected override mayBeNew(key: string): boolean {
    return /^(mpnet\.)?pooler\./.test(key) || super.mayBeNew(key);
  }
}

/**
 * Tokens to one vector for each, and one for the whole from <s>.
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = MPNetModel.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).lastHiddenState.shape; // [1, 3, 8]
 */
export class MPNetModel extends MPNetPreTrainedModel {
  readonly embeddings: BertEmbeddings;
  readonly encoder: MPNetEncoder;
  readonly pooler: FirstTokenPooler | undefined;

  constructor(config: MPNetConfig, { addPoolingLayer = true }: BaseModelOptions = {}) {
    super(config);
    this.embeddings = new BertEmbeddings({ ...config, typeVocabSize: 0 }, { paddingPosition: padding });
    this.encoder = new MPNetEncoder(config);
    this.pooler = addPoolingLayer ? new FirstTokenPooler(config) : undefined;
  }

  override forward(inputs: TokenInputs): PooledOutput {
    return encodeTokens(this, inputs);
  }
}

const heads = encoderHeads<'mpnet', TokenInputs, MPNetConfig, typeof MPNetPreTrainedModel, MPNetModel>(
  MPNetPreTrainedModel,
  {
    prefix: 'mpnet',
    encoder: (config, addPoolingLayer) => new MPNetModel(config, { addPoolingLayer }),
    dim: ({ hiddenSize }) => hiddenSize,
    dropout: ({ hiddenDropoutProb }) => hiddenDropoutProb,
  },
);

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = MPNetForMaskedLM.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 50]
 */
export class MPNetForMaskedLM extends heads.MaskedLM {
  readonly lmHead: RobertaLMHead;

  constructor(config: MPNetConfig) {
    super(config);
    this.lmHead = new RobertaLMHead(config, this.mpnet.embeddings.wordEmbeddings.weight);
  }

  protected override get tokenHead(): TokenHead {
    return this.lmHead;
  }
}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = MPNetForSequenceClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 2]
 */
export class MPNetForSequenceClassification extends heads.SequenceClassification {
  readonly classifier: ClassificationHead;

  constructor(config: MPNetConfig) {
    super(config);
    this.classifier = new ClassificationHead(config, { dropout: config.hiddenDropoutProb });
  }

  protected override score({ lastHiddenState }: PooledOutput): Tensor {
    return this.classifier.forward(lastHiddenState); // (B, L)
  }
}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = MPNetForTokenClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 2]
 */
export class MPNetForTokenClassification extends heads.TokenClassification {}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = MPNetForQuestionAnswering.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).startLogits.shape; // [1, 3]
 */
export class MPNetForQuestionAnswering extends heads.QuestionAnswering {}
