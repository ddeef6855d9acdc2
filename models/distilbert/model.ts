// DistilBERT (Sanh et al. 2019): BERT's layers, half as many, without token types and pooler.
import { relu, select, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { BertEmbeddings, encodeTokens, selfAttend, selfProjections } from '../bert/model.ts';
import { hookPoint } from '../hooks/points.ts';
import { Module } from '../module.ts';
import { activate, activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import type { Attended } from '../nn/attend.ts';
import { Dropout } from '../nn/dropout.ts';
import type { Linear } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import type { Initializer } from '../parameter.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { dense, encoderHeads, tokenHead } from '../transformer/encoder-heads.ts';
import type { PooledOutput, TokenHead } from '../transformer/encoder-heads.ts';
import type { TokenInputs } from '../transformer/inputs.ts';
import { addAttention, addFeedForward, runLayers } from '../transformer/layers.ts';
import type { EncoderOutput } from '../transformer/outputs.ts';
import { DistilBertConfig } from './config.ts';

const eps = 1e-12;

/** Sines in the even columns, cosines in the odd ones (Vaswani et al. 2017, section 3.5). */
const interleavedSines: Initializer = ([count, dim]) => {
  const values = Float32Array.from({ length: count! * dim! }, (_, i) => {
    const [position, column] = [Math.floor(i / dim!), i % dim!];
    const angle = position / 10000 ** ((2 * Math.floor(column / 2)) / dim!);
    return column % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
  });
  return tensor(values, { shape: [count!, dim!] });
};

class DistilBertAttention extends Module {
  qLin: Linear;
  kLin: Linear;
  vLin: Linear;
  readonly outLin: Linear;
  readonly dropout: Dropout;
  readonly headDim: number;

  constructor(config: DistilBertConfig) {
    super();
    const { dim, nHeads, attentionDropout, initializerRange } = config;
    [this.qLin, this.kLin, this.vLin] = selfProjections(dim, initializerRange);
    this.outLin = dense(config, dim, dim);
    this.dropout = new Dropout(attentionDropout);
    this.headDim = dim / nHeads;
  }

  override forward(x: Tensor, mask: Tensor | undefined, outputWeights: boolean): Attended {
    const { qLin, kLin, vLin, dropout, headDim } = this;
    const { hidden, weights } = selfAttend([qLin, kLin, vLin], x, { headDim, mask, dropout, outputWeights });
    return { hidden: this.outLin.forward(hidden), weights };
  }
}

class DistilBertFeedForward extends Module {
  readonly lin1: Linear;
  readonly lin2: Linear;
  readonly dropout: Dropout;
  readonly activation: ActivationName;

  constructor(config: DistilBertConfig) {
    super();
    this.lin1 = dense(config, config.dim, config.hiddenDim);
    this.lin2 = dense(config, config.hiddenDim, config.dim);
    this.dropout = new Dropout(config.dropout);
    this.activation = config.activation;
  }

  override forward(x: Tensor): Tensor {
    const hidden = activate(this.activation, this.lin1.forward(x)); // (B, T, F)
    return this.dropout.forward(this.lin2.forward(hidden)); // (B, T, D)
  }

  override extraRepr(): string {
    return this.activation;
  }
}

class DistilBertLayer extends Module {
  readonly attention: DistilBertAttention;
  readonly saLayerNorm: LayerNorm;
  readonly ffn: DistilBertFeedForward;
  readonly outputLayerNorm: LayerNorm;

  constructor(config: DistilBertConfig) {
    super();
    this.attention = new DistilBertAttention(config);
    this.saLayerNorm = new LayerNorm(config.dim, { eps });
    this.ffn = new DistilBertFeedForward(config);
    this.outputLayerNorm = new LayerNorm(config.dim, { eps });
  }

  /** x (B, T, D) -> (B, T, D); the mask is added to the scores (B, H, T, T). */
  override forward(x: Tensor, mask: Tensor | undefined, outputWeights: boolean): Attended {
    const { hidden, weights } = this.attention.forward(x, mask, outputWeights); // (B, T, D)
    const y = this.saLayerNorm.forward(addAttention(x, hidden));
    const last = this.outputLayerNorm.forward(addFeedForward(y, this.ffn.forward(y)));
    return { hidden: hookPoint('hook_normalized_resid_post', last), weights };
  }
}

class DistilBertTransformer extends Module {
  readonly layer: readonly DistilBertLayer[];

  constructor(config: DistilBertConfig) {
    super();
    this.layer = Array.from({ length: config.nLayers }, () => new DistilBertLayer(config));
  }

  override forward(x: Tensor, mask: Tensor | undefined, options: TokenInputs): EncoderOutput {
    const run = (layer: DistilBertLayer, y: Tensor, weights: boolean): Attended => layer.forward(y, mask, weights);
    return runLayers(x, this.layer, { ...options, run });
  }
}

/** What all DistilBERT classes have in common. */
abstract class DistilBertPreTrainedModel extends PreTrainedModel<DistilBertConfig> {
  static readonly configFormat = DistilBertConfig;
  static readonly keyRules = { baseModelPrefix: 'distilbert', ignoredKeys: /(^|\.)embeddings\.position_ids$/ };
}

/**
 * Tokens to one vector for each.
 *
 * @example
 * const config = { vocabSize: 50, dim: 8, hiddenDim: 16, nLayers: 1, nHeads: 2 };
 * const model = DistilBertModel.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).lastHiddenState.shape; // [1, 3, 8]
 */
export class DistilBertModel extends DistilBertPreTrainedModel {
  readonly embeddings: BertEmbeddings;
  readonly transformer: DistilBertTransformer;

  constructor(config: DistilBertConfig) {
    super(config);
    const { dim, dropout, sinusoidalPosEmbds } = config;
    const shape = { ...config, hiddenSize: dim, hiddenDropoutProb: dropout, layerNormEps: eps, typeVocabSize: 0 };
    this.embeddings = new BertEmbeddings(shape, sinusoidalPosEmbds ? { positionsInit: interleavedSines } : {});
    this.transformer = new DistilBertTransformer(config);
  }

  override forward(inputs: TokenInputs): PooledOutput {
    return encodeTokens({ embeddings: this.embeddings, encoder: this.transformer }, inputs);
  }
}

const heads = encoderHeads<
  'distilbert',
  TokenInputs,
  DistilBertConfig,
  typeof DistilBertPreTrainedModel,
  DistilBertModel
>(DistilBertPreTrainedModel, {
  prefix: 'distilbert',
  encoder: (config) => new DistilBertModel(config),
  dim: ({ dim }) => dim,
  dropout: ({ dropout }) => dropout,
  answerDropout: ({ qaDropout }) => qaDropout,
});

/**
 * @example
 * const config = { vocabSize: 50, dim: 8, hiddenDim: 16, nLayers: 1, nHeads: 2 };
 * const model = DistilBertForMaskedLM.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 50]
 */
export class DistilBertForMaskedLM extends heads.MaskedLM {
  readonly vocabTransform: Linear;
  readonly vocabLayerNorm: LayerNorm;
  readonly vocabProjector: Linear;

  constructor(config: DistilBertConfig) {
    super(config);
    const { dim, vocabSize, tieWordEmbeddings } = config;
    const { weight } = this.distilbert.embeddings.wordEmbeddings;
    this.vocabTransform = dense(config, dim, dim);
    this.vocabLayerNorm = new LayerNorm(dim, { eps });
    this.vocabProjector = dense(config, dim, vocabSize, tieWordEmbeddings ? { weight } : {});
  }

  protected override get tokenHead(): TokenHead {
    return tokenHead(this.vocabProjector, (hidden) => {
      const x = activations[this.config.activation](this.vocabTransform.forward(hidden));
      return this.vocabLayerNorm.forward(x); // (B, T, D)
    });
  }
}

/**
 * classifier(dropout(relu(dense(x)))) of the first token.
 *
 * @example
 * const config = { vocabSize: 50, dim: 8, hiddenDim: 16, nLayers: 1, nHeads: 2 };
 * const model = DistilBertForSequenceClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 2]
 */
export class DistilBertForSequenceClassification extends heads.SequenceClassification {
  readonly preClassifier: Linear;
  readonly classifier: Linear;
  readonly dropout: Dropout;

  constructor(config: DistilBertConfig) {
    super(config);
    this.preClassifier = dense(config, config.dim, config.dim);
    this.classifier = dense(config, config.dim, config.numLabels);
    this.dropout = new Dropout(config.seqClassifDropout);
  }

  protected override score({ lastHiddenState }: PooledOutput): Tensor {
    const x = relu(this.preClassifier.forward(select(lastHiddenState, 1, 0))); // (B, D)
    return this.classifier.forward(this.dropout.forward(x)); // (B, L)
  }
}

/**
 * @example
 * const config = { vocabSize: 50, dim: 8, hiddenDim: 16, nLayers: 1, nHeads: 2 };
 * const model = DistilBertForTokenClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 2]
 */
export class DistilBertForTokenClassification extends heads.TokenClassification {}

/**
 * @example
 * const config = { vocabSize: 50, dim: 8, hiddenDim: 16, nLayers: 1, nHeads: 2 };
 * const model = DistilBertForQuestionAnswering.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).startLogits.shape; // [1, 3]
 */
export class DistilBertForQuestionAnswering extends heads.QuestionAnswering {}
