import { add } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import { Dropout } from '../nn/dropout.ts';
import type { LayerCache } from '../nn/kv-cache.ts';
import type { Linear } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import type { Attended } from '../nn/packed-attention.ts';
import { MarianAttention } from './attention.ts';
import type { MarianAttendOptions } from './attention.ts';
import type { MarianConfig } from './config.ts';
import { dense } from './layers.ts';

/**
 * What layers of encoder and decoder share: parts that are added to what went in and normalised afterwards
 * (post-LN; Vaswani et al. 2017, section 3.1).
 */
abstract class MarianLayer extends Module {
  readonly selfAttn: MarianAttention;
  readonly selfAttnLayerNorm: LayerNorm;
  readonly fc1: Linear;
  readonly fc2: Linear;
  readonly finalLayerNorm: LayerNorm;
  readonly dropout: Dropout;
  readonly activationDropout: Dropout;
  readonly activation: ActivationName;

  constructor(config: MarianConfig, side: 'encoder' | 'decoder') {
    super();
    const hidden = config[`${side}FfnDim`];
    this.selfAttn = new MarianAttention(config, config[`${side}AttentionHeads`]);
    this.selfAttnLayerNorm = new LayerNorm(config.dModel);
    this.fc1 = dense(config, config.dModel, hidden);
    this.fc2 = dense(config, hidden, config.dModel);
    this.finalLayerNorm = new LayerNorm(config.dModel);
    this.dropout = new Dropout(config.dropout);
    this.activationDropout = new Dropout(config.activationDropout);
    this.activation = config.activationFunction;
  }

  protected attendToSelf(x: Tensor, options: MarianAttendOptions): Attended {
    const { hidden, weights } = this.selfAttn.forward(x, this.selfAttn.keysAndValues(x), options);
    return { hidden: this.addAndNorm(x, hidden, this.selfAttnLayerNorm), weights };
  }

  protected feedForward(x: Tensor): Tensor {
    const hidden = this.activationDropout.forward(activations[this.activation](this.fc1.forward(x))); // (B, T, F)
    return this.addAndNorm(x, this.fc2.forward(hidden), this.finalLayerNorm); // (B, T, D)
  }

  protected addAndNorm(x: Tensor, part: Tensor, norm: LayerNorm): Tensor {
    return norm.forward(add(x, this.dropout.forward(part)));
  }

  override extraRepr(): string {
    return this.activation;
  }
}

/** Self-attention and a feed-forward part. */
export class MarianEncoderLayer extends MarianLayer {
  constructor(config: MarianConfig) {
    super(config, 'encoder');
  }

  /** x (B, T, D) -> (B, T, D); the mask is added to the scores (B, H, T, T). */
  override forward(x: Tensor, mask?: Tensor, outputWeights = false): Attended {
    const { hidden, weights } = this.attendToSelf(x, { mask, outputWeights });
    return { hidden: this.feedForward(hidden), weights };
  }
}

export interface DecoderLayerOptions {
  /** Added to the scores of self-attention (B, H, T, T). */
  readonly mask?: Tensor;
  /** Added to the scores of attention to the encoder's output (B, H, T, S). */
  readonly sourceMask?: Tensor;
  readonly outputWeights?: boolean;
}

/** What a decoder layer returns; the weights where they were asked for. */
export interface DecoderAttended extends Attended {
  /** Of attention to the encoder's output, (B, H, T, S). */
  readonly crossWeights?: Tensor;
}

/** Causal self-attention, attention to the encoder's output, and a feed-forward part. */
export class MarianDecoderLayer extends MarianLayer {
  readonly encoderAttn: MarianAttention;
  readonly encoderAttnLayerNorm: LayerNorm;

  constructor(config: MarianConfig) {
    super(config, 'decoder');
    this.encoderAttn = new MarianAttention(config, config.decoderAttentionHeads);
    this.encoderAttnLayerNorm = new LayerNorm(config.dModel);
  }

  /** x (B, T, D) and the encoder's output (B, S, D) -> (B, T, D). */
  override forward(x: Tensor, source: Tensor, options: DecoderLayerOptions = {}): DecoderAttended {
    const { mask, sourceMask, outputWeights = false } = options;
    const own = this.attendToSelf(x, { mask, causal: true, outputWeights });
    const keysAndValues = this.encoderAttn.keysAndValues(source);
    const cross = this.encoderAttn.forward(own.hidden, keysAndValues, { mask: sourceMask, outputWeights });
    const y = this.addAndNorm(own.hidden, cross.hidden, this.encoderAttnLayerNorm); // (B, T, D)
    return { hidden: this.feedForward(y), weights: own.weights, crossWeights: cross.weights };
  }

  /** The same for the tokens after those of a cache, which has read the source: x (B, T, D) -> (B, T, D). */
  continueFrom(past: LayerCache, x: Tensor): Tensor {
    const own = this.addAndNorm(x, this.selfAttn.continueFrom(past, x), this.selfAttnLayerNorm);
    return this.feedForward(
      this.addAndNorm(own, this.encoderAttn.attendToSource(past, own), this.encoderAttnLayerNorm),
    );
  }
}
