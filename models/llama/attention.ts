import { reshape, permute } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { attend } from '../nn/attend.ts';
import { Dropout } from '../nn/dropout.ts';
import { mergeHeads } from '../nn/heads.ts';
import type { LayerCache } from '../nn/kv-cache.ts';
import type { Linear } from '../nn/linear.ts';
import type { RMSNorm } from '../nn/norm.ts';
import type { Attended } from '../nn/packed-attention.ts';
import { rotate } from '../nn/rotary.ts';
import type { Rotation } from '../nn/rotary.ts';
import { headSize, keyValueHeads } from './config.ts';
import type { LlamaConfig } from './config.ts';
import { norm, projection } from './layers.ts';

/**
 * Causal self-attention with rotary positions; several query heads share a head of keys and values (Ainslie
 * et al. 2023).
 */
export class LlamaAttention extends Module {
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
