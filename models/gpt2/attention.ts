import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import type { Conv1D } from '../nn/conv1d.ts';
import { Dropout } from '../nn/dropout.ts';
import { mergeHeads, splitPacked } from '../nn/heads.ts';
import type { LayerCache } from '../nn/kv-cache.ts';
import { attendPacked } from '../nn/packed-attention.ts';
import type { Attended } from '../nn/packed-attention.ts';
import type { GPT2Config } from './config.ts';
import { projection, residualProjection } from './layers.ts';

export class GPT2Attention extends Module {
  readonly cAttn: Conv1D;
  readonly cProj: Conv1D;
  readonly attnDropout: Dropout;
  readonly residDropout: Dropout;
  readonly numHeads: number;
  /** What scores are multiplied by. */
  readonly scale: number;

  constructor(config: GPT2Config, layer: number) {
    super();
    const { nEmbd, nHead, scaleAttnWeights, scaleAttnByInverseLayerIdx } = config;
    this.cAttn = projection(config, nEmbd, 3 * nEmbd);
    this.cProj = residualProjection(config, nEmbd, nEmbd);
    this.attnDropout = new Dropout(config.attnPdrop);
    this.residDropout = new Dropout(config.residPdrop);
    this.numHeads = nHead;
    this.scale = (scaleAttnWeights ? 1 / Math.sqrt(nEmbd / nHead) : 1) / (scaleAttnByInverseLayerIdx ? layer + 1 : 1);
  }

  /**
   * x (B, T, D) -> (B, T, D); the mask is added to the scores (B, H, T, T). With `past`, x are the tokens
   * after those of the cache.
   */
  override forward(x: Tensor, mask: Tensor | undefined, outputWeights: boolean, past?: LayerCache): Attended {
    const qkv = this.cAttn.forward(x); // (B, T, 3 D)
    const { numHeads: heads, scale, attnDropout: dropout } = this;
    if (past) return { hidden: this.cProj.forward(mergeHeads(past.attend(...splitPacked(qkv, heads), { scale }))) };
    const { hidden, weights } = attendPacked(qkv, { heads, mask, causal: true, scale, dropout, outputWeights });
    return { hidden: this.residDropout.forward(this.cProj.forward(hidden)), weights }; // (B, T, D)
  }
}
