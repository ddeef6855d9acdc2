// OLMo 2 (OLMo Team 2025): Llama with norms behind attention and feed-forward part instead of before them,
// and queries and keys normalised over all heads at once, so that training stays stable.
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { RMSNorm } from '../nn/norm.ts';
import { rotaryClassifierOf } from '../transformer/decoder-classifier.ts';
import { causalLMOf, GatedMLP, ProjectedAttention, RotaryDecoder, rmsNorm } from '../transformer/rotary-decoder.ts';
import type { LayerInputs } from '../transformer/rotary-decoder.ts';
import { addAttention, addFeedForward } from '../transformer/layers.ts';
import type { LayerOutput } from '../transformer/layers.ts';
import { Olmo2Config } from './config.ts';

class Olmo2Attention extends ProjectedAttention {
  readonly qNorm: RMSNorm;
  readonly kNorm: RMSNorm;

  constructor(config: Olmo2Config) {
    super(config, { bias: config.attentionBias });
    const options = { eps: config.rmsNormEps };
    this.qNorm = new RMSNorm(this.qProj.weight.shape[0]!, options);
    this.kNorm = new RMSNorm(this.kProj.weight.shape[0]!, options);
  }

  protected override project(x: Tensor): readonly [Tensor, Tensor, Tensor] {
    return [
      this.heads(this.qNorm.forward(this.qProj.forward(x))),
      this.heads(this.kNorm.forward(this.kProj.forward(x))),
      this.heads(this.vProj.forward(x)),
    ];
  }
}

class Olmo2DecoderLayer extends Module {
  static override readonly keys = {
    postAttentionNorm: 'post_attention_layernorm',
    postFeedforwardNorm: 'post_feedforward_layernorm',
  };

  readonly selfAttn: Olmo2Attention;
  readonly mlp: GatedMLP;
  readonly postAttentionNorm: RMSNorm;
  readonly postFeedforwardNorm: RMSNorm;

  constructor(config: Olmo2Config) {
    super();
    this.selfAttn = new Olmo2Attention(config);
    this.mlp = new GatedMLP(config, config.hiddenAct);
    this.postAttentionNorm = rmsNorm(config);
    this.postFeedforwardNorm = rmsNorm(config);
  }

  override forward(x: Tensor, inputs: LayerInputs): LayerOutput {
    const { hidden, weights } = this.selfAttn.forward(x, inputs);
    const y = addAttention(x, this.postAttentionNorm.forward(hidden)); // (B, T, D)
    return { hidden: addFeedForward(y, this.postFeedforwardNorm.forward(this.mlp.forward(y))), weights };
  }
}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = Olmo2Model.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).lastHiddenState.shape; // [1, 3, 8]
 */
export class Olmo2Model extends RotaryDecoder<Olmo2Config, Olmo2DecoderLayer> {
  static readonly configFormat = Olmo2Config;

  protected override layer(): Olmo2DecoderLayer {
    return new Olmo2DecoderLayer(this.config);
  }

  protected override finalNorm(): RMSNorm {
    return rmsNorm(this.config);
  }
}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = Olmo2ForCausalLM.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 50]
 */
export class Olmo2ForCausalLM extends causalLMOf(Olmo2Model) {}
/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = Olmo2ForSequenceClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 2]
 */
export class Olmo2ForSequenceClassification extends rotaryClassifierOf(Olmo2Model) {}
