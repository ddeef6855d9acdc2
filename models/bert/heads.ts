import { add, bceWithLogits, clamp, crossEntropy, mse, mul, reshape, select } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { showShape } from '../names.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import { Dropout } from '../nn/dropout.ts';
import { isPlainLinear } from '../nn/linear.ts';
import type { Linear } from '../nn/linear.ts';
import type { LayerNorm } from '../nn/norm.ts';
import { rowsAt } from '../nn/rows-at.ts';
import { linearTokenLoss, tokenLoss } from '../nn/token-loss.ts';
import { parameter, zerosInit } from '../parameter.ts';
import type { Parameter } from '../parameter.ts';
import { checkLossInputs } from '../transformer/inputs.ts';
import { internalsOf } from '../transformer/outputs.ts';
import type { HeadOutput, Internals } from '../transformer/outputs.ts';
import type { BertConfig } from './config.ts';
import { BertModel, BertPreTrainedModel, dense, norm } from './model.ts';
import type { BertInputs } from './model.ts';

class BertPredictionHeadTransform extends Module {
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

/**
 * Scores of all tokens. The decoder's weight is the table of word embeddings, unless
 * `config.tieWordEmbeddings` is false.
 */
class BertLMPredictionHead extends Module {
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
    checkLossInputs(labels, outputLogits);
    const at = maskedPositions ? rowsAt(hidden, maskedPositions) : hidden; // (B, T or K, D)
    if (!outputLogits && !this.isHooked && isPlainLinear(this.decoder)) {
      const { weight, bias } = this.decoder;
      return { loss: linearTokenLoss(this.transform.forward(at), weight, labels!, { bias }) };
    }
    const logits = this.forward(at); // (B, T or K, V)
    return { ...(outputLogits ? { logits } : {}), ...(labels ? { loss: tokenLoss(logits, labels) } : {}) };
  }
}

/** The pre-training heads, `cls` in the files: masked tokens of `tokensOf`, next sentence, or both. */
class BertHeads extends Module {
  readonly predictions: BertLMPredictionHead | undefined;
  readonly seqRelationship: Linear | undefined;

  constructor(
    config: BertConfig,
    { tokensOf, nextSentence = false }: { readonly tokensOf?: BertModel; readonly nextSentence?: boolean },
  ) {
    super();
    this.predictions = tokensOf && new BertLMPredictionHead(config, tokensOf.embeddings.wordEmbeddings.weight);
    this.seqRelationship = nextSentence ? dense(config, config.hiddenSize, 2) : undefined;
  }
}

/** Predicts masked tokens. */
export class BertForMaskedLM extends BertPreTrainedModel {
  readonly bert: BertModel;
  readonly cls: BertHeads;

  constructor(config: BertConfig) {
    super(config);
    this.bert = new BertModel(config, { addPoolingLayer: false });
    this.cls = new BertHeads(config, { tokensOf: this.bert });
  }

  /**
   * Logits (B, T, V). Labels: token numbers [B, T], -100 where a token does not count. With maskedPositions
   * [B, K] the head runs at those places only: logits (B, K, V), labels [B, K], the same loss for a fraction
   * of the work.
   */
  override forward(
    inputs: BertInputs & MaskedTokens & { readonly labels: Tensor; readonly outputLogits: false },
  ): Internals & { readonly loss: Tensor };
  override forward(inputs: BertInputs & MaskedTokens & { readonly outputLogits?: true }): HeadOutput;
  override forward({
    labels,
    maskedPositions,
    outputLogits,
    ...inputs
  }: BertInputs & MaskedTokens): Partial<HeadOutput> {
    const output = this.bert.forward(inputs);
    const predicted = this.cls.predictions!.predict(output.lastHiddenState, { labels, maskedPositions, outputLogits });
    return { ...predicted, ...internalsOf(output) };
  }
}

/** Whether the second text follows the first: label 0, it does; 1, it was drawn at random. */
export class BertForNextSentencePrediction extends BertPreTrainedModel {
  readonly bert: BertModel;
  readonly cls: BertHeads;

  constructor(config: BertConfig) {
    super(config);
    this.bert = new BertModel(config);
    this.cls = new BertHeads(config, { nextSentence: true });
  }

  /** Logits (B, 2). Labels: [B]. */
  override forward({ labels, ...inputs }: BertInputs & { readonly labels?: Tensor }): HeadOutput {
    const output = this.bert.forward(inputs);
    const logits = this.cls.seqRelationship!.forward(output.pooled!); // (B, 2)
    return { logits, ...(labels ? { loss: crossEntropy(logits, reshape(labels, [-1])) } : {}), ...internalsOf(output) };
  }
}

