import { add, linear, noGrad, slice } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { normalInit, parameter, zerosInit } from '../init.ts';
import { Module } from '../module.ts';
import { Dropout } from '../nn/dropout.ts';
import type { Linear } from '../nn/linear.ts';
import type { LayerNorm } from '../nn/norm.ts';
import { attendPacked } from '../nn/packed-attention.ts';
import type { Attended } from '../nn/packed-attention.ts';
import type { Parameter } from '../parameter.ts';
import type { BertConfig } from './config.ts';
import { dense, norm } from './layers.ts';

/**
 * The projections of queries, keys and values lie below each other in one weight [3 D, D], so that one
 * product computes them, and one its derivative, instead of three each. Files hold them apart, as `query`,
 * `key` and `value`.
 */
export class BertSelfAttention extends Module {
  weight: Parameter;
  bias: Parameter;
  readonly dropout: Dropout;
  readonly numHeads: number;

  constructor({ hiddenSize, initializerRange, attentionProbsDropoutProb, numAttentionHeads }: BertConfig) {
    super();
    this.weight = parameter([3 * hiddenSize, hiddenSize], normalInit(initializerRange));
    this.bias = parameter([3 * hiddenSize], zerosInit);
    this.dropout = new Dropout(attentionProbsDropoutProb);
    this.numHeads = numAttentionHeads;
  }

  protected override stateMembers(): [string, Tensor][] {
    const size = this.bias.size / 3;
    const part = (x: Tensor, i: number): Tensor => noGrad(() => slice(x, [i * size, (i + 1) * size]));
    return ['query', 'key', 'value'].flatMap((name, i): [string, Tensor][] => [
      [`${name}.weight`, part(this.weight, i)],
      [`${name}.bias`, part(this.bias, i)],
    ]);
  }

  override forward(x: Tensor, mask: Tensor | undefined, outputWeights: boolean): Attended {
    const qkv = linear(x, this.weight, this.bias); // (B, T, 3 D)
    return attendPacked(qkv, { heads: this.numHeads, mask, dropout: this.dropout, outputWeights }); // (B, T, D)
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
