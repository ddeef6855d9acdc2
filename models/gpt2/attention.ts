import { attentionWeights, matmul, scaledDotProductAttention } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import type { Conv1D } from '../nn/conv1d.ts';
import { Dropout } from '../nn/dropout.ts';
import { mergeHeads, splitPacked } from '../nn/heads.ts';
import type { GPT2Config } from './config.ts';
import { projection, residualProjection } from './layers.ts';

/** A part's output, with the attention weights (B, H, T, T) if they were asked for. */
export interface Attended {
  readonly hidden: Tensor;
  readonly weights?: Tensor;
}

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

  /** x (B, T, D) -> (B, T, D); the mask is added to the scores (B, H, T, T). */
  override forward(x: Tensor, mask: Tensor | undefined, outputWeights: boolean): Attended {
    const qkv = this.cAttn.forward(x); // (B, T, 3 D)
    const { hidden, weights } = this.#attend(qkv, mask, outputWeights); // (B, T, D)
    return { hidden: this.residDropout.forward(this.cProj.forward(hidden)), weights };
  }

  /** Causal attention on queries, keys and values that lie side by side: (B, T, 3 D) -> (B, T, D). */
  #attend(qkv: Tensor, mask: Tensor | undefined, outputWeights: boolean): Attended {
    const [q, k, v] = splitPacked(qkv, this.numHeads); // (B, H, T, D/H)
    const options = { mask, causal: true, scale: this.scale };
    if (outputWeights) {
      // As Transformers gives them: after dropout.
      const weights = this.attnDropout.forward(attentionWeights(q, k, options)); // (B, H, T, T)
      return { hidden: mergeHeads(matmul(weights, v)), weights };
    }
    const { p: dropout, training } = this.attnDropout;
    return { hidden: mergeHeads(scaledDotProductAttention(q, k, v, { ...options, dropout, training })) };
  }
}