export interface PreTrainingOutput extends Internals {
  /** (B, T, V), or (B, K, V) at maskedPositions. */
  readonly predictionLogits: Tensor;
  /** (B, 2). */
  readonly seqRelationshipLogits: Tensor;
  /** The sum of the two losses. */
  readonly loss?: Tensor;
  readonly maskedLMLoss?: Tensor;
  readonly nextSentenceLoss?: Tensor;
}

export interface PreTrainingLabels extends MaskedTokens {
  /** 0 where the second text follows the first, else 1; [B]. */
  readonly nextSentenceLabel?: Tensor;
}

/** Both of BERT's pre-training tasks: masked tokens and next sentence. */
export class BertForPreTraining extends BertPreTrainedModel {
  readonly bert: BertModel;
  readonly cls: BertHeads;

  constructor(config: BertConfig) {
    super(config);
    this.bert = new BertModel(config);
    this.cls = new BertHeads(config, { tokensOf: this.bert, nextSentence: true });
  }

  override forward(
    inputs: BertInputs & PreTrainingLabels & { readonly outputLogits: false },
  ): Omit<Required<PreTrainingOutput>, 'predictionLogits' | keyof Internals> & Internals;
  override forward(inputs: BertInputs & PreTrainingLabels & { readonly outputLogits?: true }): PreTrainingOutput;
  override forward({
    labels,
    nextSentenceLabel,
    maskedPositions,
    outputLogits,
    ...inputs
  }: BertInputs & PreTrainingLabels): Partial<PreTrainingOutput> {
    if (!labels !== !nextSentenceLabel)
      throw new Error('a loss needs labels and nextSentenceLabel; give both or neither');
    const output = this.bert.forward(inputs);
    const masked = { labels, maskedPositions, outputLogits };
    const { logits, loss: maskedLMLoss } = this.cls.predictions!.predict(output.lastHiddenState, masked);
    const seqRelationshipLogits = this.cls.seqRelationship!.forward(output.pooled!); // (B, 2)
    const scores = { ...(logits ? { predictionLogits: logits } : {}), seqRelationshipLogits, ...internalsOf(output) };
    if (!maskedLMLoss) return scores;
    const nextSentenceLoss = crossEntropy(seqRelationshipLogits, reshape(nextSentenceLabel!, [-1]));
    return { ...scores, loss: add(maskedLMLoss, nextSentenceLoss), maskedLMLoss, nextSentenceLoss };
  }
}

export interface RotaryFillOutput extends Internals {
  /** Which token was there: (B, T, V), or (B, K, V) at maskedPositions. */
  readonly logits: Tensor;
  /** Whether a token is another than was there, (B, T, 2). */
  readonly rotatedLogits: Tensor;
  /** The sum of the two losses. */
  readonly loss?: Tensor;
  readonly fillLoss?: Tensor;
  readonly rotatedLoss?: Tensor;
}

export interface RotaryFillLabels extends MaskedTokens {
  /**
   * 1 where the token is another than was there, 0 where it is the same, -100 where it does not count; [B,
   * T].
   */
  readonly rotatedLabels?: Tensor;
}

/**
 * Puts back tokens of rotated spans and tells which tokens were changed: the masked-token head, so that
 * checkpoints of BertForMaskedLM load and go there again, and a classifier of every token, `detector`. The
 * objective is defined with its training task, train/objectives/rotary-fill.ts.
 */
export class BertForRotaryFill extends BertPreTrainedModel {
  readonly bert: BertModel;
  readonly cls: BertHeads;
  readonly detector: Linear;

  constructor(config: BertConfig) {
    super(config);
    this.bert = new BertModel(config, { addPoolingLayer: false });
    this.cls = new BertHeads(config, { tokensOf: this.bert });
    this.detector = dense(config, config.hiddenSize, 2);
  }

  override forward(
    inputs: BertInputs & RotaryFillLabels & { readonly outputLogits: false },
  ): Omit<Required<RotaryFillOutput>, 'logits' | keyof Internals> & Internals;
  override forward(inputs: BertInputs & RotaryFillLabels & { readonly outputLogits?: true }): RotaryFillOutput;
  override forward({
    labels,
    maskedPositions,
    rotatedLabels,
    outputLogits,
    ...inputs
  }: BertInputs & RotaryFillLabels): Partial<RotaryFillOutput> {
    if (!labels !== !rotatedLabels) throw new Error('a loss needs labels and rotatedLabels; give both or neither');
    const output = this.bert.forward(inputs);
    const hidden = output.lastHiddenState; // (B, T, D)
    const { logits, loss: fillLoss } = this.cls.predictions!.predict(hidden, { labels, maskedPositions, outputLogits });
    const rotatedLogits = this.detector.forward(hidden); // (B, T, 2)
    const scores = { ...(logits ? { logits } : {}), rotatedLogits, ...internalsOf(output) };
    if (!fillLoss) return scores;
    const rotatedLoss = tokenLoss(rotatedLogits, rotatedLabels!);
    return { ...scores, loss: add(fillLoss, rotatedLoss), fillLoss, rotatedLoss };
  }
}

