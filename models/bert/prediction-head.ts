import type { Tensor } from '../../autograd/index.ts';
import { parameter, zerosInit } from '../init.ts';
import { Module } from '../module.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import type { Linear } from '../nn/linear.ts';
import type { LayerNorm } from '../nn/norm.ts';
import type { Parameter } from '../parameter.ts';
import type { BertConfig } from './config.ts';
import { dense, norm } from './layers.ts';

export class BertPredictionHeadTransform extends Module {
  readonly dense: Linear;
  readonly LayerNorm: LayerNorm;
  readonly activation: ActivationName;

  constructor(config: BertConfig) {
    super();
    this.dense = dense(config, config.hiddenSize, config.hiddenSize);
    this.LayerNorm = norm(config);
    this.activation = config.hiddenAct;
  }

  override forward(x: Tensor): Tensor {
    return this.LayerNorm.forward(activations[this.activation](this.dense.forward(x))); // (B, T, D)
  }

  override extraRepr(): string {
    return this.activation;
  }
}

/** Scores of all tokens. The decoder's weight is the table of word embeddings, unless `config.tieWordEmbeddings` is false. */
export class BertLMPredictionHead extends Module {
  bias: Parameter;
  readonly transform: BertPredictionHeadTransform;
  readonly decoder: Linear;

  constructor(config: BertConfig, wordEmbeddings: Parameter) {
    super();
    const { hiddenSize, vocabSize, tieWordEmbeddings } = config;
    this.bias = parameter([vocabSize], zerosInit);
    this.transform = new BertPredictionHeadTransform(config);
    this.decoder = dense(
      config,
      hiddenSize,
      vocabSize,
      tieWordEmbeddings ? { weight: wordEmbeddings, bias: this.bias } : {},
    );
  }

  override forward(hidden: Tensor): Tensor {
    return this.decoder.forward(this.transform.forward(hidden)); // (B, T, V)
  }
}

/** The pre-training heads, `cls` in the files: masked tokens, next sentence, or both. */
export class BertHeads extends Module {
  readonly predictions: BertLMPredictionHead | undefined;
  readonly seqRelationship: Linear | undefined;

  constructor(
    config: BertConfig,
    { wordEmbeddings, nextSentence }: { readonly wordEmbeddings?: Parameter; readonly nextSentence: boolean },
  ) {
    super();
    this.predictions = wordEmbeddings && new BertLMPredictionHead(config, wordEmbeddings);
    this.seqRelationship = nextSentence ? dense(config, config.hiddenSize, 2) : undefined;
  }
}
