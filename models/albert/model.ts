// ALBERT (Lan et al. 2020): narrow embeddings, projected once, and layers that share their weights.
import { add, crossEntropy, reshape, select, tanh } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { BertEmbeddings, selfAttend, selfProjections } from '../bert/model.ts';
import type { BaseModelOptions, BertInputs } from '../bert/model.ts';
import { hookPoint } from '../hooks/points.ts';
import { Module } from '../module.ts';
import { activate } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import { additiveMask } from '../nn/attend.ts';
import type { Attended } from '../nn/attend.ts';
import { Dropout } from '../nn/dropout.ts';
import type { Linear } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { dense, encoderHeads, predictTokens, TokenPredictions } from '../transformer/encoder-heads.ts';
import type { MaskedTokens, PooledOutput, TokenHead } from '../transformer/encoder-heads.ts';
import type { TokenInputs } from '../transformer/inputs.ts';
import { addAttention, addFeedForward, runLayers } from '../transformer/layers.ts';
import { internalsOf } from '../transformer/outputs.ts';
import type { EncoderOutput, Internals } from '../transformer/outputs.ts';
import { AlbertConfig } from './config.ts';

const norm = ({ hiddenSize, layerNormEps }: AlbertConfig): LayerNorm =>
  new LayerNorm(hiddenSize, { eps: layerNormEps });

class AlbertAttention extends Module {
  query: Linear;
  key: Linear;
  value: Linear;
  readonly dense: Linear;
  readonly LayerNorm: LayerNorm;
  readonly attentionDropout: Dropout;
  readonly outputDropout: Dropout;
  readonly headDim: number;

  constructor(config: AlbertConfig) {
    super();
    const { hiddenSize, numAttentionHeads, initializerRange } = config;
    [this.query, this.key, this.value] = selfProjections(hiddenSize, initializerRange);
    this.dense = dense(config, hiddenSize, hiddenSize);
    this.LayerNorm = norm(config);
    this.attentionDropout = new Dropout(config.attentionProbsDropoutProb);
    this.outputDropout = new Dropout(config.hiddenDropoutProb);
    this.headDim = hiddenSize / numAttentionHeads;
  }

  override forward(x: Tensor, mask: Tensor | undefined, outputWeights: boolean): Attended {
    const { query, key, value, headDim, attentionDropout: dropout } = this;
    const { hidden, weights } = selfAttend([query, key, value], x, { headDim, mask, dropout, outputWeights });
    return {
      hidden: this.LayerNorm.forward(addAttention(x, this.outputDropout.forward(this.dense.forward(hidden)))),
      weights,
    };
  }
}

class AlbertLayer extends Module {
  readonly fullLayerLayerNorm: LayerNorm;
  readonly attention: AlbertAttention;
  readonly ffn: Linear;
  readonly ffnOutput: Linear;
  readonly activation: ActivationName;

  constructor(config: AlbertConfig) {
    super();
    this.fullLayerLayerNorm = norm(config);
    this.attention = new AlbertAttention(config);
    this.ffn = dense(config, config.hiddenSize, config.intermediateSize);
    this.ffnOutput = dense(config, config.intermediateSize, config.hiddenSize);
    this.activation = config.hiddenAct;
  }

  /** x (B, T, D) -> (B, T, D); the mask is added to the scores (B, H, T, T). */
  override forward(x: Tensor, mask: Tensor | undefined, outputWeights: boolean): Attended {
    const { hidden, weights } = this.attention.forward(x, mask, outputWeights); // (B, T, D)
    const fed = this.ffnOutput.forward(activate(this.activation, this.ffn.forward(hidden))); // (B, T, D)
    const last = this.fullLayerLayerNorm.forward(addFeedForward(hidden, fed));
    return { hidden: hookPoint('hook_normalized_resid_post', last), weights };
  }

  override extraRepr(): string {
    return this.activation;
  }
}

class AlbertLayerGroup extends Module {
  readonly albertLayers: readonly AlbertLayer[];

