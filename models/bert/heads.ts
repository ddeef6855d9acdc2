import { add, crossEntropy, reshape } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { brief } from '../../common/printable.ts';
import type { ModelConfig } from '../config.ts';
import { Module } from '../module.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import { Dropout } from '../nn/dropout.ts';
import type { Linear } from '../nn/linear.ts';
import type { LayerNorm } from '../nn/norm.ts';
import { tokenLoss } from '../nn/token-loss.ts';
import { parameter, zerosInit } from '../parameter.ts';
import type { Parameter } from '../parameter.ts';
import { dense, encoderHeads, FirstTokenPooler, predictTokens } from '../transformer/encoder-heads.ts';
import type { MaskedTokens, PooledOutput, TokenHead } from '../transformer/encoder-heads.ts';
import { internalsOf } from '../transformer/outputs.ts';
import type { HeadOutput, Internals } from '../transformer/outputs.ts';
import type { BertConfig } from './config.ts';
import { BertModel, BertPreTrainedModel, norm } from './model.ts';
import type { BertInputs } from './model.ts';
import { tokenRetentionOf } from './token-pruning.ts';

const heads = encoderHeads<'bert', BertInputs, BertConfig, typeof BertPreTrainedModel, BertModel>(BertPreTrainedModel, {
  prefix: 'bert',
  encoder: (config, addPoolingLayer) => new BertModel(config, { addPoolingLayer }),
  dim: ({ hiddenSize }) => hiddenSize,
  dropout: classifierDropout,
});

/** The dropout before a classifier of BERT's kind. */
export function classifierDropout(config: Pick<BertConfig, 'classifierDropout' | 'hiddenDropoutProb'>): number {
  return config.classifierDropout ?? config.hiddenDropoutProb;
}

class BertPredictionHeadTransform extends Module {
  readonly dense: Linear;
  readonly LayerNorm: LayerNorm;
  readonly activation: ActivationName;

  constructor(config: PredictionSettings) {
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

/** The settings that BERT's head for tokens depends on. */
type PredictionSettings = Pick<
  BertConfig,
  'hiddenSize' | 'vocabSize' | 'tieWordEmbeddings' | 'initializerRange' | 'layerNormEps' | 'hiddenAct'
>;

/**
 * Scores of all tokens. The decoder's weight is the table of word embeddings, unless
 * `config.tieWordEmbeddings` is false.
 */
export class BertLMPredictionHead extends Module implements TokenHead {
  bias: Parameter;
  // `transform` is a method of every head for tokens.
  static override readonly keys = { transformLayers: 'transform' };
  readonly transformLayers: BertPredictionHeadTransform;
  readonly decoder: Linear;

  constructor(config: PredictionSettings, wordEmbeddings: Parameter) {
    super();
    const { hiddenSize, vocabSize, tieWordEmbeddings } = config;
    this.bias = parameter([vocabSize], zerosInit);
    this.transformLayers = new BertPredictionHeadTransform(config);
    const tied = tieWordEmbeddings ? { weight: wordEmbeddings, bias: this.bias } : {};
    this.decoder = dense(config, hiddenSize, vocabSize, tied);
  }

  transform(hidden: Tensor): Tensor {
    return this.transformLayers.forward(hidden); // (B, T, D)
  }

  override forward(hidden: Tensor): Tensor {
    return this.decoder.forward(this.transform(hidden)); // (B, T, V)
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

/**
 * Predicts masked tokens.
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = BertForMaskedLM.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 50]
 */
export class BertForMaskedLM extends heads.MaskedLM {
  readonly cls: BertHeads;

  constructor(config: BertConfig) {
    super(config);
    this.cls = new BertHeads(config, { tokensOf: this.bert });
  }

  protected override get tokenHead(): TokenHead {
    return this.cls.predictions!;
  }
}

/**
 * Whether the second text follows the first: label 0, it does; 1, it was drawn at random.
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = BertForNextSentencePrediction.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 2]
 */
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

/**
 * Both of BERT's pre-training tasks: masked tokens and next sentence.
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = BertForPreTraining.fromConfig(config);
 * const output = model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) });
 * output.predictionLogits.shape; // [1, 3, 50]
 * output.seqRelationshipLogits.shape; // [1, 2]
 */
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
    const { logits, loss: maskedLMLoss } = predictTokens(this.cls.predictions!, output.lastHiddenState, masked);
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
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = BertForRotaryFill.fromConfig(config);
 * const { logits, rotatedLogits } = model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) });
 * logits.shape; // [1, 3, 50]
 * rotatedLogits.shape; // [1, 3, 2]
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
    const masked = { labels, maskedPositions, outputLogits };
    const { logits, loss: fillLoss } = predictTokens(this.cls.predictions!, hidden, masked);
    const rotatedLogits = this.detector.forward(hidden); // (B, T, 2)
    const scores = { ...(logits ? { logits } : {}), rotatedLogits, ...internalsOf(output) };
    if (!fillLoss) return scores;
    const rotatedLoss = tokenLoss(rotatedLogits, rotatedLabels!);
    return { ...scores, loss: add(fillLoss, rotatedLoss), fillLoss, rotatedLoss };
  }
}

