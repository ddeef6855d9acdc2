import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import type { Linear } from '../nn/linear.ts';
import type { Attended } from '../nn/packed-attention.ts';
import type { EncoderOutput } from '../outputs.ts';
import { BertAttention, BertOutput } from './attention.ts';
import type { BertConfig } from './config.ts';
import { dense } from './layers.ts';

export class BertIntermediate extends Module {
  readonly dense: Linear;
  readonly activation: ActivationName;

  constructor(config: BertConfig) {
    super();
    this.dense = dense(config, config.hiddenSize, config.intermediateSize);
    this.activation = config.hiddenAct;
  }

  override forward(x: Tensor): Tensor {
    return activations[this.activation](this.dense.forward(x)); // (B, T, F)
  }

  override extraRepr(): string {
    return this.activation;
  }
}

/** Self-attention and a feed-forward part, each followed by residual and normalisation (post-LN). */
export class BertLayer extends Module {
  readonly attention: BertAttention;
  readonly intermediate: BertIntermediate;
  readonly output: BertOutput;

  constructor(config: BertConfig) {
    super();
    this.attention = new BertAttention(config);
    this.intermediate = new BertIntermediate(config);
    this.output = new BertOutput(config, config.intermediateSize);
  }

  /** x (B, T, D) -> (B, T, D); the mask is added to the scores (B, H, T, T). */
  override forward(x: Tensor, mask?: Tensor, outputWeights = false): Attended {
    const { hidden, weights } = this.attention.forward(x, mask, outputWeights); // (B, T, D)
    return { hidden: this.output.forward(this.intermediate.forward(hidden), hidden), weights };
  }
}

export class BertEncoder extends Module {
  readonly layer: readonly BertLayer[];

  constructor(config: BertConfig) {
    super();
    this.layer = Array.from({ length: config.numHiddenLayers }, () => new BertLayer(config));
  }

  override forward(
    x: Tensor,
    mask: Tensor | undefined,
    {
      outputHiddenStates,
      outputAttentions = false,
    }: { readonly outputHiddenStates?: boolean; readonly outputAttentions?: boolean },
  ): EncoderOutput {
    const states = [x]; // (B, T, D) each
    const attentions: Tensor[] = []; // (B, H, T, T) each
    for (const layer of this.layer) {
      const { hidden, weights } = layer.forward(x, mask, outputAttentions);
      x = hidden; // (B, T, D)
      if (outputHiddenStates) states.push(x);
      if (weights) attentions.push(weights);
    }
    return {
      lastHiddenState: x,
      ...(outputHiddenStates ? { hiddenStates: states } : {}),
      ...(outputAttentions ? { attentions } : {}),
    };
  }
}
