// Heads of encoders, each once for all families: a family's class adds the parts that its files name.
import { add, bceWithLogits, clamp, crossEntropy, mse, mul, reshape, select, tanh } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { ModelConfig } from '../config.ts';
import { Module } from '../module.ts';
import { showShape } from '../names.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import { Dropout } from '../nn/dropout.ts';
import { isPlainLinear, Linear } from '../nn/linear.ts';
import type { LinearOptions } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import { rowsAt } from '../nn/rows-at.ts';
import { linearTokenLoss, tokenLoss } from '../nn/token-loss.ts';
import { normalInit, parameter, zerosInit } from '../parameter.ts';
import type { Parameter } from '../parameter.ts';
import type { PreTrainedModel } from '../pretrained.ts';
import { checkLossInputs } from './inputs.ts';
import { internalsOf } from './outputs.ts';
import type { EncoderOutput, HeadOutput, Internals } from './outputs.ts';

/** The kinds of the labels of a sequence. */
export const problemTypes = ['regression', 'single_label_classification', 'multi_label_classification'] as const;

/** Settings that every encoder with heads has. */
export interface EncoderSettings extends ModelConfig {
  readonly initializerRange: number;
  /** The kind of the labels of a sequence; null: told from the first labels given. */
  readonly problemType: (typeof problemTypes)[number] | null;
}

/** A linear layer as encoders begin with: normal weights, biases 0. */
export function dense(
  { initializerRange }: Pick<EncoderSettings, 'initializerRange'>,
  inFeatures: number,
  outFeatures: number,
  options: LinearOptions = {},
): Linear {
  return new Linear(inFeatures, outFeatures, {
    weightInit: normalInit(initializerRange),
    biasInit: zerosInit,
    ...options,
  });
}

export interface PooledOutput extends EncoderOutput {
  /** The pooler's output, (B, D); undefined in models without one. */
  readonly pooled?: Tensor;
}

/** The inputs of a masked-token head beside the hidden states. */
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

/** Scores all tokens: decoder(transform(hidden)), the last step linear. */
export interface TokenHead {
  readonly decoder: Linear;
  transform(hidden: Tensor): Tensor;
  /** (B, T, D) -> (B, T, V). */
  forward(hidden: Tensor): Tensor;
  /** Its forward has to run. */
  readonly isHooked?: boolean;
}

/** A head of parts that lie apart in the model. */
export function tokenHead(decoder: Linear, transform: (hidden: Tensor) => Tensor): TokenHead {
  return { decoder, transform, forward: (hidden) => decoder.forward(transform(hidden)) };
}

/**
 * hidden (B, T, D): the logits (B, T or K, V) unless not wanted, and the mean loss where labels are given.
 */
export function predictTokens(
  head: TokenHead,
  hidden: Tensor,
  { labels, maskedPositions, outputLogits = true }: MaskedTokens,
): { readonly logits?: Tensor; readonly loss?: Tensor } {
  checkLossInputs(labels, outputLogits);
  const at = maskedPositions ? rowsAt(hidden, maskedPositions) : hidden; // (B, T or K, D)
  if (!outputLogits && !head.isHooked && isPlainLinear(head.decoder)) {
    const { weight, bias } = head.decoder;
    return { loss: linearTokenLoss(head.transform(at), weight, labels!, { bias }) };
  }
  const logits = head.forward(at); // (B, T or K, V)
  return { ...(outputLogits ? { logits } : {}), ...(labels ? { loss: tokenLoss(logits, labels) } : {}) };
}

export interface TokenPredictionsOptions {
  readonly hiddenSize: number;
  readonly layerNormEps: number;
  readonly initializerRange: number;
  readonly tieWordEmbeddings: boolean;
  readonly activation: ActivationName;
}

/**
 * decoder(LayerNorm(activation(dense(x)))): the head that most encoders predict tokens with. The decoder's
 * weight is the table of word embeddings [V, E], unless `tieWordEmbeddings` is false.
 */
export class TokenPredictions extends Module implements TokenHead {
  bias: Parameter;
  readonly dense: Linear;
  readonly LayerNorm: LayerNorm;
  readonly decoder: Linear;
  readonly activation: ActivationName;

