import { add } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import type { Conv1D } from '../nn/conv1d.ts';
import { Dropout } from '../nn/dropout.ts';
import type { LayerCache } from '../nn/kv-cache.ts';
import type { LayerNorm } from '../nn/norm.ts';
import type { Attended } from '../nn/packed-attention.ts';
import { GPT2Attention } from './attention.ts';
import type { GPT2Config } from './config.ts';
import { norm, projection, residualProjection } from './layers.ts';

export class GPT2MLP extends Module {
  readonly cFc: Conv1D;
  readonly cProj: Conv1D;
  readonly dropout: Dropout;
  readonly activation: ActivationName;

  constructor(config: GPT2Config) {
    super();
    const { nEmbd, nInner } = config;
    const hidden = nInner ?? 4 * nEmbd;
    this.cFc = projection(config, nEmbd, hidden);
    this.cProj = residualProjection(config, hidden, nEmbd);
    this.dropout = new Dropout(config.residPdrop);
    this.activation = config.activationFunction;
  }

  override forward(x: Tensor): Tensor {
    const hidden = activations[this.activation](this.cFc.forward(x)); // (B, T, F)
    return this.dropout.forward(this.cProj.forward(hidden)); // (B, T, D)
  }

  override extraRepr(): string {
    return this.activation;
  }
}

/**
 * Causal self-attention and a feed-forward part, each normalised before and added to what went in (pre-LN).
 */
export class GPT2Block extends Module {
  static override readonly keys = { ln1: 'ln_1', ln2: 'ln_2' };

  readonly ln1: LayerNorm;
  readonly attn: GPT2Attention;
  readonly ln2: LayerNorm;
  readonly mlp: GPT2MLP;

  constructor(config: GPT2Config, layer: number) {
    super();
    this.ln1 = norm(config);
    this.attn = new GPT2Attention(config, layer);
    this.ln2 = norm(config);
    this.mlp = new GPT2MLP(config);
  }

  /**
   * x (B, T, D) -> (B, T, D); the mask is added to the scores (B, H, T, T). With `past`, x are the tokens
   * after those of the cache.
   */
  override forward(x: Tensor, mask?: Tensor, outputWeights = false, past?: LayerCache): Attended {
    const { hidden, weights } = this.attn.forward(this.ln1.forward(x), mask, outputWeights, past);
    const y = add(x, hidden); // (B, T, D)
    return { hidden: add(y, this.mlp.forward(this.ln2.forward(y))), weights };
  }
}
