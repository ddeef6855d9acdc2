import { linear, scaledDotProductAttention, slice } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { parameter, xavierUniformInit, zerosInit } from '../init.ts';
import { Module } from '../module.ts';
import { showShape } from '../names.ts';
import type { Parameter } from '../parameter.ts';
import { mergeHeads, splitHeads, splitPacked } from './heads.ts';
import { Linear } from './linear.ts';

export interface MultiHeadAttentionOptions {
  readonly bias?: boolean;
  /** Probability of dropping an attention weight. */
  readonly dropout?: number;
}

export interface AttendOptions {
  /** What is attended to, (B, Tk, D); default the queries: self-attention. */
  readonly key?: Tensor;
  /** Default the keys. */
  readonly value?: Tensor;
  /** bool (true: attend) or numbers added to the scores; broadcasts to [B, H, Tq, Tk]. */
  readonly mask?: Tensor;
  /** Let position i attend to positions 0..i only. */
  readonly causal?: boolean;
}

/**
 * Attention in several subspaces at once (Vaswani et al. 2017, section 3.2.2). Keys, shapes and initialisation are those of PyTorch's
 * nn.MultiheadAttention: in_proj_weight [3 D, D] holds the projections of queries, keys and values, out_proj mixes the heads.
 */
export class MultiHeadAttention extends Module {
  inProjWeight: Parameter;
  inProjBias: Parameter | undefined;
  readonly outProj: Linear;
  readonly numHeads: number;
  readonly dropout: number;

  constructor(dim: number, numHeads: number, { bias = true, dropout = 0 }: MultiHeadAttentionOptions = {}) {
    super();
    if (!(numHeads > 0 && dim % numHeads === 0))
      throw new Error(`MultiHeadAttention: dim ${dim} must be a multiple of numHeads ${numHeads}`);
    this.inProjWeight = parameter([3 * dim, dim], xavierUniformInit);
    this.inProjBias = bias ? parameter([3 * dim], zerosInit) : undefined;
    this.outProj = new Linear(dim, dim, { bias, biasInit: zerosInit });
    this.numHeads = numHeads;
    this.dropout = dropout;
  }

  /** query (B, Tq, D) -> (B, Tq, D). */
  override forward(query: Tensor, { key = query, value = key, mask, causal }: AttendOptions = {}): Tensor {
    const dim = this.outProj.weight.shape[1]!;
    for (const x of [query, key, value]) {
      if (x.ndim !== 3 || x.shape[2] !== dim)
        throw new Error(`MultiHeadAttention: needs [batch, tokens, ${dim}], got ${showShape(x.shape)}`);
    }
    const [q, k, v] = this.#project([query, key, value]); // (B, H, T, D/H)
    const y = scaledDotProductAttention(q, k, v, { mask, causal, dropout: this.dropout, training: this.training });
    return this.outProj.forward(mergeHeads(y)); // (B, Tq, D)
  }

  /** Queries, keys and values; one product where all three come from the same tensor. */
  #project(sources: readonly [Tensor, Tensor, Tensor]): [q: Tensor, k: Tensor, v: Tensor] {
    if (sources.every((x) => x === sources[0])) {
      const all = linear(sources[0], this.inProjWeight, this.inProjBias); // (B, T, 3 D)
      return splitPacked(all, this.numHeads);
    }
    const dim = this.outProj.weight.shape[1]!;
    const project = (x: Tensor, i: number): Tensor => {
      const part: [number, number] = [i * dim, (i + 1) * dim];
      return linear(x, slice(this.inProjWeight, part), this.inProjBias && slice(this.inProjBias, part));
    };
    return sources.map((x, i) => splitHeads(project(x, i), this.numHeads)) as [Tensor, Tensor, Tensor];
  }

  override extraRepr(): string {
    return `heads: ${this.numHeads}${this.dropout > 0 ? `, dropout: ${this.dropout}` : ''}`;
  }
}
