import { add, knownRange, reshape, select, tanh } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import { additiveMask, attend, attendPacked, splitHeads } from '../nn/attend.ts';
import type { Attended } from '../nn/attend.ts';
import { Dropout } from '../nn/dropout.ts';
import { Embedding, firstRows } from '../nn/embedding.ts';
import { Linear, linearsSideBySide, projectTogether } from '../nn/linear.ts';
import type { LinearOptions } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import { normalInit, zerosInit } from '../parameter.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { checkRange, checkShape, checkTokenInputs, checkWhole } from '../transformer/inputs.ts';
import type { TokenInputs } from '../transformer/inputs.ts';
import { runLayers } from '../transformer/layers.ts';
import type { EncoderOutput } from '../transformer/outputs.ts';
import { BertConfig } from './config.ts';

/** A linear layer with BERT's initialisation: normal weights, biases 0. */
export function dense(
  config: BertConfig,
  inFeatures: number,
  outFeatures: number,
  options: LinearOptions = {},
): Linear {
  return new Linear(inFeatures, outFeatures, {
    weightInit: normalInit(config.initializerRange),
    biasInit: zerosInit,
    ...options,
  });
}

export function norm(config: BertConfig): LayerNorm {
  return new LayerNorm(config.hiddenSize, { eps: config.layerNormEps });
}

/** What every BERT takes. `tokenizer.encode` gives inputIds, attentionMask and tokenTypeIds. */
export interface BertInputs extends TokenInputs {
  /** Which of two texts a token belongs to, [B, T]. Default: 0. */
  readonly tokenTypeIds?: Tensor;
}

/** Throws in one line for inputs that the model cannot take: values are checked where the host knows them. */
function checkInputs(inputs: BertInputs, config: BertConfig): void {
  const { vocabSize, maxPositionEmbeddings, typeVocabSize } = config;
  checkTokenInputs(inputs, { vocabSize, positions: maxPositionEmbeddings });
  checkWhole('tokenTypeIds', inputs.tokenTypeIds);
  checkShape('tokenTypeIds', inputs.tokenTypeIds, [inputs.inputIds.shape]);
  checkRange('token type', inputs.tokenTypeIds, typeVocabSize, 'the token types', 'leave tokenTypeIds out');
}

/** The sum of the embeddings of token, position and token type, normalised. */
class BertEmbeddings extends Module {
  readonly wordEmbeddings: Embedding;
  readonly positionEmbeddings: Embedding;
  readonly tokenTypeEmbeddings: Embedding;
  readonly LayerNorm: LayerNorm;
  readonly dropout: Dropout;
  readonly #config: BertConfig;

  constructor(config: BertConfig) {
    super();
    const weightInit = normalInit(config.initializerRange);
    this.#config = config;
    this.wordEmbeddings = new Embedding(config.vocabSize, config.hiddenSize, {
      weightInit,
      paddingIdx: config.padTokenId ?? undefined,
    });
    this.positionEmbeddings = new Embedding(config.maxPositionEmbeddings, config.hiddenSize, { weightInit });
    this.tokenTypeEmbeddings = new Embedding(config.typeVocabSize, config.hiddenSize, { weightInit });
    this.LayerNorm = norm(config);
    this.dropout = new Dropout(config.hiddenDropoutProb);
  }

  /** inputIds (B, T) -> (B, T, D). */
  override forward(inputs: BertInputs): Tensor {
    checkInputs(inputs, this.#config);
    const { inputIds, tokenTypeIds, positionIds } = inputs;
    const length = inputIds.shape[1]!;
    // Known to be all of type 0: one row for every token, without a gather and its scatter in backward.
    const range = tokenTypeIds && knownRange(tokenTypeIds);
    const plain = !tokenTypeIds || (range && range[0] === 0 && range[1] === 0);
    const words = this.wordEmbeddings.forward(inputIds); // (B, T, D)
    const types = plain
      ? reshape(firstRows(this.tokenTypeEmbeddings, 1), [-1]) // (D)
      : this.tokenTypeEmbeddings.forward(tokenTypeIds!); // (B, T, D)
    const positions = positionIds
      ? this.positionEmbeddings.forward(positionIds) // (T, D) or (B, T, D)
      : firstRows(this.positionEmbeddings, length); // (T, D)
    const sum = add(add(words, types), positions); // (B, T, D)
    return this.dropout.forward(this.LayerNorm.forward(sum));
  }
}

/**
 * The weights of `query`, `key` and `value` lie side by side, so that one product computes all three, and one
 * its derivative. Each may be replaced, wrapped or hooked: then they are computed apart.
 */
class BertSelfAttention extends Module {
  query: Linear;
  key: Linear;
  value: Linear;
  readonly dropout: Dropout;
  readonly numHeads: number;
  readonly headDim: number;

  constructor({ hiddenSize, initializerRange, attentionProbsDropoutProb, numAttentionHeads }: BertConfig) {
    super();
    const sizes = [hiddenSize, hiddenSize, hiddenSize];
    const options = { weightInit: normalInit(initializerRange), biasInit: zerosInit };
    [this.query, this.key, this.value] = linearsSideBySide(hiddenSize, sizes, options) as [Linear, Linear, Linear];
    this.dropout = new Dropout(attentionProbsDropoutProb);
    this.numHeads = numAttentionHeads;
    this.headDim = hiddenSize / numAttentionHeads;
  }