/**
 * A linear classifier on the pooled output. `config.problemType` gives the loss: cross-entropy for one label
 * a text, binary cross-entropy for any number of labels, mean squared error for regression.
 */
export class BertForSequenceClassification extends BertPreTrainedModel {
  readonly bert: BertModel;
  readonly dropout: Dropout;
  readonly classifier: Linear;

  constructor(config: BertConfig) {
    super(config);
    this.bert = new BertModel(config);
    this.dropout = new Dropout(config.classifierDropout ?? config.hiddenDropoutProb);
    this.classifier = dense(config, config.hiddenSize, config.numLabels);
  }

  /**
   * Logits (B, numLabels). Labels: class numbers [B]; or numbers [B, numLabels] (regression to one number:
   * [B] too).
   */
  override forward({ labels, ...inputs }: BertInputs & { readonly labels?: Tensor }): HeadOutput {
    const output = this.bert.forward(inputs);
    const logits = this.classifier.forward(this.dropout.forward(output.pooled!)); // (B, L)
    return { logits, ...(labels ? { loss: this.#loss(logits, labels) } : {}), ...internalsOf(output) };
  }

  #loss(logits: Tensor, labels: Tensor): Tensor {
    const [batch, count] = logits.shape as [number, number];
    if (this.config.problemType === null) {
      const problemType =
        count === 1
          ? 'regression'
          : labels.ndim === 2 && labels.shape[1] === count
            ? 'multi_label_classification'
            : 'single_label_classification';
      this.config = Object.freeze({ ...this.config, problemType }); // saved with the model, as in Transformers
    }
    if (this.config.problemType === 'single_label_classification') {
      if (labels.size !== batch)
        throw new Error(
          `labels are ${showShape(labels.shape)}; one class number for each of the ${batch} texts is needed`,
        );
      return crossEntropy(logits, reshape(labels, [batch]));
    }
    if (labels.size !== logits.size) {
      throw new Error(
        `labels are ${showShape(labels.shape)}; ${this.config.problemType} needs ` +
          `${showShape(logits.shape)}, like the logits`,
      );
    }
    const target = reshape(labels, logits.shape);
    return this.config.problemType === 'regression' ? mse(logits, target) : bceWithLogits(logits, target);
  }
}

/** A linear classifier on every token, as for named entities. */
export class BertForTokenClassification extends BertPreTrainedModel {
  readonly bert: BertModel;
  readonly dropout: Dropout;
  readonly classifier: Linear;

  constructor(config: BertConfig) {
    super(config);
    this.bert = new BertModel(config, { addPoolingLayer: false });
    this.dropout = new Dropout(config.classifierDropout ?? config.hiddenDropoutProb);
    this.classifier = dense(config, config.hiddenSize, config.numLabels);
  }

  /** Logits (B, T, numLabels). Labels: class numbers [B, T], -100 where a token does not count. */
  override forward({ labels, ...inputs }: BertInputs & { readonly labels?: Tensor }): HeadOutput {
    const output = this.bert.forward(inputs);
    const logits = this.classifier.forward(this.dropout.forward(output.lastHiddenState)); // (B, T, L)
    return { logits, ...(labels ? { loss: tokenLoss(logits, labels) } : {}), ...internalsOf(output) };
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

/** The first and the last token of an answer within the text. */
export class BertForQuestionAnswering extends BertPreTrainedModel {
  readonly bert: BertModel;
  readonly qaOutputs: Linear;

  constructor(config: BertConfig) {
    super(config);
    if (config.numLabels !== 2)
      throw new Error(
        `BertForQuestionAnswering: needs numLabels 2 (start and end), got ${config.numLabels}; pass { numLabels: 2 }`,
      );
    this.bert = new BertModel(config, { addPoolingLayer: false });
    this.qaOutputs = dense(config, config.hiddenSize, 2);
  }

  override forward({ startPositions, endPositions, ...inputs }: BertInputs & AnswerLabels): QuestionAnsweringOutput {
    if (!startPositions !== !endPositions)
      throw new Error('a loss needs startPositions and endPositions; give both or neither');
    const output = this.bert.forward(inputs);
    const both = this.qaOutputs.forward(output.lastHiddenState); // (B, T, 2)
    const [startLogits, endLogits] = [select(both, 2, 0), select(both, 2, 1)]; // (B, T)
    const loss =
      startPositions &&
      mul(add(positionLoss(startLogits, startPositions), positionLoss(endLogits, endPositions!)), 0.5);
    return { startLogits, endLogits, ...(loss ? { loss } : {}), ...internalsOf(output) };
  }
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
