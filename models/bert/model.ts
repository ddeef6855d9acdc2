import { add, cast, cumsum, knownRange, mul, ne, reshape } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { brief } from '../../common/printable.ts';
import type { ModelConfig } from '../config.ts';
import { hookPoint } from '../hooks/points.ts';
import { Module } from '../module.ts';
import { activate } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import { additiveMask, attend, attendPacked, headPoints, splitHeads, splitPacked } from '../nn/attend.ts';
import type { Attended, PackedAttentionOptions } from '../nn/attend.ts';
import { Dropout } from '../nn/dropout.ts';
import { Embedding, firstRows } from '../nn/embedding.ts';
import { attendLinearly } from '../nn/linear-attention.ts';
import { linearsSideBySide, projectTogether } from '../nn/linear.ts';
import type { Linear } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import { normalInit, zerosInit } from '../parameter.ts';
import type { Initializer } from '../parameter.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { dense, FirstTokenPooler } from '../transformer/encoder-heads.ts';
import type { PooledOutput } from '../transformer/encoder-heads.ts';
import { checkRange, checkShape, checkTokenInputs, checkWhole } from '../transformer/inputs.ts';
import type { TokenInputs } from '../transformer/inputs.ts';
import { addAttention, addFeedForward, runLayers } from '../transformer/layers.ts';
import type { Join } from '../transformer/layers.ts';
import type { EncoderOutput } from '../transformer/outputs.ts';
import { BertConfig } from './config.ts';
import { TokensLeft } from './token-pruning.ts';

/** The settings that layers depend on, in every encoder of BERT's kind. */
export type LayerShape = Pick<
  BertConfig,
  | 'hiddenSize'
  | 'numHiddenLayers'
  | 'numAttentionHeads'
  | 'intermediateSize'
  | 'hiddenAct'
  | 'hiddenDropoutProb'
  | 'attentionProbsDropoutProb'
  | 'initializerRange'
  | 'layerNormEps'
> & {
  /** See `prunedHeads` of BERT's settings. */
  readonly prunedHeads?: Readonly<Record<string, readonly number[]>> | undefined;
  /** Whether queries, keys and values have biases; default true. */
  readonly qkvBias?: boolean;
  /** Further keys of config.json: `linear_attention` of BERT's own layers. */
  readonly extra?: ModelConfig['extra'];
};

/** The settings that the embeddings depend on; no token types: typeVocabSize 0. */
export type EmbeddingsShape = Pick<
  BertConfig,
  | 'vocabSize'
  | 'hiddenSize'
  | 'maxPositionEmbeddings'
  | 'typeVocabSize'
  | 'padTokenId'
  | 'hiddenDropoutProb'
  | 'initializerRange'
  | 'layerNormEps'
>;

export function norm({ layerNormEps, hiddenSize }: Pick<LayerShape, 'layerNormEps' | 'hiddenSize'>): LayerNorm {
  return new LayerNorm(hiddenSize, { eps: layerNormEps });
}

/** What every BERT takes. `tokenizer.encode` gives inputIds, attentionMask and tokenTypeIds. */
export interface BertInputs extends TokenInputs {
  /** Which of two texts a token belongs to, [B, T]. Default: 0. */
  readonly tokenTypeIds?: Tensor;
}

export interface EmbeddingsOptions {
  /** Width of the tables; default hiddenSize. */
  readonly dim?: number;
  /**
   * The row of padding in the table of positions, as in fairseq: the first token has the row after it, and
   * padding tokens this row itself, whatever stands around them.
   */
  readonly paddingPosition?: number;
  /** Whether there is a table of positions; default true. */
  readonly hasPositions?: boolean;
  /** First values of the table of positions; default normal. */
  readonly positionsInit?: Initializer;
}

/** What rows of tokens an encoder reads. */
export interface RowLimits {
  /**
   * Tokens of a row at most: in RoBERTa and MPNet two fewer than maxPositionEmbeddings, where the first rows
   * of the table are padding's.
   */
  readonly positions: number;
  /** Whether the model tells types of tokens apart; else it is given none. */
  readonly tokenTypes: boolean;
}

