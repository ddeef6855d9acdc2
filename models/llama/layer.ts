import { add, mul } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import type { LayerCache } from '../nn/kv-cache.ts';
import type { Linear } from '../nn/linear.ts';
import type { RMSNorm } from '../nn/norm.ts';
import type { Attended } from '../nn/packed-attention.ts';
import type { Rotation } from '../nn/rotary.ts';
import { LlamaAttention } from './attention.ts';
import type { LlamaConfig } from './config.ts';
import { norm, projection } from './layers.ts';

/** down(activation(gate(x)) * up(x)): with silu, SwiGLU (Shazeer 2020). */
export class LlamaMLP extends Module {
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
export class LlamaDecoderLayer extends Module {
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
