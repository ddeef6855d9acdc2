import { add, arange, mul, permute, reshape } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import { additiveMask, attend, mergeHeads } from '../nn/attend.ts';
import type { Attended } from '../nn/attend.ts';
import { Dropout } from '../nn/dropout.ts';
import { Embedding } from '../nn/embedding.ts';
import type { LayerCache } from '../nn/kv-cache.ts';
import { Linear } from '../nn/linear.ts';
import { RMSNorm } from '../nn/norm.ts';
import { RotaryEmbedding, rotate } from '../nn/rotary.ts';
import type { Rotation } from '../nn/rotary.ts';
import { normalInit, zerosInit } from '../parameter.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { checkDecoderInputs } from '../transformer/inputs.ts';
import type { DecoderInputs } from '../transformer/inputs.ts';
import { runLayers } from '../transformer/layers.ts';
import type { EncoderOutput } from '../transformer/outputs.ts';
import { headSize, keyValueHeads, LlamaConfig, Qwen2Config, Qwen3Config } from './config.ts';

/** A linear layer with Llama's initialisation: normal weights, biases 0. */
function projection({ initializerRange }: LlamaConfig, inFeatures: number, outFeatures: number, bias: boolean): Linear {
  return new Linear(inFeatures, outFeatures, { bias, weightInit: normalInit(initializerRange), biasInit: zerosInit });
}

function norm({ hiddenSize, rmsNormEps }: LlamaConfig, dim = hiddenSize): RMSNorm {
  return new RMSNorm(dim, { eps: rmsNormEps });
}

/**
 * Causal self-attention with rotary positions; several query heads share a head of keys and values (Ainslie
 * et al. 2023).
 */
class LlamaAttention extends Module {
  readonly qProj: Linear;
  readonly kProj: Linear;
  readonly vProj: Linear;
  readonly oProj: Linear;
  /** Qwen3 normalises each head before it is turned. */
  readonly qNorm: RMSNorm | undefined;
  readonly kNorm: RMSNorm | undefined;
  readonly dropout: Dropout;
  readonly headDim: number;

  constructor(config: LlamaConfig) {
    super();
    const { hiddenSize, numAttentionHeads, attentionBias: bias, attentionDropout, modelType } = config;
    const dim = headSize(config);
    const [wide, narrow] = [numAttentionHeads * dim, keyValueHeads(config) * dim];
    this.qProj = projection(config, hiddenSize, wide, bias);
    this.kProj = projection(config, hiddenSize, narrow, bias);
    this.vProj = projection(config, hiddenSize, narrow, bias);
    this.oProj = projection(config, wide, hiddenSize, bias && modelType !== 'qwen2');
    this.qNorm = modelType === 'qwen3' ? norm(config, dim) : undefined;
    this.kNorm = modelType === 'qwen3' ? norm(config, dim) : undefined;
    this.dropout = new Dropout(attentionDropout);
    this.headDim = dim;
  }

  /**
   * x (B, T, D) -> (B, T, D); the mask is added to the scores (B, H, T, T). With `past`, x are the tokens
   * after those of the cache.
   */
  override forward(
    x: Tensor,
    rotation: Rotation,
    mask: Tensor | undefined,
    outputWeights: boolean,
    past?: LayerCache,
  ): Attended {
    const q = this.#heads(this.qProj.forward(x), this.qNorm, rotation); // (B, H, T, D/H)
    const k = this.#heads(this.kProj.forward(x), this.kNorm, rotation); // (B, Hkv, T, D/H), as a cache keeps them
    const v = this.#heads(this.vProj.forward(x)); // (B, Hkv, T, D/H)
    if (past) return { hidden: this.oProj.forward(mergeHeads(past.attend(q, k, v))) };
    const { hidden, weights } = attend(q, k, v, { mask, causal: true, dropout: this.dropout, outputWeights });
    return { hidden: this.oProj.forward(hidden), weights };
  }

  /** A projection (B, T, H D) by head, (B, H, T, D), normalised and turned where told. */
  #heads(x: Tensor, headNorm?: RMSNorm, rotation?: Rotation): Tensor {
    const [batch, length] = x.shape as [number, number];
    let heads = reshape(x, [batch, length, -1, this.headDim]); // (B, T, H, D/H)
    if (headNorm) heads = headNorm.forward(heads);
    if (rotation) heads = rotate(heads, rotation);
    return permute(heads, [0, 2, 1, 3]);
  }

  override extraRepr(): string {
    const heads = (x: Linear): number => x.weight.shape[0]! / this.headDim;
    return `heads: ${heads(this.qProj)}, of keys and values: ${heads(this.kProj)}`;
  }
}

/** down(activation(gate(x)) * up(x)): with silu, SwiGLU (Shazeer 2020). */
class LlamaMLP extends Module {
  readonly gateProj: Linear;
  readonly upProj: Linear;
  readonly downProj: Linear;
  readonly activation: ActivationName;