  /** x (B, T, D) -> (B, T, D); the mask is added to the scores (B, H, T, T). */
  override forward(x: Tensor, mask: Tensor | undefined, outputWeights: boolean): Attended {
    const { query, key, value, dropout, numHeads, headDim } = this;
    const options = { mask, dropout, outputWeights };
    const qkv = projectTogether([query, key, value], x); // (B, T, 3 D)
    if (qkv) return attendPacked(qkv, { heads: numHeads, ...options });
    const heads = (y: Tensor): Tensor => splitHeads(y, y.shape[2]! / headDim); // (B, H, T, D/H)
    return attend(heads(query.forward(x)), heads(key.forward(x)), heads(value.forward(x)), options);
  }

  override extraRepr(): string {
    return `heads: ${this.numHeads}`;
  }
}

/** LayerNorm(dropout(dense(x)) + residual): the end of the attention and of the feed-forward part. */
class BertOutput extends Module {
  readonly dense: Linear;
  readonly LayerNorm: LayerNorm;
  readonly dropout: Dropout;

  constructor(config: BertConfig, inFeatures: number) {
    super();
    this.dense = dense(config, inFeatures, config.hiddenSize);
    this.LayerNorm = norm(config);
    this.dropout = new Dropout(config.hiddenDropoutProb);
  }

  override forward(x: Tensor, residual: Tensor): Tensor {
    return this.LayerNorm.forward(add(this.dropout.forward(this.dense.forward(x)), residual)); // (B, T, D)
  }
}

class BertAttention extends Module {
  readonly self: BertSelfAttention;
  readonly output: BertOutput;

  constructor(config: BertConfig) {
    super();
    this.self = new BertSelfAttention(config);
    this.output = new BertOutput(config, config.hiddenSize);
  }

  override forward(x: Tensor, mask: Tensor | undefined, outputWeights: boolean): Attended {
    const { hidden, weights } = this.self.forward(x, mask, outputWeights);
    return { hidden: this.output.forward(hidden, x), weights };
  }
}

class BertIntermediate extends Module {
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
class BertLayer extends Module {
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

class BertEncoder extends Module {
  readonly layer: readonly BertLayer[];

  constructor(config: BertConfig) {
    super();
    this.layer = Array.from({ length: config.numHiddenLayers }, () => new BertLayer(config));
  }

  /** x (B, T, D) -> (B, T, D) and what was asked for; the mask is added to the scores (B, H, T, T). */
  override forward(
    x: Tensor,
    mask: Tensor | undefined,
    options: Pick<TokenInputs, 'outputHiddenStates' | 'outputAttentions'>,
  ): EncoderOutput {
    return runLayers(x, this.layer, {
      ...options,
      run: (layer, y, outputWeights) => layer.forward(y, mask, outputWeights),
    });
  }
}

/** The common part of all BERT classes: the config, and how their files name things. */
export abstract class BertPreTrainedModel extends PreTrainedModel<BertConfig> {
  static readonly configFormat = BertConfig;
  static readonly keyRules = {
    baseModelPrefix: 'bert',
    ignoredKeys: /(^|\.)embeddings\.(position_ids|token_type_ids)$/,
  };

  /** Checkpoints of heads that do not use the pooler lack it. */
  protected override mayBeNew(key: string): boolean {
    return /^(bert\.)?pooler\./.test(key) || super.mayBeNew(key);
  }
}

/** tanh(dense(x)) of the first token, [CLS]. */
class BertPooler extends Module {
  readonly dense: Linear;

  constructor(config: BertConfig) {
    super();
    this.dense = dense(config, config.hiddenSize, config.hiddenSize);
  }

  override forward(hidden: Tensor): Tensor {
    return tanh(this.dense.forward(select(hidden, 1, 0))); // (B, D)
  }
}

export interface BertModelOutput extends EncoderOutput {
  /** The pooler's output, (B, D); undefined in models without one. */
  readonly pooled?: Tensor;
}

/** The bare encoder (Devlin et al. 2019): tokens to one vector for each, and one for the whole from [CLS]. */
export class BertModel extends BertPreTrainedModel {
  readonly embeddings: BertEmbeddings;
  readonly encoder: BertEncoder;
  readonly pooler: BertPooler | undefined;

  constructor(config: BertConfig, { addPoolingLayer = true }: { readonly addPoolingLayer?: boolean } = {}) {
    super(config);
    this.embeddings = new BertEmbeddings(config);
    this.encoder = new BertEncoder(config);
    this.pooler = addPoolingLayer ? new BertPooler(config) : undefined;
  }

  override forward(inputs: BertInputs): BertModelOutput {
    const x = this.embeddings.forward(inputs); // (B, T, D)
    const mask = inputs.attentionMask && additiveMask(inputs.attentionMask, x.dtype); // (B, 1, 1 or T, T)
    const encoded = this.encoder.forward(x, mask, inputs);
    return this.pooler ? { ...encoded, pooled: this.pooler.forward(encoded.lastHiddenState) } : encoded;
  }
}
