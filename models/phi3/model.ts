// Phi-3 (Abdin et al. 2024): Llama whose projections lie in one matrix each: queries, keys and values; gate
// and up.
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { activateGate } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import type { Linear } from '../nn/linear.ts';
import type { RMSNorm } from '../nn/norm.ts';
import { rotaryClassifierOf } from '../transformer/decoder-classifier.ts';
import { headSize, keyValueHeads, windowOf } from '../transformer/decoder-config.ts';
import {
  CausalAttention,
  causalLMOf,
  PreNormLayer,
  projection,
  RotaryDecoder,
  rmsNorm,
} from '../transformer/rotary-decoder.ts';
import { Phi3Config } from './config.ts';

class Phi3Attention extends CausalAttention {
  readonly oProj: Linear;
  readonly qkvProj: Linear;
  /** Numbers of queries, and of keys or values. */
  readonly widths: readonly [queries: number, keys: number];

  constructor(config: Phi3Config, layer: number) {
    const dim = headSize(config);
    super(config, dim, { slidingWindow: windowOf(config, layer) });
    const [wide, narrow] = [config.numAttentionHeads * dim, keyValueHeads(config) * dim];
    this.oProj = projection(config, wide, config.hiddenSize, false);
    this.qkvProj = projection(config, config.hiddenSize, wide + 2 * narrow, false);
    this.widths = [wide, narrow];
  }

  protected override project(x: Tensor): readonly [Tensor, Tensor, Tensor] {
    const qkv = this.qkvProj.forward(x); // (B, T, (H + 2 Hkv) D/H)
    const [wide, narrow] = this.widths;
    return [
      this.heads(qkv.narrow(-1, 0, wide)),
      this.heads(qkv.narrow(-1, wide, narrow)),
      this.heads(qkv.narrow(-1, wide + narrow, narrow)),
    ];
  }

  protected override join(heads: Tensor): Tensor {
    return this.oProj.forward(heads);
  }
}

/** down(activation(gate(x)) * up(x)). */
class Phi3MLP extends Module {
  readonly gateUpProj: Linear;
  readonly downProj: Linear;
  readonly activation: ActivationName;

  constructor(config: Phi3Config) {
    super();
    const { hiddenSize, intermediateSize, hiddenAct } = config;
    this.gateUpProj = projection(config, hiddenSize, 2 * intermediateSize, false);
    this.downProj = projection(config, intermediateSize, hiddenSize, false);
    this.activation = hiddenAct;
  }

  override forward(x: Tensor): Tensor {
    const both = this.gateUpProj.forward(x); // (B, T, 2 F)
    const width = both.shape[2]! / 2;
    const [gate, up] = [both.narrow(-1, 0, width), both.narrow(-1, width, width)]; // (B, T, F)
    return this.downProj.forward(activateGate(this.activation, gate, up)); // (B, T, D)
  }

  override extraRepr(): string {
    return this.activation;
  }
}

type Phi3Layer = PreNormLayer<Phi3Attention, Phi3MLP>;

/**
 * @example
 * const config = { hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = Phi3Model.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).lastHiddenState.shape; // [1, 3, 8]
 */
export class Phi3Model extends RotaryDecoder<Phi3Config, Phi3Layer> {
  static readonly configFormat = Phi3Config;

  protected override layer(index: number): Phi3Layer {
    const { config } = this;
    const [attention, mlp] = [new Phi3Attention(config, index), new Phi3MLP(config)];
    return new PreNormLayer(() => rmsNorm(config), attention, mlp, config.residPdrop);
  }

  protected override finalNorm(): RMSNorm {
    return rmsNorm(this.config);
  }
}

/**
 * @example
 * const config = { hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = Phi3ForCausalLM.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 32064]
 */
export class Phi3ForCausalLM extends causalLMOf(Phi3Model) {}
/**
 * @example
 * const config = { hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = Phi3ForSequenceClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 2]
 */
export class Phi3ForSequenceClassification extends rotaryClassifierOf(Phi3Model) {}
