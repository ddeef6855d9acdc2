import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { attend } from '../nn/attend.ts';
import { Dropout } from '../nn/dropout.ts';
import { mergeHeads, splitHeads } from '../nn/heads.ts';
import type { LayerCache } from '../nn/kv-cache.ts';
import type { Linear } from '../nn/linear.ts';
import type { Attended } from '../nn/packed-attention.ts';
import type { MarianConfig } from './config.ts';
import { dense } from './layers.ts';

/** What is attended to, by head, (B, H, Tk, D/H) each: what a cache keeps. */
export interface KeysAndValues {
  readonly k: Tensor;
  readonly v: Tensor;
}

export interface MarianAttendOptions {
  /** Added to the scores (B, H, Tq, Tk). */
  readonly mask?: Tensor;
  /** Let position i attend to positions 0..i only. */
  readonly causal?: boolean;
  /** Return the attention weights. */
  readonly outputWeights?: boolean;
}

/** Multi-head attention of some tokens to themselves or to others (Vaswani et al. 2017, section 3.2.2). */
export class MarianAttention extends Module {
  readonly kProj: Linear;
  readonly vProj: Linear;
  readonly qProj: Linear;
  readonly outProj: Linear;
  readonly dropout: Dropout;
  readonly numHeads: number;

  constructor(config: MarianConfig, numHeads: number) {
    super();
    this.kProj = dense(config, config.dModel, config.dModel);
    this.vProj = dense(config, config.dModel, config.dModel);
    this.qProj = dense(config, config.dModel, config.dModel);
    this.outProj = dense(config, config.dModel, config.dModel);
    this.dropout = new Dropout(config.attentionDropout);
    this.numHeads = numHeads;
  }

  /**
   * Keys and values of a source (B, Tk, D): those of an encoder's output are the same for every token that is
   * generated.
   */
  keysAndValues(source: Tensor): KeysAndValues {
    const [k, v] = [this.kProj.forward(source), this.vProj.forward(source)]; // (B, Tk, D)
    return { k: splitHeads(k, this.numHeads), v: splitHeads(v, this.numHeads) };
  }

  /** x (B, Tq, D) -> (B, Tq, D). */
  override forward(x: Tensor, { k, v }: KeysAndValues, options: MarianAttendOptions = {}): Attended {
    const q = splitHeads(this.qProj.forward(x), this.numHeads); // (B, H, Tq, D/H)
    const { hidden, weights } = attend(q, k, v, { ...options, dropout: this.dropout });
    return { hidden: this.outProj.forward(hidden), weights };
  }

  /** Self-attention of the tokens after those of a cache: x (B, T, D) -> (B, T, D). */
  continueFrom(past: LayerCache, x: Tensor): Tensor {
    const { k, v } = this.keysAndValues(x);
    const q = splitHeads(this.qProj.forward(x), this.numHeads); // (B, H, T, D/H)
    return this.outProj.forward(mergeHeads(past.attend(q, k, v)));
  }

  /** Attention to the source that a cache has read: x (B, T, D) -> (B, T, D). */
  attendToSource(past: LayerCache, x: Tensor): Tensor {
    const q = splitHeads(this.qProj.forward(x), this.numHeads); // (B, H, T, D/H)
    return this.outProj.forward(mergeHeads(past.attendToSource(q)));
  }

  override extraRepr(): string {
    return `heads: ${this.numHeads}`;
  }
}