  constructor(config: LlamaConfig) {
    super();
    const { hiddenSize, intermediateSize, mlpBias, hiddenAct } = config;
    this.gateProj = projection(config, hiddenSize, intermediateSize, mlpBias);
    this.upProj = projection(config, hiddenSize, intermediateSize, mlpBias);
    this.downProj = projection(config, intermediateSize, hiddenSize, mlpBias);
    this.activation = hiddenAct;
  }

  override forward(x: Tensor): Tensor {
    const gate = activations[this.activation](this.gateProj.forward(x)); // (B, T, F)
    return this.downProj.forward(mul(gate, this.upProj.forward(x))); // (B, T, D)
  }

  override extraRepr(): string {
    return this.activation;
  }
}

/**
 * Causal self-attention and a gated feed-forward part, each normalised before and added to what went in
 * (pre-LN).
 */
class LlamaDecoderLayer extends Module {
  static override readonly keys = { inputNorm: 'input_layernorm', postAttentionNorm: 'post_attention_layernorm' };

  readonly inputNorm: RMSNorm;
  readonly selfAttn: LlamaAttention;
  readonly postAttentionNorm: RMSNorm;
  readonly mlp: LlamaMLP;

  constructor(config: LlamaConfig) {
    super();
    this.inputNorm = norm(config);
    this.selfAttn = new LlamaAttention(config);
    this.postAttentionNorm = norm(config);
    this.mlp = new LlamaMLP(config);
  }

  /**
   * x (B, T, D) -> (B, T, D); the mask is added to the scores (B, H, T, T). With `past`, x are the tokens
   * after those of the cache.
   */
  override forward(x: Tensor, rotation: Rotation, mask?: Tensor, outputWeights = false, past?: LayerCache): Attended {
    const { hidden, weights } = this.selfAttn.forward(this.inputNorm.forward(x), rotation, mask, outputWeights, past);
    const y = add(x, hidden); // (B, T, D)
    return { hidden: add(y, this.mlp.forward(this.postAttentionNorm.forward(y))), weights };
  }
}

/**
 * The bare decoder (Touvron et al. 2023): tokens to one vector for each, which knows of that token and those
 * before it.
 */
export class LlamaModel extends PreTrainedModel<LlamaConfig> {
  static readonly configFormat = LlamaConfig;
  static readonly keyRules = {
    baseModelPrefix: 'model',
    // Frequencies, which old files carry in every layer.
    ignoredKeys: /rotary_emb\.inv_freq$/,
  };

  readonly embedTokens: Embedding;
  readonly layers: readonly LlamaDecoderLayer[];
  readonly norm: RMSNorm;
  readonly rotaryEmb: RotaryEmbedding;

  constructor(config: LlamaConfig) {
    super(config);
    const { vocabSize, hiddenSize, padTokenId, initializerRange, numHiddenLayers } = config;
    this.embedTokens = new Embedding(vocabSize, hiddenSize, {
      ...(padTokenId === null ? {} : { paddingIdx: padTokenId }),
      weightInit: normalInit(initializerRange),
    });
    this.layers = Array.from({ length: numHiddenLayers }, () => new LlamaDecoderLayer(config));
    this.norm = norm(config);
    this.rotaryEmb = new RotaryEmbedding(headSize(config), {
      theta: config.ropeTheta,
      ...(config.ropeScaling ? { scaling: config.ropeScaling } : {}),
      maxPositions: config.maxPositionEmbeddings,
    });
  }

  override forward(inputs: DecoderInputs): EncoderOutput {
    const { vocabSize, maxPositionEmbeddings: positions } = this.config;
    checkDecoderInputs(inputs, { vocabSize, positions });
    const { inputIds, cache, attentionMask } = inputs;
    const length = inputIds.shape[1]!;
    const { positionIds = cache?.positions(length) ?? arange(0, length) } = inputs;
    const x = this.embedTokens.forward(inputIds); // (B, T, D)
    const rotation = this.rotaryEmb.forward(positionIds);
    const mask = attentionMask && additiveMask(attentionMask, x.dtype); // (B, 1, 1 or T, T)
    return runLayers(x, this.layers, {
      ...inputs,
      run: (layer, y, outputWeights, i) => layer.forward(y, rotation, mask, outputWeights, cache?.layer(i)),
      norm: (y) => this.norm.forward(y),
    });
  }
}

/** Llama with biases on queries, keys and values (Yang et al. 2024): Qwen2 and Qwen2.5. */
export class Qwen2Model extends LlamaModel {
  static override readonly configFormat = Qwen2Config;
}

/** Llama with queries and keys normalised by head (Yang et al. 2025). */
export class Qwen3Model extends LlamaModel {
  static override readonly configFormat = Qwen3Config;
}
