import { linearCrossEntropy } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { parameter, zerosInit } from '../init.ts';
import { Module } from '../module.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import type { Linear } from '../nn/linear.ts';
import type { LayerNorm } from '../nn/norm.ts';
import { rowsAt } from '../nn/rows-at.ts';
import { checkOnePerToken, tokenLoss } from '../nn/token-loss.ts';
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

/** What a masked-token head is asked for, beside the hidden states. */
export interface MaskedTokens {
  /** Token numbers [B, T], or [B, K] beside maskedPositions; -100 where a token does not count. */
  readonly labels?: Tensor;
  /**
   * Predict at these places of each row only, [B, K] from 0 up to T - 1: logits are then (B, K, V). Unused
   * places hold any position and the label -100.
   */
  readonly maskedPositions?: Tensor;
  /** false: the loss alone, for training. The logits are then not kept. Default true. */
  readonly outputLogits?: boolean;
}

/**
 * Scores of all tokens. The decoder's weight is the table of word embeddings, unless
 * `config.tieWordEmbeddings` is false.
 */
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

  /**
   * hidden (B, T, D): the logits (B, T or K, V) unless they are not wanted, and the mean loss where labels
   * are given.
   */
  predict(
    hidden: Tensor,
    { labels, maskedPositions, outputLogits = true }: MaskedTokens,
  ): { readonly logits?: Tensor; readonly loss?: Tensor } {
    if (!labels && !outputLogits)
      throw new Error('without logits there is only a loss, and it needs labels; give labels');
    const at = maskedPositions ? rowsAt(hidden, maskedPositions) : hidden; // (B, T or K, D)
    if (!outputLogits) {
      const [batch, places] = at.shape as [number, number];
      checkOnePerToken(labels!, batch, places);
      const { weight, bias } = this.decoder;
      return { loss: linearCrossEntropy(this.transform.forward(at), weight, labels!, { bias }) };
    }
    const logits = this.forward(at); // (B, T or K, V)
    return { logits, ...(labels ? { loss: tokenLoss(logits, labels) } : {}) };
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
