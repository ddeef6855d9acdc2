// Gemma 2 (Gemma Team 2024) and the text part of Gemma 3 (2025): norms before and behind each part, weights
// of norms counted from 1, scaled embeddings, and windows in most layers. Gemma 2 caps scores and logits;
// Gemma 3 normalises queries and keys, and turns them by other frequencies where there is a window.
import { add, mul, rmsNorm } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { RMSNorm } from '../nn/norm.ts';
import { RotaryEmbedding } from '../nn/rotary.ts';
import type { Rotation } from '../nn/rotary.ts';
import { zerosInit } from '../parameter.ts';
import { rotaryClassifierOf } from '../transformer/decoder-classifier.ts';
import { headSize, layerType, windowOf } from '../transformer/decoder-config.ts';
import type { DecoderConfig } from '../transformer/decoder-config.ts';
import { addAttention, addFeedForward } from '../transformer/layers.ts';
import type { LayerOutput } from '../transformer/layers.ts';
import { causalLMOf, GatedMLP, ProjectedAttention, RotaryDecoder } from '../transformer/rotary-decoder.ts';
import type { AttentionParts, LayerInputs } from '../transformer/rotary-decoder.ts';
import { Gemma2Config, gemma2Layers, gemma3Layers, Gemma3TextConfig } from './config.ts';

/** What both configs have. */
type GemmaConfig = DecoderConfig & Omit<Gemma3TextConfig, 'modelType' | 'ropeLocalBaseFreq' | 'slidingWindowPattern'>;

/** x / sqrt(mean(x^2) + eps) * (1 + weight) over the last axis; weight 0 at first. */
class GemmaRMSNorm extends RMSNorm {
  constructor(dim: number, { rmsNormEps: eps }: Pick<GemmaConfig, 'rmsNormEps'>) {
    super(dim, { eps, weightInit: zerosInit });
  }

  override forward(x: Tensor): Tensor {
    return rmsNorm(x, add(this.weight, 1), this.eps); // as x
  }
}

class GemmaDecoderLayer extends Module {
  static override readonly keys = {
    inputNorm: 'input_layernorm',
    postAttentionNorm: 'post_attention_layernorm',
    preFeedforwardNorm: 'pre_feedforward_layernorm',
    postFeedforwardNorm: 'post_feedforward_layernorm',
  };

  readonly selfAttn: ProjectedAttention;
  readonly mlp: GatedMLP;
  readonly inputNorm: GemmaRMSNorm;
  readonly postAttentionNorm: GemmaRMSNorm;
  readonly preFeedforwardNorm: GemmaRMSNorm;
  readonly postFeedforwardNorm: GemmaRMSNorm;

  constructor(config: GemmaConfig, attention: ProjectedAttention) {
    super();
    const norm = (): GemmaRMSNorm => new GemmaRMSNorm(config.hiddenSize, config);
    this.selfAttn = attention;
    this.mlp = new GatedMLP(config, config.hiddenActivation);
    this.inputNorm = norm();
    this.postAttentionNorm = norm();
    this.preFeedforwardNorm = norm();
    this.postFeedforwardNorm = norm();
  }

  override forward(x: Tensor, inputs: LayerInputs): LayerOutput {
    const { hidden, weights } = this.selfAttn.forward(this.inputNorm.forward(x), inputs);
    const y = addAttention(x, this.postAttentionNorm.forward(hidden)); // (B, T, D)
    const z = this.mlp.forward(this.preFeedforwardNorm.forward(y));
    return { hidden: addFeedForward(y, this.postFeedforwardNorm.forward(z)), weights };
  }
}

abstract class GemmaKind<C extends GemmaConfig> extends RotaryDecoder<C, GemmaDecoderLayer> {
  protected abstract attention(index: number): ProjectedAttention;

  protected override layer(index: number): GemmaDecoderLayer {
    return new GemmaDecoderLayer(this.config, this.attention(index));
  }

  protected override finalNorm(): GemmaRMSNorm {
    return new GemmaRMSNorm(this.config.hiddenSize, this.config);
  }

