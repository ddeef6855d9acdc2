import { add } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { normalInit, zerosInit } from '../init.ts';
import { Module } from '../module.ts';
import { attend } from '../nn/attend.ts';
import { Dropout } from '../nn/dropout.ts';
import { splitHeads } from '../nn/heads.ts';
import { linearsSideBySide, projectTogether } from '../nn/linear.ts';
import type { Linear } from '../nn/linear.ts';
import type { LayerNorm } from '../nn/norm.ts';
import { attendPacked } from '../nn/packed-attention.ts';
import type { Attended } from '../nn/packed-attention.ts';
import type { BertConfig } from './config.ts';
import { dense, norm } from './layers.ts';

/**
 * The weights of `query`, `key` and `value` lie side by side, so that one product computes all three, and one
 * its derivative. Each may be replaced, wrapped or hooked: then they are computed apart.
 */
export class BertSelfAttention extends Module {
  query: Linear;
  key: Linear;
  value: Linear;
  readonly dropout: Dropout;
  readonly numHeads: number;
  readonly headDim: number;

  constructor({ hiddenSize, initializerRange, attentionProbsDropoutProb, numAttentionHeads }: BertConfig) {
    super();
    const sizes = [hiddenSize, hiddenSize, hiddenSize];
    const options = { weightInit: normalInit(initializerRange), biasInit: zerosInit };
    [this.query, this.key, this.value] = linearsSideBySide(hiddenSize, sizes, options) as [Linear, Linear, Linear];
    this.dropout = new Dropout(attentionProbsDropoutProb);
    this.numHeads = numAttentionHeads;
    this.headDim = hiddenSize / numAttentionHeads;
  }

  /** x (B, T, D) -> (B, T, D); the mask is added to the scores (B, H, T, T). */
  override forward(x: Tensor, mask: Tensor | undefined, outputWeights: boolean): Attended {
    const { query, key, value, dropout, numHeads, headDim } = this;
    const options = { mask, dropout, outputWeights };
    const qkv = projectTogether([query, key, value], x); // (B, T, 3 D)
    if (qkv) return attendPacked(qkv, { heads: numHeads, ...options });
    const heads = (y: Tensor): Tensor => splitHeads(y, y.shape[2]! / headDim); // (B, H, T, D/H)
    return attend(heads(query.forward(x)), heads(key.forward(x)), heads(value.forward(x)), options);
  }

  override extraRepr(): string {
    return `heads: ${this.numHeads}`;
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
