// OPT (Zhang et al. 2022): a decoder with learned positions, ReLU, and norms before or behind each part.
import { add, arange, cast, cumsum, mul, ne, sub } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { hookPoint } from '../hooks/points.ts';
import { Module } from '../module.ts';
import { activate } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import { additiveMask } from '../nn/attend.ts';
import { Dropout } from '../nn/dropout.ts';
import { Embedding } from '../nn/embedding.ts';
import type { Linear } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import { normalInit } from '../parameter.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { classifierOf } from '../transformer/decoder-classifier.ts';
import { CausalLM, lmHead } from '../transformer/causal-lm.ts';
import { checkDecoderInputs } from '../transformer/inputs.ts';
import type { DecoderInputs } from '../transformer/inputs.ts';
import { addAttention, addFeedForward, runLayers } from '../transformer/layers.ts';
import type { LayerOutput } from '../transformer/layers.ts';
import type { EncoderOutput } from '../transformer/outputs.ts';
import { CausalAttention, projection } from '../transformer/rotary-decoder.ts';
import type { LayerInputs } from '../transformer/rotary-decoder.ts';
import { OPTConfig } from './config.ts';

/** Rows of the table of positions before that of position 0. */
const offset = 2;

function dense({ initStd }: OPTConfig, inFeatures: number, outFeatures: number, bias: boolean): Linear {
  return projection({ initializerRange: initStd }, inFeatures, outFeatures, bias);
}

class OPTAttention extends CausalAttention {
  readonly kProj: Linear;
  readonly vProj: Linear;
  readonly qProj: Linear;
  readonly outProj: Linear;

  constructor(config: OPTConfig) {
    const { hiddenSize: dim, numAttentionHeads, enableBias } = config;
    super(config, dim / numAttentionHeads);
    this.kProj = dense(config, dim, dim, enableBias);
    this.vProj = dense(config, dim, dim, enableBias);
    this.qProj = dense(config, dim, dim, enableBias);
    this.outProj = dense(config, dim, dim, enableBias);
  }

  protected override project(x: Tensor): readonly [Tensor, Tensor, Tensor] {
    return [this.heads(this.qProj.forward(x)), this.heads(this.kProj.forward(x)), this.heads(this.vProj.forward(x))];
  }

  protected override join(heads: Tensor): Tensor {
    return this.outProj.forward(heads);
  }
}

class OPTDecoderLayer extends Module {
  readonly selfAttn: OPTAttention;
  readonly selfAttnLayerNorm: LayerNorm;
  readonly fc1: Linear;
  readonly fc2: Linear;
  readonly finalLayerNorm: LayerNorm;
  readonly dropout: Dropout;
  readonly activation: ActivationName;
  /** The norms stand before each part. */
  readonly isPreNorm: boolean;

  constructor(config: OPTConfig) {
    super();
    const { hiddenSize, ffnDim, enableBias } = config;
    this.selfAttn = new OPTAttention(config);
    this.selfAttnLayerNorm = new LayerNorm(hiddenSize);
    this.fc1 = dense(config, hiddenSize, ffnDim, enableBias);
    this.fc2 = dense(config, ffnDim, hiddenSize, enableBias);
    this.finalLayerNorm = new LayerNorm(hiddenSize);
    this.dropout = new Dropout(config.dropout);
    this.activation = config.activationFunction;
    this.isPreNorm = config.doLayerNormBefore;
  }

  override forward(x: Tensor, inputs: LayerInputs): LayerOutput {
    const before = (norm: LayerNorm, y: Tensor): Tensor => (this.isPreNorm ? norm.forward(y) : y);
    const behind = (norm: LayerNorm, y: Tensor): Tensor => (this.isPreNorm ? y : norm.forward(y));
    const { hidden, weights } = this.selfAttn.forward(before(this.selfAttnLayerNorm, x), inputs);
    const y = behind(this.selfAttnLayerNorm, addAttention(x, this.dropout.forward(hidden))); // (B, T, D)
    const z = activate(this.activation, this.fc1.forward(before(this.finalLayerNorm, y))); // (B, T, F)
    const last = behind(this.finalLayerNorm, addFeedForward(y, this.dropout.forward(this.fc2.forward(z))));
    return { hidden: this.isPreNorm ? last : hookPoint('hook_normalized_resid_post', last), weights };
  }

  override extraRepr(): string {
    return this.activation;
  }
}

class OPTDecoder extends Module {
  readonly embedTokens: Embedding;
  readonly embedPositions: Embedding;
  readonly projectOut: Linear | undefined;
  readonly projectIn: Linear | undefined;
  readonly finalLayerNorm: LayerNorm | undefined;
  readonly layers: readonly OPTDecoderLayer[];
  readonly config: OPTConfig;

