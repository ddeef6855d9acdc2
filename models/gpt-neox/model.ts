// GPT-NeoX (Black et al. 2022) and Pythia: LayerNorm, attention beside the feed-forward part instead of
// before it, and rotary positions in a part of each head.
import { add, reshape } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { hookPoint } from '../hooks/points.ts';
import { Module } from '../module.ts';
import { activate } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import { Dropout } from '../nn/dropout.ts';
import type { Linear } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import { rotaryClassifierOf } from '../transformer/decoder-classifier.ts';
import { headSize } from '../transformer/decoder-config.ts';
import { addAttention, addFeedForward } from '../transformer/layers.ts';
import type { LayerOutput } from '../transformer/layers.ts';
import { CausalAttention, causalLMOf, projection, RotaryDecoder } from '../transformer/rotary-decoder.ts';
import type { LayerInputs } from '../transformer/rotary-decoder.ts';
import { GPTNeoXConfig } from './config.ts';

class GPTNeoXAttention extends CausalAttention {
  readonly queryKeyValue: Linear;
  readonly dense: Linear;

  constructor(config: GPTNeoXConfig) {
    super(config, headSize(config));
    const { hiddenSize, attentionBias } = config;
    this.queryKeyValue = projection(config, hiddenSize, 3 * hiddenSize, attentionBias);
    this.dense = projection(config, hiddenSize, hiddenSize, attentionBias);
  }

  /** A head's query, key and value lie side by side. */
  protected override project(x: Tensor): readonly [Tensor, Tensor, Tensor] {
    const [batch, length] = x.shape as [number, number];
    const { headDim } = this;
    const qkv = reshape(this.queryKeyValue.forward(x), [batch, length, -1, 3 * headDim]); // (B, T, H, 3 D/H)
    const part = (i: number): Tensor => qkv.narrow(-1, i * headDim, headDim);
    return [part(0), part(1), part(2)];
  }

  protected override join(heads: Tensor): Tensor {
    return this.dense.forward(heads);
  }
}

class GPTNeoXMLP extends Module {
  static override readonly keys = { up: 'dense_h_to_4h', down: 'dense_4h_to_h' };

  readonly up: Linear;
  readonly down: Linear;
  readonly activation: ActivationName;

  constructor(config: GPTNeoXConfig) {
    super();
    const { hiddenSize, intermediateSize, hiddenAct } = config;
    this.up = projection(config, hiddenSize, intermediateSize, true);
    this.down = projection(config, intermediateSize, hiddenSize, true);
    this.activation = hiddenAct;
  }

  override forward(x: Tensor): Tensor {
    return this.down.forward(activate(this.activation, this.up.forward(x))); // (B, T, D)
  }

  override extraRepr(): string {
    return this.activation;
  }
}

const layerNorm = ({ hiddenSize, layerNormEps }: GPTNeoXConfig): LayerNorm =>
  new LayerNorm(hiddenSize, { eps: layerNormEps });

class GPTNeoXLayer extends Module {
  static override readonly keys = { inputNorm: 'input_layernorm', postAttentionNorm: 'post_attention_layernorm' };

  readonly inputNorm: LayerNorm;
  readonly postAttentionNorm: LayerNorm;
  readonly attention: GPTNeoXAttention;
  readonly mlp: GPTNeoXMLP;
  readonly dropout: Dropout;
  readonly isParallel: boolean;

  constructor(config: GPTNeoXConfig) {
    super();
    this.inputNorm = layerNorm(config);
    this.postAttentionNorm = layerNorm(config);
    this.attention = new GPTNeoXAttention(config);
    this.mlp = new GPTNeoXMLP(config);
    this.dropout = new Dropout(config.hiddenDropout);
    this.isParallel = config.useParallelResidual;
  }

  override forward(x: Tensor, inputs: LayerInputs): LayerOutput {
    const { hidden, weights } = this.attention.forward(this.inputNorm.forward(x), inputs);
    const attended = this.dropout.forward(hidden);
    // Side by side there is no middle.
    const y = this.isParallel ? add(x, hookPoint('hook_attn_out', attended)) : addAttention(x, attended); // (B, T, D)
    const z = this.mlp.forward(this.postAttentionNorm.forward(this.isParallel ? x : y));
    return { hidden: addFeedForward(y, this.dropout.forward(z)), weights };
  }

  override extraRepr(): string {
    return this.isParallel ? 'parallel' : '';
  }
}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 16, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = GPTNeoXModel.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).lastHiddenState.shape; // [1, 3, 16]
 */
export class GPTNeoXModel extends RotaryDecoder<GPTNeoXConfig, GPTNeoXLayer> {
  static readonly configFormat = GPTNeoXConfig;
  static override readonly keyRules = {
    baseModelPrefix: 'gpt_neox',
    // The causal mask and the frequencies, which old files carry in every layer.
    ignoredKeys: /attention\.(bias|masked_bias|rotary_emb\.inv_freq)$/,
  };
  static override readonly keys = { embedTokens: 'embed_in', norm: 'final_layer_norm' };

  readonly embDropout: Dropout;

  constructor(config: GPTNeoXConfig) {
    super(config);
    this.embDropout = new Dropout(config.hiddenDropout);
  }

  protected override layer(): GPTNeoXLayer {
    return new GPTNeoXLayer(this.config);
  }

  protected override finalNorm(): LayerNorm {
    return layerNorm(this.config);
  }

  protected override paddingIdx(): null {
    return null;
  }

  protected override embed(inputIds: Tensor): Tensor {
    return this.embDropout.forward(super.embed(inputIds));
  }
}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 16, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = GPTNeoXForCausalLM.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 50]
 */
export class GPTNeoXForCausalLM extends causalLMOf(GPTNeoXModel) {
  static override readonly keys = { model: 'gpt_neox', lmHead: 'embed_out' };
}
/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 16, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = GPTNeoXForSequenceClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 2]
 */
export class GPTNeoXForSequenceClassification extends rotaryClassifierOf(GPTNeoXModel) {}
