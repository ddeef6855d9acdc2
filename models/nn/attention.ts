import {
  attentionWeights,
  dropout,
  flatten,
  linear,
  matmul,
  mean,
  packedAttention,
  scaledDotProductAttention,
  slice,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { parameter, xavierUniformInit, zerosInit } from '../parameter.ts';
import { Module } from '../module.ts';
import { showShape } from '../names.ts';
import type { Parameter } from '../parameter.ts';
import { mergeHeads, packedHeads, splitHeads } from './attend.ts';
import { Linear } from './linear.ts';

export interface MultiheadAttentionOptions {
  readonly bias?: boolean;
  /** Probability of dropping an attention weight. */
  readonly dropout?: number;
}

export interface AttendOptions {
  /** The tokens to attend to, (B, Tk, D). Default: the queries, which is self-attention. */
  readonly key?: Tensor;
  /** Default the keys. */
  readonly value?: Tensor;
  /** bool (true: attend) or numbers added to the scores; broadcasts to [B, H, Tq, Tk]. */
  readonly mask?: Tensor;
  /** Let position i attend to positions 0..i only. */
  readonly causal?: boolean;
}

/**
 * Attention in several subspaces at once (Vaswani et al. 2017, section 3.2.2). Keys, shapes and
 * initialisation are those of PyTorch's nn.MultiheadAttention: in_proj_weight [3 D, D] holds the projections
 * of queries, keys and values, out_proj mixes the heads.
 *
 * @example
 * const attention = new MultiheadAttention(16, 2);
 * const [output, weights] = attention.forward(randn(1, 5, 16), { causal: true, needWeights: true });
 * weights.shape; // [1, 5, 5]
 */
export class MultiheadAttention extends Module {
  inProjWeight: Parameter;
  inProjBias: Parameter | undefined;
  readonly outProj: Linear;
  readonly numHeads: number;
  readonly dropout: number;

  constructor(dim: number, numHeads: number, { bias = true, dropout = 0 }: MultiheadAttentionOptions = {}) {
    super();
    if (!(numHeads > 0 && dim % numHeads === 0))
      throw new Error(`MultiheadAttention: dim ${dim} must be a multiple of numHeads ${numHeads}`);
    this.inProjWeight = parameter([3 * dim, dim], xavierUniformInit);
    this.inProjBias = bias ? parameter([3 * dim], zerosInit) : undefined;
    this.outProj = new Linear(dim, dim, { bias, biasInit: zerosInit });
    this.numHeads = numHeads;
    this.dropout = dropout;
  }

  /**
   * query (B, Tq, D) -> (B, Tq, D); with `needWeights` also the weights (B, Tq, Tk) after dropout, averaged
   * over the heads, as PyTorch returns them.
   */
  override forward(query: Tensor, options: AttendOptions & { readonly needWeights: true }): [Tensor, Tensor];
  override forward(query: Tensor, options?: AttendOptions & { readonly needWeights?: false }): Tensor;
  override forward(query: Tensor, options: AttendOptions & { readonly needWeights?: boolean } = {}) {
    const { key = query, value = key, mask, causal, needWeights = false } = options;
    const dim = this.outProj.weight.shape[1]!;
    for (const x of [query, key, value]) {
      if (x.ndim !== 3 || x.shape[2] !== dim)
        throw new Error(`MultiheadAttention: needs [batch, tokens, ${dim}], got ${showShape(x.shape)}`);
    }
    const scoring = { mask, causal, dropout: this.dropout, training: this.training };
    if (key === query && value === query && !needWeights) {
      const all = linear(query, this.inProjWeight, this.inProjBias); // (B, T, 3 D)
      return this.outProj.forward(flatten(packedAttention(packedHeads(all, this.numHeads), scoring), 2)); // (B, T, D)
    }
    // (B, H, T, D/H)
    const [q, k, v] = [query, key, value].map((x, i) => this.#project(x, i)) as [Tensor, Tensor, Tensor];
    if (!needWeights) return this.outProj.forward(mergeHeads(scaledDotProductAttention(q, k, v, scoring)));
    const weights = dropout(attentionWeights(q, k, { mask, causal }), this.dropout, { training: this.training });
    return [this.outProj.forward(mergeHeads(matmul(weights, v))), mean(weights, 1)];
  }

  /** Queries (0), keys (1) or values (2) by head. */
  #project(x: Tensor, which: number): Tensor {
    const dim = this.outProj.weight.shape[1]!;
    const part: [number, number] = [which * dim, (which + 1) * dim];
    const y = linear(x, slice(this.inProjWeight, part), this.inProjBias && slice(this.inProjBias, part));
    return splitHeads(y, this.numHeads);
  }

  override extraRepr(): string {
    return `heads: ${this.numHeads}${this.dropout > 0 ? `, dropout: ${this.dropout}` : ''}`;
  }
}