/** What rows of tokens a model with BERT's embeddings in it reads. Error: it has none. */
export function rowLimits(model: Module): RowLimits {
  let limits = knownLimits.get(model);
  if (!limits) {
    const embeddings = model.modules().find((module): module is Module & Limited => 'rowLimits' in module);
    if (!embeddings) throw new Error(`${model.constructor.name} has no embeddings of tokens; give an encoder`);
    limits = embeddings.rowLimits;
    knownLimits.set(model, limits);
  }
  return limits;
}

/** A module that knows how long rows may be. */
interface Limited {
  readonly rowLimits: RowLimits;
}

const knownLimits = new WeakMap<Module, RowLimits>();

/** The sum of the embeddings of token, position and token type, normalised. */
export class BertEmbeddings extends Module {
  readonly wordEmbeddings: Embedding;
  readonly positionEmbeddings: Embedding | undefined;
  readonly tokenTypeEmbeddings: Embedding | undefined;
  readonly LayerNorm: LayerNorm;
  readonly dropout: Dropout;
  readonly #config: EmbeddingsShape;
  readonly #paddingPosition: number | undefined;

  constructor(config: EmbeddingsShape, options: EmbeddingsOptions = {}) {
    super();
    const weightInit = normalInit(config.initializerRange);
    const { dim = config.hiddenSize, paddingPosition, hasPositions = true, positionsInit = weightInit } = options;
    this.#config = config;
    this.#paddingPosition = paddingPosition;
    this.wordEmbeddings = new Embedding(config.vocabSize, dim, {
      weightInit,
      paddingIdx: paddingPosition ?? config.padTokenId ?? undefined,
    });
    this.positionEmbeddings = hasPositions
      ? new Embedding(config.maxPositionEmbeddings, dim, { weightInit: positionsInit, paddingIdx: paddingPosition })
      : undefined;
    this.tokenTypeEmbeddings =
      config.typeVocabSize > 0 ? new Embedding(config.typeVocabSize, dim, { weightInit }) : undefined;
    this.LayerNorm = new LayerNorm(dim, { eps: config.layerNormEps });
    this.dropout = new Dropout(config.hiddenDropoutProb);
  }

