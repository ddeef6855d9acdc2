import { add, attentionWeights, matmul, scaledDotProductAttention } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { Dropout } from '../nn/dropout.ts';
import { mergeHeads, splitHeads } from '../nn/heads.ts';
import type { Linear } from '../nn/linear.ts';
import type { LayerNorm } from '../nn/norm.ts';
import type { BertConfig } from './config.ts';
import { dense, norm } from './layers.ts';

/** A part's output, with the attention weights (B, H, T, T) if they were asked for. */
export interface Attended {
  readonly hidden: Tensor;
  readonly weights?: Tensor;
}

export class BertSelfAttention extends Module {
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly dropout: Dropout;
  readonly numHeads: number;

  constructor(config: BertConfig) {
    super();
    this.query = dense(config, config.hiddenSize, config.hiddenSize);
    this.key = dense(config, config.hiddenSize, config.hiddenSize);
    this.value = dense(config, config.hiddenSize, config.hiddenSize);
    this.dropout = new Dropout(config.attentionProbsDropoutProb);
    this.numHeads = config.numAttentionHeads;
  }

  override forward(x: Tensor, mask: Tensor | undefined, outputWeights: boolean): Attended {
    const q = splitHeads(this.query.forward(x), this.numHeads); // (B, H, T, D/H)
    const k = splitHeads(this.key.forward(x), this.numHeads); // (B, H, T, D/H)
    const v = splitHeads(this.value.forward(x), this.numHeads); // (B, H, T, D/H)
    if (outputWeights) {
      // As Transformers gives them: after dropout.
      const weights = this.dropout.forward(attentionWeights(q, k, { mask })); // (B, H, T, T)
      return { hidden: mergeHeads(matmul(weights, v)), weights };
    }
    const y = scaledDotProductAttention(q, k, v, { mask, dropout: this.dropout.p, training: this.training }); // (B, H, T, D/H)
    return { hidden: mergeHeads(y) }; // (B, T, D)
  }
}

/** LayerNorm(dropout(dense(x)) + residual): the end of the attention and of the feed-forward part. */
export class BertOutput extends Module {
  readonly dense: Linear;
  readonly LayerNorm: LayerNorm;
  readonly dropout: Dropout;

  constructor(config: BertConfig, inFeatures: number) {
    super();
    this.dense = dense(config, inFeatures, config.hiddenSize);
    this.LayerNorm = norm(config);
    this.dropout = new Dropout(config.hiddenDropoutProb);
  }

  override forward(x: Tensor, residual: Tensor): Tensor {
    return this.LayerNorm.forward(add(this.dropout.forward(this.dense.forward(x)), residual)); // (B, T, D)
  }
}

export class BertAttention extends Module {
  readonly self: BertSelfAttention;
  readonly output: BertOutput;

  constructor(config: BertConfig) {
    super();
    this.self = new BertSelfAttention(config);
    this.output = new BertOutput(config, config.hiddenSize);
  }

  override forward(x: Tensor, mask: Tensor | undefined, outputWeights: boolean): Attended {
    const { hidden, weights } = this.self.forward(x, mask, outputWeights);
    return { hidden: this.output.forward(hidden, x), weights };
  }
}