  constructor(options: TokenPredictionsOptions, wordEmbeddings: Parameter) {
    super();
    const [vocabSize, dim] = wordEmbeddings.shape as [number, number];
    this.bias = parameter([vocabSize], zerosInit);
    this.dense = dense(options, options.hiddenSize, dim);
    this.LayerNorm = new LayerNorm(dim, { eps: options.layerNormEps });
    const tied = options.tieWordEmbeddings ? { weight: wordEmbeddings, bias: this.bias } : {};
    this.decoder = dense(options, dim, vocabSize, tied);
    this.activation = options.activation;
  }

  transform(hidden: Tensor): Tensor {
    return this.LayerNorm.forward(activations[this.activation](this.dense.forward(hidden))); // (B, T, E)
  }

  override forward(hidden: Tensor): Tensor {
    return this.decoder.forward(this.transform(hidden)); // (B, T, V)
  }

  override extraRepr(): string {
    return this.activation;
  }
}

/** outProj(dropout(activation(dense(dropout(x))))) of the first token: RoBERTa's classifier of texts. */
export class ClassificationHead extends Module {
  readonly dense: Linear;
  readonly dropout: Dropout;
  readonly outProj: Linear;
  readonly activation: ActivationName;

  constructor(
    config: EncoderSettings & { readonly hiddenSize: number },
    { dropout, activation = 'tanh' }: { readonly dropout: number; readonly activation?: ActivationName },
  ) {
    super();
    this.dense = dense(config, config.hiddenSize, config.hiddenSize);
    this.dropout = new Dropout(dropout);
    this.outProj = dense(config, config.hiddenSize, config.numLabels);
    this.activation = activation;
  }

  /** The first token of hidden (B, T, D), or one vector a text, (B, D) -> (B, L). */
  override forward(hidden: Tensor): Tensor {
    const text = hidden.ndim === 3 ? select(hidden, 1, 0) : hidden; // (B, D)
    const x = this.dense.forward(this.dropout.forward(text)); // (B, D)
    return this.outProj.forward(this.dropout.forward(activations[this.activation](x)));
  }

  override extraRepr(): string {
    return this.activation;
  }
}

/** tanh(dense(x)) of the first token. */
export class FirstTokenPooler extends Module {
  readonly dense: Linear;

  constructor(config: { readonly hiddenSize: number; readonly initializerRange: number }) {
    super();
    this.dense = dense(config, config.hiddenSize, config.hiddenSize);
  }

  override forward(hidden: Tensor): Tensor {
    return tanh(this.dense.forward(select(hidden, 1, 0))); // (B, D)
  }
}

export interface QuestionAnsweringOutput extends Internals {
  /** (B, T) each. */
  readonly startLogits: Tensor;
  readonly endLogits: Tensor;
  readonly loss?: Tensor;
}

export interface AnswerLabels {
  /**
   * Index of the answer's first token, [B]; beyond the last token where the answer was cut off, which then
   * does not count.
   */
  readonly startPositions?: Tensor;
  readonly endPositions?: Tensor;
}

/** How a family's heads are built on its base model. */
interface EncoderFamily<P extends string, C, M> {
  /** The field that holds the base model. */
  readonly prefix: P;
  readonly encoder: (config: C, pooled: boolean) => M;
  /** Width of the hidden states. */
  readonly dim: (config: C) => number;
  /** Probability of dropout before the classifier of tokens; null: that of the encoder. */
  readonly dropout: (config: C) => number;
  /** The same before an answer's logits; default 0. */
  readonly answerDropout?: (config: C) => number;
}

/** A head as its class is seen: on the family's base model. */
declare abstract class Head<I, C extends EncoderSettings> extends PreTrainedModel<C> {
  protected encode(inputs: I): PooledOutput;
}

/** Predicts masked tokens. */
declare abstract class MaskedLM<I, C extends EncoderSettings> extends Head<I, C> {
  protected abstract get tokenHead(): TokenHead;

  /**
   * Logits (B, T, V). Labels: token numbers [B, T], -100 where a token does not count. With maskedPositions
   * [B, K] the head runs at those places only: logits (B, K, V), labels [B, K], the same loss for a fraction
   * of the work.
   */
  override forward(
    inputs: I & MaskedTokens & { readonly labels: Tensor; readonly outputLogits: false },
  ): Internals & { readonly loss: Tensor };
  override forward(inputs: I & MaskedTokens & { readonly outputLogits?: true }): HeadOutput;
}