  constructor(config: OPTConfig) {
    super();
    const { vocabSize, hiddenSize, maxPositionEmbeddings, padTokenId, initStd } = config;
    const width = config.wordEmbedProjDim ?? hiddenSize;
    const weightInit = normalInit(initStd);
    this.embedTokens = new Embedding(vocabSize, width, {
      ...(padTokenId === null ? {} : { paddingIdx: padTokenId }),
      weightInit,
    });
    this.embedPositions = new Embedding(maxPositionEmbeddings + offset, hiddenSize, { weightInit });
    this.projectOut = width === hiddenSize ? undefined : dense(config, hiddenSize, width, false);
    this.projectIn = width === hiddenSize ? undefined : dense(config, width, hiddenSize, false);
    const isNormed = config.doLayerNormBefore && !config.removeFinalLayerNorm;
    this.finalLayerNorm = isNormed ? new LayerNorm(hiddenSize) : undefined;
    this.layers = Array.from({ length: config.numHiddenLayers }, () => new OPTDecoderLayer(config));
    this.config = config;
  }

  override forward(inputs: DecoderInputs): EncoderOutput {
    const { vocabSize, maxPositionEmbeddings: positions } = this.config;
    checkDecoderInputs(inputs, { vocabSize, positions });
    const tokens = this.embedTokens.forward(inputs.inputIds); // (B, T, E)
    const embedded = this.projectIn ? this.projectIn.forward(tokens) : tokens; // (B, T, D)
    const x = add(embedded, this.embedPositions.forward(add(positionsOf(inputs), offset)));
    const mask = inputs.attentionMask && additiveMask(inputs.attentionMask, x.dtype); // (B, 1, 1 or T, T)
    const { documentIds, cache } = inputs;
    return runLayers(x, this.layers, {
      ...inputs,
      run: (layer, y, outputWeights, i) =>
        layer.forward(y, { rotation: undefined, mask, documentIds, outputWeights, past: cache?.layer(i) }),
      norm: (y) => {
        const normed = this.finalLayerNorm?.forward(y) ?? y;
        return this.projectOut?.forward(normed) ?? normed; // (B, T, E)
      },
    });
  }
}

/** Where a mask hides tokens, those behind them count on as if they were not there: i32 (T) or (B, T). */
function positionsOf({ inputIds, attentionMask, cache, positionIds }: DecoderInputs): Tensor {
  if (positionIds) return positionIds;
  const length = inputIds.shape[1]!;
  if (cache) return cache.positions(length);
  if (attentionMask?.ndim !== 2) return arange(0, length, 1, { dtype: 'i32' });
  const seen = cast(ne(attentionMask, 0), 'i32');
  return sub(mul(cumsum(seen, 1), seen), 1);
}

/**
 * The bare decoder: tokens to one vector for each.
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, ffnDim: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = OPTModel.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).lastHiddenState.shape; // [1, 3, 8]
 */
export class OPTModel extends PreTrainedModel<OPTConfig> {
  static readonly configFormat = OPTConfig;
  static readonly keyRules = { baseModelPrefix: 'model' };

  readonly decoder: OPTDecoder;

  constructor(config: OPTConfig) {
    super(config);
    this.decoder = new OPTDecoder(config);
  }

  override forward(inputs: DecoderInputs): EncoderOutput {
    return this.decoder.forward(inputs);
  }
}

/**
 * OPT as it was trained: predicts the next token.
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, ffnDim: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = OPTForCausalLM.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 50]
 */
export class OPTForCausalLM extends CausalLM<OPTConfig> {
  static readonly configFormat = OPTConfig;
  static readonly keyRules = OPTModel.keyRules;

  readonly model: OPTModel;
  readonly lmHead: Linear;

  constructor(config: OPTConfig) {
    super(config);
    this.model = new OPTModel(config);
    const { initStd: initializerRange, tieWordEmbeddings } = config;
    this.lmHead = lmHead({ initializerRange, tieWordEmbeddings }, this.model.decoder.embedTokens);
  }

  protected override get decoderModel(): OPTModel {
    return this.model;
  }

  protected override get positions(): number {
    return this.config.maxPositionEmbeddings;
  }
}

/**
 * OPT as a classifier of texts.
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, ffnDim: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = OPTForSequenceClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 2]
 */
export class OPTForSequenceClassification extends classifierOf(OPTModel, {
  width: ({ wordEmbedProjDim, hiddenSize }) => wordEmbedProjDim ?? hiddenSize,
  positions: ({ maxPositionEmbeddings }) => maxPositionEmbeddings,
  initializerRange: ({ initStd }) => initStd,
}) {}