  /** What rows of tokens may have. */
  get rowLimits(): RowLimits {
    const { maxPositionEmbeddings, typeVocabSize } = this.#config;
    return { positions: maxPositionEmbeddings - (this.#paddingPosition ?? -1) - 1, tokenTypes: typeVocabSize > 1 };
  }

  /** inputIds (B, T) -> (B, T, E). */
  override forward(inputs: BertInputs): Tensor {
    this.#check(inputs);
    const words = this.wordEmbeddings.forward(inputs.inputIds); // (B, T, E)
    const [types, positions] = [this.#types(inputs), this.#positions(inputs)];
    const typed = types ? add(words, types) : words; // (B, T, E)
    const sum = positions ? add(typed, positions) : typed; // (B, T, E)
    return this.dropout.forward(this.LayerNorm.forward(sum));
  }

  /**
   * Throws in one line for inputs that the model cannot take: values are checked where the host knows them.
   */
  #check({ tokenTypeIds, ...inputs }: BertInputs): void {
    const { vocabSize, maxPositionEmbeddings, typeVocabSize } = this.#config;
    checkTokenInputs(inputs, { vocabSize, positions: maxPositionEmbeddings, paddingPosition: this.#paddingPosition });
    checkWhole('tokenTypeIds', tokenTypeIds);
    checkShape('tokenTypeIds', tokenTypeIds, [inputs.inputIds.shape]);
    checkRange('token type', tokenTypeIds, Math.max(typeVocabSize, 1), 'the token types', 'leave tokenTypeIds out');
  }

  /** (E) or (B, T, E). */
  #types({ tokenTypeIds }: BertInputs): Tensor | undefined {
    if (!this.tokenTypeEmbeddings) return undefined;
    // Known to be all of type 0: one row for every token, without a gather and its scatter in backward.
    const range = tokenTypeIds && knownRange(tokenTypeIds);
    const plain = !tokenTypeIds || (range && range[0] === 0 && range[1] === 0);
    return plain
      ? reshape(firstRows(this.tokenTypeEmbeddings, 1), [-1])
      : this.tokenTypeEmbeddings.forward(tokenTypeIds!);
  }

  /** (T, E) or (B, T, E). */
  #positions({ inputIds, positionIds }: BertInputs): Tensor | undefined {
    if (!this.positionEmbeddings) return undefined;
    const padding = this.#paddingPosition;
    if (positionIds) return this.positionEmbeddings.forward(positionIds);
    if (padding === undefined) return firstRows(this.positionEmbeddings, inputIds.shape[1]!);
    const isToken = cast(ne(inputIds, padding), 'i32'); // (B, T)
    return this.positionEmbeddings.forward(add(mul(cumsum(isToken, 1), isToken), padding));
  }
}

export interface SelfAttentionOptions extends Omit<PackedAttentionOptions, 'heads'> {
  readonly headDim: number;
  /** By products of features, without dropout; see `linearAttention`. Default false. */
  readonly isLinear?: boolean;
}

/** Attention of x (B, T, D) to itself, by the projections of queries, keys and values: (B, T, D). */
export function selfAttend(
  projections: readonly [query: Linear, key: Linear, value: Linear],
  x: Tensor,
  { headDim, isLinear = false, ...options }: SelfAttentionOptions,
): Attended {
  const qkv = projectTogether(projections, x); // (B, T, 3 D)
  if (qkv && isLinear) return attendLinearly(...headPoints(splitPacked(qkv, qkv.shape[2]! / 3 / headDim)), options);
  if (qkv) return attendPacked(qkv, { heads: qkv.shape[2]! / 3 / headDim, ...options });
  const heads = (layer: Linear): Tensor => {
    const y = layer.forward(x);
    return splitHeads(y, y.shape[2]! / headDim); // (B, H, T, D/H)
  };
  const [q, k, v] = headPoints([heads(projections[0]), heads(projections[1]), heads(projections[2])]);
  return isLinear ? attendLinearly(q, k, v, options) : attend(q, k, v, options);
}

/** Projections of queries, keys and values whose weights lie side by side. */
export function selfProjections(
  dim: number,
  initializerRange: number,
  { width = dim, bias = true }: { readonly width?: number; readonly bias?: boolean } = {},
): [query: Linear, key: Linear, value: Linear] {
  const options = { weightInit: normalInit(initializerRange), biasInit: zerosInit, bias };
  return linearsSideBySide(dim, [width, width, width], options) as [Linear, Linear, Linear];
}

/**
 * The weights of `query`, `key` and `value` lie side by side, so that one product computes all three, and one
 * its derivative. Each may be replaced, wrapped or hooked: then they are computed apart.
 */
export class BertSelfAttention extends Module {
  query: Linear;
  key: Linear;
  value: Linear;
  readonly dropout: Dropout;
  readonly numHeads: number;
  readonly headDim: number;
  /** Whether scores are products of features, `linear_attention` of config.json; see `linearAttention`. */
  readonly isLinear: boolean;

  constructor(config: LayerShape, layer: number) {
    super();
    const { linear_attention: isLinear = false } = config.extra ?? {};
    if (typeof isLinear !== 'boolean')
      throw new Error(`linear_attention of the config is ${brief(isLinear)}; give true or false`);
    this.isLinear = isLinear;
    const { hiddenSize, initializerRange, attentionProbsDropoutProb, numAttentionHeads, prunedHeads } = config;
    const { qkvBias: bias = true } = config;
    this.numHeads = numAttentionHeads - (prunedHeads?.[layer]?.length ?? 0);
    this.headDim = hiddenSize / numAttentionHeads;
    [this.query, this.key, this.value] = selfProjections(hiddenSize, initializerRange, { width: this.width, bias });
    this.dropout = new Dropout(attentionProbsDropoutProb);
  }

  /** What all heads together give for a token. */
  get width(): number {
    return this.numHeads * this.headDim;
  }

  /** x (B, T, D) -> (B, T, H headDim); the mask is added to the scores (B, H, T, T). */
  override forward(x: Tensor, mask: Tensor | undefined, outputWeights: boolean): Attended {
    const { query, key, value, dropout, headDim, isLinear } = this;
    return selfAttend([query, key, value], x, { headDim, mask, dropout, outputWeights, isLinear });
  }

  override extraRepr(): string {
    return `heads: ${this.numHeads}${this.isLinear ? ', linear' : ''}`;
  }
}

/** LayerNorm(dropout(dense(x)) + residual): the end of the attention and of the feed-forward part. */
export class BertOutput extends Module {
  readonly dense: Linear;
  readonly LayerNorm: LayerNorm;
  readonly dropout: Dropout;

  constructor(config: LayerShape, inFeatures: number) {
    super();
    this.dense = dense(config, inFeatures, config.hiddenSize);
    this.LayerNorm = norm(config);
    this.dropout = new Dropout(config.hiddenDropoutProb);
  }

  /** `join` adds what the part made to the residual. */
  override forward(x: Tensor, residual: Tensor, join: Join): Tensor {
    return this.LayerNorm.forward(join(residual, this.dropout.forward(this.dense.forward(x)))); // (B, T, D)
  }
}

/**
 * A part that mixes tokens: x (B, T, D) -> (B, T, D). `bias` is what every layer adds to the scores (B, H, T,
 * T): a mask, positions.
 */
export interface AttentionPart<Bias> extends Module {
  forward(x: Tensor, bias: Bias, outputWeights: boolean): Attended;
}

export class BertAttention<Bias, Self extends AttentionPart<Bias>> extends Module {
  readonly self: Self;
  readonly output: BertOutput;

  constructor(config: LayerShape, self: Self, width = config.hiddenSize) {
    super();
    this.self = self;
    this.output = new BertOutput(config, width);
  }

  override forward(x: Tensor, bias: Bias, outputWeights: boolean): Attended {
    const { hidden, weights } = this.self.forward(x, bias, outputWeights);
    return { hidden: this.output.forward(hidden, x, addAttention), weights };
  }
}

export class BertIntermediate extends Module {
  readonly dense: Linear;
  readonly activation: ActivationName;

  constructor(config: LayerShape) {
    super();
    this.dense = dense(config, config.hiddenSize, config.intermediateSize);
    this.activation = config.hiddenAct;
  }

  override forward(x: Tensor): Tensor {
    return activate(this.activation, this.dense.forward(x)); // (B, T, F)
  }

  override extraRepr(): string {
    return this.activation;
  }
}

/** Attention and a feed-forward part, each followed by residual and normalisation (post-LN). */
export class BertLayer<Bias, Attention extends AttentionPart<Bias>> extends Module {
  readonly attention: Attention;
  readonly intermediate: BertIntermediate;
  readonly output: BertOutput;

  constructor(config: LayerShape, attention: Attention) {
    super();
    this.attention = attention;
    this.intermediate = new BertIntermediate(config);
    this.output = new BertOutput(config, config.intermediateSize);
  }

  /** x (B, T, D) -> (B, T, D), or (B, T', D) where `prune` leaves fewer tokens behind the attention. */
  override forward(x: Tensor, bias: Bias, outputWeights = false, prune?: (attended: Attended) => Tensor): Attended {
    const attended = this.attention.forward(x, bias, outputWeights || prune !== undefined); // (B, T, D)
    const { weights } = attended;
    const hidden = prune ? prune(attended) : attended.hidden;
    const last = this.output.forward(this.intermediate.forward(hidden), hidden, addFeedForward);
    return { hidden: hookPoint('hook_normalized_resid_post', last), weights };
  }
}

export class BertEncoder extends Module {
  readonly layer: readonly BertLayer<Tensor | undefined, BertAttention<Tensor | undefined, BertSelfAttention>>[];
  /** Off-ramps behind all layers but the last, of classifiers that texts may leave early; see `exitEarly`. */
  highway: readonly (Module & { forward(hidden: Tensor): Tensor })[] | undefined;
  /** The share of a text's tokens that goes on behind each layer, of classifiers; undefined: all do. */
  tokenRetention: readonly number[] | undefined;

  constructor(config: LayerShape) {
    super();
    this.layer = Array.from({ length: config.numHiddenLayers }, (_, i) => {
      const self = new BertSelfAttention(config, i);
      return new BertLayer(config, new BertAttention(config, self, self.width));
    });
  }

  /** x (B, T, D) -> (B, T, D) and what was asked for; the mask is added to the scores (B, H, T, T). */
  override forward(
    x: Tensor,
    mask: Tensor | undefined,
    options: Pick<TokenInputs, 'outputHiddenStates' | 'outputAttentions'>,
  ): EncoderOutput {
    if (this.tokenRetention) return this.#pruning(x, mask, options, this.tokenRetention);
    return runLayers(x, this.layer, {
      ...options,
      run: (layer, y, outputWeights) => layer.forward(y, mask, outputWeights),
    });
  }

  #pruning(
    x: Tensor,
    mask: Tensor | undefined,
    { outputHiddenStates = false, outputAttentions = false }: Parameters<BertEncoder['forward']>[2],
    shares: readonly number[],
  ): EncoderOutput {
    if (outputHiddenStates || outputAttentions)
      throw new Error(
        'token_retention: later layers have fewer tokens, so that hidden states and attention do not go together; ' +
          'take it out of config.json to see them',
      );
    const left = new TokensLeft(shares, x.shape[1]!, mask);
    return runLayers(x, this.layer, {
      run: (layer, y, _, at) => {
        const own = left.maskOf(at);
        return layer.forward(y, own, false, left.goBehind(at) ? (by) => left.prune(at, own, by) : undefined);
      },
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

export type BertModelOutput = PooledOutput;

/** The parts of an encoder of BERT's kind. */
export interface EncoderParts<Inputs extends TokenInputs> {
  readonly embeddings: { forward(inputs: Inputs): Tensor };
  readonly encoder: { forward(x: Tensor, mask: Tensor | undefined, inputs: Inputs): EncoderOutput };
  readonly pooler?: { forward(hidden: Tensor): Tensor } | undefined;
}

/** Embeddings, layers and a pooler, as BERT and families of its kind have them. */
export function encodeTokens<Inputs extends TokenInputs>(
  { embeddings, encoder, pooler }: EncoderParts<Inputs>,
  inputs: Inputs,
): PooledOutput {
  const x = embeddings.forward(inputs); // (B, T, D)
  const mask = inputs.attentionMask && additiveMask(inputs.attentionMask, x.dtype); // (B, 1, 1 or T, T)
  const encoded = encoder.forward(x, mask, inputs);
  return pooler ? { ...encoded, pooled: pooler.forward(encoded.lastHiddenState) } : encoded;
}

export interface BaseModelOptions {
  /** Default true. */
  readonly addPoolingLayer?: boolean;
}

/**
 * The bare encoder (Devlin et al. 2019): tokens to one vector for each, and one for the whole from [CLS].
 *
 * @example
 * const shape = { vocabSize: 50, hiddenSize: 8, intermediateSize: 16 };
 * const config = { ...shape, numHiddenLayers: 1, numAttentionHeads: 2 };
 * const model = BertModel.fromConfig(config);
 * model.forward({ inputIds: tensor([[2, 7, 3]], { dtype: 'i32' }) }).lastHiddenState.shape; // [1, 3, 8]
 */
export class BertModel extends BertPreTrainedModel {
  readonly embeddings: BertEmbeddings;
  readonly encoder: BertEncoder;
  readonly pooler: FirstTokenPooler | undefined;

  constructor(config: BertConfig, { addPoolingLayer = true }: BaseModelOptions = {}) {
    super(config);
    this.embeddings = new BertEmbeddings(config);
    this.encoder = new BertEncoder(config);
    this.pooler = addPoolingLayer ? new FirstTokenPooler(config) : undefined;
  }

  override forward(inputs: BertInputs): PooledOutput {
    return encodeTokens(this, inputs);
  }
}