  protected override embed(inputIds: Tensor): Tensor {
    return mul(super.embed(inputIds), Math.sqrt(this.config.hiddenSize));
  }
}

const scaleOf = ({ queryPreAttnScalar }: Pick<GemmaConfig, 'queryPreAttnScalar'>): number => queryPreAttnScalar ** -0.5;

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1 };
 * const config = { ...shape, numAttentionHeads: 2, numKeyValueHeads: 1 };
 * const model = Gemma2Model.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).lastHiddenState.shape; // [1, 3, 8]
 */
export class Gemma2Model extends GemmaKind<Gemma2Config> {
  static readonly configFormat = Gemma2Config;

  protected override attention(index: number): ProjectedAttention {
    const { config } = this;
    return new ProjectedAttention(config, {
      bias: config.attentionBias,
      scale: scaleOf(config),
      softCap: config.attnLogitSoftcapping ?? undefined,
      slidingWindow: windowOf(config, index, gemma2Layers),
    });
  }
}

class Gemma3Attention extends ProjectedAttention {
  readonly qNorm: GemmaRMSNorm;
  readonly kNorm: GemmaRMSNorm;

  constructor(config: Gemma3TextConfig, parts: AttentionParts) {
    super(config, parts);
    this.qNorm = new GemmaRMSNorm(headSize(config), config);
    this.kNorm = new GemmaRMSNorm(headSize(config), config);
  }

  protected override project(x: Tensor): readonly [Tensor, Tensor, Tensor] {
    const [q, k, v] = super.project(x);
    return [this.qNorm.forward(q), this.kNorm.forward(k), v];
  }
}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1 };
 * const config = { ...shape, numAttentionHeads: 2, numKeyValueHeads: 1 };
 * const model = Gemma3TextModel.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).lastHiddenState.shape; // [1, 3, 8]
 */
export class Gemma3TextModel extends GemmaKind<Gemma3TextConfig> {
  static readonly configFormat = Gemma3TextConfig;

  /** Turns the layers that have a window. */
  readonly rotaryEmbLocal: RotaryEmbedding;

  constructor(config: Gemma3TextConfig) {
    super(config);
    const { ropeLocalBaseFreq: theta, maxPositionEmbeddings: maxPositions } = config;
    this.rotaryEmbLocal = new RotaryEmbedding(headSize(config), { theta, maxPositions });
  }

  protected override attention(index: number): ProjectedAttention {
    const { config } = this;
    const slidingWindow = windowOf(config, index, gemma3Layers);
    return new Gemma3Attention(config, { bias: config.attentionBias, scale: scaleOf(config), slidingWindow });
  }

  protected override rotations(positions: Tensor, textLengths?: Tensor): (layer: number) => Rotation | undefined {
    const [full, local] = [super.rotations(positions, textLengths), this.rotaryEmbLocal.forward(positions)];
    return (layer) => (layerType(this.config, layer, gemma3Layers) === 'full_attention' ? full(layer) : local);
  }
}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1 };
 * const config = { ...shape, numAttentionHeads: 2, numKeyValueHeads: 1 };
 * const model = Gemma2ForCausalLM.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 50]
 */
export class Gemma2ForCausalLM extends causalLMOf(Gemma2Model) {}
/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1 };
 * const config = { ...shape, numAttentionHeads: 2, numKeyValueHeads: 1 };
 * const model = Gemma3ForCausalLM.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 50]
 */
export class Gemma3ForCausalLM extends causalLMOf(Gemma3TextModel) {}
/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1 };
 * const config = { ...shape, numAttentionHeads: 2, numKeyValueHeads: 1 };
 * const model = Gemma2ForSequenceClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 2]
 */
export class Gemma2ForSequenceClassification extends rotaryClassifierOf(Gemma2Model) {}
/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1 };
 * const config = { ...shape, numAttentionHeads: 2, numKeyValueHeads: 1 };
 * const model = Gemma3TextForSequenceClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 2]
 */
export class Gemma3TextForSequenceClassification extends rotaryClassifierOf(Gemma3TextModel) {}