/** A linear classifier on the pooled output. */
/**
 * The entropy, in nats, below which a text leaves at an off-ramp, `early_exit_entropy` of config.json;
 * undefined: there are no off-ramps. Error, one line: it is no number from 0 up.
 */
export function exitEntropyOf({ extra }: ModelConfig): number | undefined {
  const { early_exit_entropy: entropy } = extra;
  if (entropy === undefined || (typeof entropy === 'number' && entropy >= 0 && Number.isFinite(entropy)))
    return entropy;
  throw new Error(`early_exit_entropy of the config is ${brief(entropy)}; give a number from 0 up`);
}

/** A pooler and a classifier of its own behind a layer, with the keys of DeeBERT's files. */
class BertHighway extends Module {
  readonly pooler: FirstTokenPooler;
  readonly dropout: Dropout;
  readonly classifier: Linear;

  constructor(config: BertConfig) {
    super();
    this.pooler = new FirstTokenPooler(config);
    this.dropout = new Dropout(classifierDropout(config));
    this.classifier = dense(config, config.hiddenSize, config.numLabels);
  }

  /** The layer's output (B, T, D) -> (B, L). */
  override forward(hidden: Tensor): Tensor {
    return this.classifier.forward(this.dropout.forward(this.pooler.forward(hidden)));
  }
}

/**
 * The classifier of BERT; with `early_exit_entropy` in its config it has off-ramps, which `forward` does not
 * take and `exitEarly` does (DeeBERT, Xin et al. 2020).
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = BertForSequenceClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 2]
 */
export class BertForSequenceClassification extends heads.SequenceClassification {
  readonly dropout: Dropout;
  readonly classifier: Linear;

  constructor(config: BertConfig) {
    super(config, true);
    this.bert.encoder.tokenRetention = tokenRetentionOf(config, config.numHiddenLayers);
    this.dropout = new Dropout(classifierDropout(config));
    this.classifier = dense(config, config.hiddenSize, config.numLabels);
    if (exitEntropyOf(config) !== undefined)
      this.bert.encoder.highway = Array.from({ length: config.numHiddenLayers - 1 }, () => new BertHighway(config));
  }

  protected override score({ pooled }: PooledOutput): Tensor {
    return this.classifier.forward(this.dropout.forward(pooled!)); // (B, L)
  }
}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = BertForTokenClassification.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).logits.shape; // [1, 3, 2]
 */
export class BertForTokenClassification extends heads.TokenClassification {}

/**
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = BertForQuestionAnswering.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).startLogits.shape; // [1, 3]
 */
export class BertForQuestionAnswering extends heads.QuestionAnswering {}