/**
 * Classifies texts. `config.problemType` gives the loss: cross-entropy for one label a text, binary
 * cross-entropy for any number of labels, mean squared error for regression.
 */
declare abstract class SequenceClassification<I, C extends EncoderSettings> extends Head<I, C> {
  /** The scores of the labels (B, L). */
  protected abstract score(output: PooledOutput): Tensor;

  /**
   * Logits (B, numLabels). Labels: class numbers [B]; or numbers [B, numLabels] (regression to one number:
   * [B] too).
   */
  override forward(inputs: I & { readonly labels?: Tensor }): HeadOutput;
}

/** A linear classifier on every token, as for named entities. */
declare abstract class TokenClassification<I, C extends EncoderSettings> extends Head<I, C> {
  readonly dropout: Dropout;
  readonly classifier: Linear;

  /** Logits (B, T, numLabels). Labels: class numbers [B, T], -100 where a token does not count. */
  override forward(inputs: I & { readonly labels?: Tensor }): HeadOutput;
}

/** The first and the last token of an answer within the text. */
declare abstract class QuestionAnswering<I, C extends EncoderSettings> extends Head<I, C> {
  readonly dropout: Dropout;
  readonly qaOutputs: Linear;

  override forward(inputs: I & AnswerLabels): QuestionAnsweringOutput;
}

/** A class with the static side of a family's and `T` for its instances. */
type HeadClass<B, C, T> = Omit<B, 'prototype'> & (abstract new (config: C, pooled?: boolean) => T);

/** The classes of a family's heads; instances have the base model in the field `P`. */
export interface EncoderHeads<P extends string, I, C extends EncoderSettings, B, M> {
  readonly MaskedLM: HeadClass<B, C, MaskedLM<I, C> & Readonly<Record<P, M>>>;
  readonly SequenceClassification: HeadClass<B, C, SequenceClassification<I, C> & Readonly<Record<P, M>>>;
  readonly TokenClassification: HeadClass<B, C, TokenClassification<I, C> & Readonly<Record<P, M>>>;
  readonly QuestionAnswering: HeadClass<B, C, QuestionAnswering<I, C> & Readonly<Record<P, M>>>;
}

/**
 * The heads of a family: `heads.TokenClassification` and so on, classes for the family's own to extend, which
 * bear Transformers' names. `Base` is the family's class with `configFormat` and `keyRules`. Each has the
 * base model in the field `prefix`, without a pooler unless its constructor is given `pooled`.
 */
export function encoderHeads<
  P extends string,
  I extends object,
  C extends EncoderSettings,
  B extends abstract new (config: C) => PreTrainedModel<C>,
  M extends Module & { forward(inputs: I): PooledOutput },
