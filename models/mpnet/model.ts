// MPNet (Song et al. 2020): BERT's layers, whose scores of attention know the distance of two tokens.
import { add, permute, reshape } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { BertEmbeddings, BertLayer, encodeTokens, selfAttend, selfProjections } from '../bert/model.ts';
import type { BaseModelOptions } from '../bert/model.ts';
import { Module } from '../module.ts';
import type { Attended } from '../nn/attend.ts';
import { byDistance } from '../nn/by-distance.ts';
import { Dropout } from '../nn/dropout.ts';
import { Embedding } from '../nn/embedding.ts';
import type { Linear } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import { normalInit } from '../parameter.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { RobertaLMHead } from '../roberta/model.ts';
import { ClassificationHead, dense, encoderHeads, FirstTokenPooler } from '../transformer/encoder-heads.ts';
import type { PooledOutput, TokenHead } from '../transformer/encoder-heads.ts';
import type { TokenInputs } from '../transformer/inputs.ts';
import { runLayers } from '../transformer/layers.ts';
import type { EncoderOutput } from '../transformer/outputs.ts';
import { MPNetConfig } from './config.ts';

/** The row of padding in the tables of words and positions, whatever padTokenId says. */
const padding = 1;

/**
 * The bucket of each distance of a key from a query, `key - query` (Raffel et al. 2020, section 2.1): half of
 * 32 for keys behind the query; near ones each their own, farther ones by logarithm up to 128.
 */
function relativeBucket(distance: number): number {
  const [half, exact, farthest] = [16, 8, 128];
  const steps = Math.abs(distance);
  const far = Math.log(Math.fround(steps / exact)) / Math.log(farthest / exact);
  const own = steps < exact ? steps : Math.min(exact + Math.trunc(Math.fround(far * (half - exact))), half - 1);
  return (distance > 0 ? half : 0) + own;
}

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
    return { hidden: this.LayerNorm.forward(add(this.dropout.forward(hidden), x)), weights };
  }
}

class MPNetEncoder extends Module {
  readonly layer: readonly BertLayer<Tensor, MPNetAttention>[];
  readonly relativeAttentionBias: Embedding;

  constructor(config: MPNetConfig) {
    super();
    const { numHiddenLayers, relativeAttentionNumBuckets, numAttentionHeads, initializerRange } = config;
    this.layer = Array.from({ length: numHiddenLayers }, () => new BertLayer(config, new MPNetAttention(config)));
    this.relativeAttentionBias = new Embedding(relativeAttentionNumBuckets, numAttentionHeads, {
      weightInit: normalInit(initializerRange),
    });
  }

  /** x (B, T, D) -> (B, T, D) and what was asked for; the mask is added to the scores (B, H, T, T). */
  override forward(x: Tensor, mask: Tensor | undefined, options: TokenInputs): EncoderOutput {
    const length = x.shape[1]!;
    const biases = this.relativeAttentionBias.forward(byDistance(length, relativeBucket)); // (T, T, H)
    const positions = reshape(permute(biases, [2, 0, 1]), [1, -1, length, length]); // (1, H, T, T)
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

/** Tokens to one vector for each, and one for the whole from <s>. */
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

export class MPNetForTokenClassification extends heads.TokenClassification {}

export class MPNetForQuestionAnswering extends heads.QuestionAnswering {}