  constructor(config: AlbertConfig) {
    super();
    this.albertLayers = Array.from({ length: config.innerGroupNum }, () => new AlbertLayer(config));
  }
}

class AlbertTransformer extends Module {
  readonly embeddingHiddenMappingIn: Linear;
  readonly albertLayerGroups: readonly AlbertLayerGroup[];
  readonly layers: number;

  constructor(config: AlbertConfig) {
    super();
    this.embeddingHiddenMappingIn = dense(config, config.embeddingSize, config.hiddenSize);
    this.albertLayerGroups = Array.from({ length: config.numHiddenGroups }, () => new AlbertLayerGroup(config));
    this.layers = config.numHiddenLayers;
  }

  /** x (B, T, E) -> (B, T, D). */
  override forward(x: Tensor, mask: Tensor | undefined, options: TokenInputs): EncoderOutput {
    const groups = this.albertLayerGroups;
    const layers = Array.from({ length: this.layers }, (_, i) => {
      const group = Math.trunc(i / (this.layers / groups.length));
      return groups[group]!.albertLayers;
    }).flat();
    const run = (layer: AlbertLayer, y: Tensor, weights: boolean): Attended => layer.forward(y, mask, weights);
    return runLayers(this.embeddingHiddenMappingIn.forward(x), layers, { ...options, run });
  }

  override extraRepr(): string {
    return `layers: ${this.layers}`;
  }
}

/** What all ALBERT classes have in common. */
abstract class AlbertPreTrainedModel extends PreTrainedModel<AlbertConfig> {
  static readonly configFormat = AlbertConfig;
  static readonly keyRules = {
    baseModelPrefix: 'albert',
    ignoredKeys: /(^|\.)embeddings\.(position_ids|token_type_ids)$/,
  };

  /** Checkpoints of heads that do not use the pooler lack it. */
  protected override mayBeNew(key: string): boolean {
    return /^(albert\.)?pooler\./.test(key) || super.mayBeNew(key);
  }
}

/**
 * Tokens to one vector for each, and one for the whole from [CLS].
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = AlbertModel.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).lastHiddenState.shape; // [1, 3, 8]
 */
export class AlbertModel extends AlbertPreTrainedModel {
  readonly embeddings: BertEmbeddings;
  readonly encoder: AlbertTransformer;
  readonly pooler: Linear | undefined;

  constructor(config: AlbertConfig, { addPoolingLayer = true }: BaseModelOptions = {}) {
    super(config);
    this.embeddings = new BertEmbeddings(config, { dim: config.embeddingSize });
    this.encoder = new AlbertTransformer(config);
    this.pooler = addPoolingLayer ? dense(config, config.hiddenSize, config.hiddenSize) : undefined;
  }

  override forward(inputs: BertInputs): PooledOutput {
    const x = this.embeddings.forward(inputs); // (B, T, E)
    const mask = inputs.attentionMask && additiveMask(inputs.attentionMask, x.dtype); // (B, 1, 1 or T, T)
    const encoded = this.encoder.forward(x, mask, inputs);
    return this.pooler
      ? { ...encoded, pooled: tanh(this.pooler.forward(select(encoded.lastHiddenState, 1, 0))) }
      : encoded;
  }
}

const heads = encoderHeads<'albert', BertInputs, AlbertConfig, typeof AlbertPreTrainedModel, AlbertModel>(
  AlbertPreTrainedModel,
  {
    prefix: 'albert',
    encoder: (config, addPoolingLayer) => new AlbertModel(config, { addPoolingLayer }),
    dim: ({ hiddenSize }) => hiddenSize,
    dropout: ({ classifierDropoutProb }) => classifierDropoutProb,
  },
);

const predictions = (config: AlbertConfig, { embeddings }: AlbertModel): TokenPredictions =>
  new TokenPredictions({ ...config, activation: config.hiddenAct }, embeddings.wordEmbeddings.weight);

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = AlbertForMaskedLM.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 50]
 */