>(
  Base: B & (abstract new (config: C) => PreTrainedModel<C>),
  family: EncoderFamily<P, C, M>,
): EncoderHeads<P, I, C, B, M> {
  const { prefix, encoder, dim, dropout, answerDropout = () => 0 } = family;

  abstract class Encoder extends (Base as abstract new (config: C) => PreTrainedModel<C>) {
    constructor(config: C, pooled = false) {
      super(config);
      Object.assign(this, { [prefix]: encoder(config, pooled) });
    }

    protected encode(inputs: object): PooledOutput {
      return (this as unknown as Record<P, M>)[prefix].forward(inputs as I);
    }
  }

  abstract class WithTokens extends Encoder {
    protected abstract get tokenHead(): TokenHead;

    override forward({ labels, maskedPositions, outputLogits, ...rest }: I & MaskedTokens): Partial<HeadOutput> {
      const output = this.encode(rest);
      const wanted = { labels, maskedPositions, outputLogits };
      return { ...predictTokens(this.tokenHead, output.lastHiddenState, wanted), ...internalsOf(output) };
    }
  }

  abstract class WithLabels extends Encoder {
    protected abstract score(output: PooledOutput): Tensor;

    override forward({ labels, ...rest }: I & { readonly labels?: Tensor }): HeadOutput {
      const output = this.encode(rest);
      const logits = this.score(output); // (B, L)
      return { logits, ...(labels ? { loss: labelLoss(this, logits, labels) } : {}), ...internalsOf(output) };
    }
  }

  abstract class WithTokenLabels extends Encoder {
    readonly dropout: Dropout;
    readonly classifier: Linear;

    constructor(config: C) {
      super(config);
      this.dropout = new Dropout(dropout(config));
      this.classifier = dense(config, dim(config), config.numLabels);
    }

    override forward({ labels, ...rest }: I & { readonly labels?: Tensor }): HeadOutput {
      const output = this.encode(rest);
      const logits = this.classifier.forward(this.dropout.forward(output.lastHiddenState)); // (B, T, L)
      return { logits, ...(labels ? { loss: tokenLoss(logits, labels) } : {}), ...internalsOf(output) };
    }
  }

  abstract class WithAnswer extends Encoder {
    readonly dropout: Dropout;
    readonly qaOutputs: Linear;

    constructor(config: C) {
      super(config);
      if (config.numLabels !== 2)
        throw new Error(
          `${new.target.name}: needs numLabels 2 (start and end), got ${config.numLabels}; pass { numLabels: 2 }`,
        );
      this.dropout = new Dropout(answerDropout(config));
      this.qaOutputs = dense(config, dim(config), 2);
    }

    override forward({ startPositions, endPositions, ...rest }: I & AnswerLabels): QuestionAnsweringOutput {
      if (!startPositions !== !endPositions)
        throw new Error('a loss needs startPositions and endPositions; give both or neither');
      const output = this.encode(rest);
      const both = this.qaOutputs.forward(this.dropout.forward(output.lastHiddenState)); // (B, T, 2)
      const [startLogits, endLogits] = [select(both, 2, 0), select(both, 2, 1)]; // (B, T)
      const loss =
        startPositions &&
        mul(add(positionLoss(startLogits, startPositions), positionLoss(endLogits, endPositions!)), 0.5);
      return { startLogits, endLogits, ...(loss ? { loss } : {}), ...internalsOf(output) };
    }
  }

  return {
    MaskedLM: WithTokens,
    SequenceClassification: WithLabels,
    TokenClassification: WithTokenLabels,
    QuestionAnswering: WithAnswer,
  } as unknown as EncoderHeads<P, I, C, B, M>;
}

/**
 * The loss of labels of sequences, by the model's `problemType`; where it has none, the labels tell, and it
 * is saved with the model, as in Transformers.
 */
export function labelLoss<C extends Pick<EncoderSettings, 'problemType'>>(
  model: { config: C },
  logits: Tensor,
  labels: Tensor,
): Tensor {
  const problemType = model.config.problemType ?? problemTypeOf(logits, labels);
  if (model.config.problemType === null) model.config = Object.freeze({ ...model.config, problemType });
  return sequenceLoss(logits, labels, problemType);
}

/** What labels of a sequence are, by their shape and that of the logits (B, L). */
function problemTypeOf(logits: Tensor, labels: Tensor): NonNullable<EncoderSettings['problemType']> {
  const count = logits.shape[1]!;
  if (count === 1) return 'regression';
  return labels.ndim === 2 && labels.shape[1] === count ? 'multi_label_classification' : 'single_label_classification';
}

function sequenceLoss(
  logits: Tensor,
  labels: Tensor,
  problemType: NonNullable<EncoderSettings['problemType']>,
): Tensor {
  const batch = logits.shape[0]!;
  if (problemType === 'single_label_classification') {
    if (labels.size !== batch)
      throw new Error(
        `labels are ${showShape(labels.shape)}; one class number for each of the ${batch} inputs is needed`,
      );
    return crossEntropy(logits, reshape(labels, [batch]));
  }
  if (labels.size !== logits.size)
    throw new Error(
      `labels are ${showShape(labels.shape)}; ${problemType} needs ${showShape(logits.shape)}, like the logits`,
    );
  const target = reshape(labels, logits.shape);
  return problemType === 'regression' ? mse(logits, target) : bceWithLogits(logits, target);
}

/**
 * Cross-entropy over positions; those outside of the row count for nothing below or above it, as in
 * Transformers.
 */
function positionLoss(logits: Tensor, positions: Tensor): Tensor {
  const [batch, length] = logits.shape as [number, number];
  if (positions.size !== batch)
    throw new Error(`positions are [${positions.shape.join(', ')}]; one for each of the ${batch} rows is needed`);
  return crossEntropy(logits, clamp(reshape(positions, [batch]), 0, length), { ignoreIndex: length });
}
