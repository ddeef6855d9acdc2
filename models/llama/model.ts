// Llama, and the families that differ from it by their settings: Mistral, Qwen2, Qwen3, SmolLM3.
import type { Tensor } from '../../autograd/index.ts';
import { RMSNorm } from '../nn/norm.ts';
import type { Rotation } from '../nn/rotary.ts';
import { headSize, windowOf } from '../transformer/decoder-config.ts';
import type { DecoderConfig } from '../transformer/decoder-config.ts';
import { GatedMLP, PreNormLayer, ProjectedAttention, RotaryDecoder, rmsNorm } from '../transformer/rotary-decoder.ts';
import type { AttentionParts } from '../transformer/rotary-decoder.ts';
import { LlamaConfig, MistralConfig, Qwen2Config, qwenLayers, Qwen3Config } from './config.ts';
import { SmolLM3Config, smolLM3Layers, turns } from './config.ts';

/** Llama's layers and last norm; `attention` builds the attention of one layer. */
abstract class LlamaKind<
  C extends DecoderConfig & Pick<LlamaConfig, 'hiddenAct' | 'intermediateSize' | 'rmsNormEps'>,
> extends RotaryDecoder<C, PreNormLayer> {
  protected abstract attention(index: number): ProjectedAttention;

  protected override layer(index: number): PreNormLayer {
    const { config } = this;
    const { mlpBias = false } = config as { readonly mlpBias?: boolean };
    const attention = this.attention(index);
    return new PreNormLayer(() => rmsNorm(config), attention, new GatedMLP(config, config.hiddenAct, mlpBias));
  }

  protected override finalNorm(): RMSNorm {
    return rmsNorm(this.config);
  }
}

/**
 * Touvron et al. 2023.
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1 };
 * const config = { ...shape, numAttentionHeads: 2, numKeyValueHeads: 1 };
 * const model = LlamaModel.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).lastHiddenState.shape; // [1, 3, 8]
 */
export class LlamaModel extends LlamaKind<LlamaConfig> {
  static readonly configFormat = LlamaConfig;

  protected override attention(): ProjectedAttention {
    return new ProjectedAttention(this.config, { bias: this.config.attentionBias });
  }
}

/**
 * Llama with attention within a sliding window (Jiang et al. 2023).
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1 };
 * const config = { ...shape, numAttentionHeads: 2, numKeyValueHeads: 1 };
 * const model = MistralModel.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).lastHiddenState.shape; // [1, 3, 8]
 */
export class MistralModel extends LlamaKind<MistralConfig> {
  static readonly configFormat = MistralConfig;

  protected override attention(index: number): ProjectedAttention {
    return new ProjectedAttention(this.config, { slidingWindow: windowOf(this.config, index) });
  }
}

/**
 * Llama with biases on queries, keys and values (Yang et al. 2024): Qwen2 and Qwen2.5.
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1 };
 * const config = { ...shape, numAttentionHeads: 2, numKeyValueHeads: 1 };
 * const model = Qwen2Model.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).lastHiddenState.shape; // [1, 3, 8]
 */
export class Qwen2Model extends LlamaKind<Qwen2Config> {
  static readonly configFormat = Qwen2Config;

  protected override attention(index: number): ProjectedAttention {
    const { config } = this;
    const slidingWindow = windowOf(config, index, qwenLayers);
    return new ProjectedAttention(config, { bias: config.attentionBias, outputBias: false, slidingWindow });
  }
}

/** Attention that normalises each head of queries and keys before it is turned. */
class Qwen3Attention extends ProjectedAttention {
  readonly qNorm: RMSNorm;
  readonly kNorm: RMSNorm;

  constructor(config: Qwen3Config, parts: AttentionParts) {
    super(config, parts);
    const options = { eps: config.rmsNormEps };
    this.qNorm = new RMSNorm(headSize(config), options);
    this.kNorm = new RMSNorm(headSize(config), options);
  }

  protected override project(x: Tensor): readonly [Tensor, Tensor, Tensor] {
    const [q, k, v] = super.project(x);
    return [this.qNorm.forward(q), this.kNorm.forward(k), v];
  }
}

/**
 * Llama with queries and keys normalised by head (Yang et al. 2025).
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1 };
 * const config = { ...shape, numAttentionHeads: 2, numKeyValueHeads: 1 };
 * const model = Qwen3Model.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).lastHiddenState.shape; // [1, 3, 8]
 */
export class Qwen3Model extends LlamaKind<Qwen3Config> {
  static readonly configFormat = Qwen3Config;

  protected override attention(index: number): ProjectedAttention {
    const { config } = this;
    const slidingWindow = windowOf(config, index, qwenLayers);
    return new Qwen3Attention(config, { bias: config.attentionBias, slidingWindow });
  }
}

/**
 * Llama whose layers are not all turned (Hugging Face 2025, "SmolLM3").
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1, padTokenId: null };
 * const config = { ...shape, numAttentionHeads: 2, numKeyValueHeads: 1 };
 * const model = SmolLM3Model.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).lastHiddenState.shape; // [1, 3, 8]
 */
export class SmolLM3Model extends LlamaKind<SmolLM3Config> {
  static readonly configFormat = SmolLM3Config;

  protected override attention(index: number): ProjectedAttention {
    const { config } = this;
    const slidingWindow = windowOf(config, index, smolLM3Layers);
    return new ProjectedAttention(config, { bias: config.attentionBias, slidingWindow });
  }

  protected override rotations(positions: Tensor, textLengths?: Tensor): (layer: number) => Rotation | undefined {
    const all = super.rotations(positions, textLengths);
    return (layer) => (turns(this.config, layer) ? all(layer) : undefined);
  }
}