export class AlbertForMaskedLM extends heads.MaskedLM {
  readonly predictions: TokenPredictions;

  constructor(config: AlbertConfig) {
    super(config);
    this.predictions = predictions(config, this.albert);
  }

  protected override get tokenHead(): TokenHead {
    return this.predictions;
  }
}

class AlbertSentenceOrderHead extends Module {
  readonly dropout: Dropout;
  readonly classifier: Linear;

  constructor(config: AlbertConfig) {
    super();
    this.dropout = new Dropout(config.classifierDropoutProb);
    this.classifier = dense(config, config.hiddenSize, config.numLabels);
  }

  override forward(pooled: Tensor): Tensor {
    return this.classifier.forward(this.dropout.forward(pooled)); // (B, 2)
  }
}

export interface AlbertPreTrainingOutput extends Internals {
  /** (B, T, V), or (B, K, V) at maskedPositions. */
  readonly predictionLogits: Tensor;
  /** (B, 2). */
  readonly sopLogits: Tensor;
  /** The sum of the losses of tokens and of the order. */
  readonly loss?: Tensor;
}

/**
 * Both of ALBERT's pre-training tasks: masked tokens and the order of two sentences.
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = AlbertForPreTraining.fromConfig(config);
 * const { predictionLogits, sopLogits } = model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) });
 * predictionLogits.shape; // [1, 3, 50]
 * sopLogits.shape; // [1, 2]
 */
export class AlbertForPreTraining extends AlbertPreTrainedModel {
  readonly albert: AlbertModel;
  readonly predictions: TokenPredictions;
  readonly sopClassifier: AlbertSentenceOrderHead;

  constructor(config: AlbertConfig) {
    super(config);
    if (config.numLabels !== 2)
      throw new Error(`AlbertForPreTraining: needs numLabels 2, in order or not, got ${config.numLabels}`);
    this.albert = new AlbertModel(config);
    this.predictions = predictions(config, this.albert);
    this.sopClassifier = new AlbertSentenceOrderHead(config);
  }

  /** sentenceOrderLabel [B]: 0 where the sentences are in order, 1 where they are swapped. */
  override forward({
    labels,
    maskedPositions,
    sentenceOrderLabel,
    ...inputs
  }: BertInputs &
    Omit<MaskedTokens, 'outputLogits'> & { readonly sentenceOrderLabel?: Tensor }): AlbertPreTrainingOutput {
    if (!labels !== !sentenceOrderLabel)
      throw new Error('a loss needs labels and sentenceOrderLabel; give both or neither');
    const output = this.albert.forward(inputs);
    const masked = { labels, maskedPositions };
    const { logits, loss } = predictTokens(this.predictions, output.lastHiddenState, masked);
    const sopLogits = this.sopClassifier.forward(output.pooled!); // (B, 2)
    return {
      predictionLogits: logits!,
      sopLogits,
      ...(loss ? { loss: add(loss, crossEntropy(sopLogits, reshape(sentenceOrderLabel!, [-1]))) } : {}),
      ...internalsOf(output),
    };
  }
}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = AlbertForSequenceClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 2]
 */
export class AlbertForSequenceClassification extends heads.SequenceClassification {
  readonly dropout: Dropout;
  readonly classifier: Linear;

  constructor(config: AlbertConfig) {
    super(config, true);
    this.dropout = new Dropout(config.classifierDropoutProb);
    this.classifier = dense(config, config.hiddenSize, config.numLabels);
  }

  protected override score({ pooled }: PooledOutput): Tensor {
    return this.classifier.forward(this.dropout.forward(pooled!)); // (B, L)
  }
}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = AlbertForTokenClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 2]
 */
export class AlbertForTokenClassification extends heads.TokenClassification {}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = AlbertForQuestionAnswering.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).startLogits.shape; // [1, 3]
 */
export class AlbertForQuestionAnswering extends heads.QuestionAnswering {}
