import { add, mul } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { hookPoint } from '../hooks/points.ts';
import { Module } from '../module.ts';
import { activate } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import { additiveMask, attend, headPoints, mergeHeads, splitHeads } from '../nn/attend.ts';
import type { Attended, AttentionPart } from '../nn/attend.ts';
import { Dropout } from '../nn/dropout.ts';
import { Embedding, firstRows } from '../nn/embedding.ts';
import type { KeyValueCache, LayerCache } from '../nn/kv-cache.ts';
import { Linear } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import { SinusoidalPositions } from '../nn/sinusoidal.ts';
import { normalInit, zerosInit } from '../parameter.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { checkTokenInputs } from '../transformer/inputs.ts';
import type { Seq2SeqInputs, TokenInputs } from '../transformer/inputs.ts';
import { addAttention, addCrossAttention, addFeedForward, runLayers } from '../transformer/layers.ts';
import type { Join, LayerOutput } from '../transformer/layers.ts';
import type { DecoderOutput, EncoderOutput, Seq2SeqOutput } from '../transformer/outputs.ts';
import { runSeq2Seq, sourceMaskOf } from '../transformer/seq2seq.ts';
import type { Seq2SeqDecoderInputs } from '../transformer/seq2seq.ts';
import {
  architectureOf,
  BartConfig,
  MarianConfig,
  MBartConfig,
  PegasusConfig,
  sharesEmbeddings,
  targetVocabulary,
} from './config.ts';
import type { BartLikeConfig } from './config.ts';

/** A linear layer with BART's initialisation: normal weights, biases 0. */
function dense({ initStd }: BartLikeConfig, inFeatures: number, outFeatures: number): Linear {
  return new Linear(inFeatures, outFeatures, { weightInit: normalInit(initStd), biasInit: zerosInit });
}

/** A table of token embeddings, its weights shared with `other`. */
function tokens({ dModel, initStd, padTokenId }: BartLikeConfig, count: number, other?: Embedding): Embedding {
  const shared = other ? { weight: other.weight } : {};
  return new Embedding(count, dModel, { paddingIdx: padTokenId, weightInit: normalInit(initStd), ...shared });
}

/** Keys and values by head, (B, H, Tk, D/H) each, as a cache keeps them. */
interface KeysAndValues {
  readonly k: Tensor;
  readonly v: Tensor;
}

interface BartAttendOptions {
  /** Added to the scores (B, H, Tq, Tk). */
  readonly mask?: Tensor;
  /** Let position i attend to positions 0..i only. */
  readonly causal?: boolean;
  /** Return the attention weights. */
  readonly outputWeights?: boolean;
  readonly part?: AttentionPart;
}

/** Multi-head attention of some tokens to themselves or to others (Vaswani et al. 2017, section 3.2.2). */
class BartAttention extends Module {
  readonly kProj: Linear;
  readonly vProj: Linear;
  readonly qProj: Linear;
  readonly outProj: Linear;
  readonly dropout: Dropout;
  readonly numHeads: number;

  constructor(config: BartLikeConfig, numHeads: number) {
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
  override forward(x: Tensor, { k, v }: KeysAndValues, options: BartAttendOptions = {}): Attended {
    const q = splitHeads(this.qProj.forward(x), this.numHeads); // (B, H, Tq, D/H)
    const { hidden, weights } = attend(...headPoints([q, k, v], options.part), { ...options, dropout: this.dropout });
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

/**
 * The common part of encoder and decoder layers: parts that are added to what went in. Normalised is either
 * the sum (post-LN; Vaswani et al. 2017, section 3.1) or what goes into the part (pre-LN).
 */
abstract class BartLayer extends Module {
  readonly selfAttn: BartAttention;
  readonly selfAttnLayerNorm: LayerNorm;
  readonly fc1: Linear;
  readonly fc2: Linear;
  readonly finalLayerNorm: LayerNorm;
  readonly dropout: Dropout;
  readonly activationDropout: Dropout;
  readonly activation: ActivationName;
  readonly normFirst: boolean;

  constructor(config: BartLikeConfig, side: 'encoder' | 'decoder') {
    super();
    const hidden = config[`${side}FfnDim`];
    this.selfAttn = new BartAttention(config, config[`${side}AttentionHeads`]);
    this.selfAttnLayerNorm = new LayerNorm(config.dModel);
    this.fc1 = dense(config, config.dModel, hidden);
    this.fc2 = dense(config, hidden, config.dModel);
    this.finalLayerNorm = new LayerNorm(config.dModel);
    this.dropout = new Dropout(config.dropout);
    this.activationDropout = new Dropout(config.activationDropout);
    this.activation = config.activationFunction;
    this.normFirst = architectureOf(config).normFirst;
  }

  /** Adds a part's output to what went in, x (B, T, D). */
  protected addPart<P extends Attended>(x: Tensor, norm: LayerNorm, join: Join, part: (x: Tensor) => P): P {
    const made = part(this.normFirst ? norm.forward(x) : x);
    const sum = join(x, this.dropout.forward(made.hidden)); // (B, T, D)
    return { ...made, hidden: this.normFirst ? sum : norm.forward(sum) };
  }

  protected attendToSelf(x: Tensor, options: BartAttendOptions): Attended {
    return this.addPart(x, this.selfAttnLayerNorm, addAttention, (y) =>
      this.selfAttn.forward(y, this.selfAttn.keysAndValues(y), options),
    );
  }

  protected feedForward(x: Tensor): Tensor {
    const { hidden: last } = this.addPart(x, this.finalLayerNorm, addFeedForward, (y) => {
      const hidden = this.activationDropout.forward(activate(this.activation, this.fc1.forward(y))); // (B, T, F)
      return { hidden: this.fc2.forward(hidden) };
    });
    return this.normFirst ? last : hookPoint('hook_normalized_resid_post', last);
  }

  override extraRepr(): string {
    return this.activation;
  }
}

/** Self-attention and a feed-forward part. */
class BartEncoderLayer extends BartLayer {
  constructor(config: BartLikeConfig) {
    super(config, 'encoder');
  }

  /** x (B, T, D) -> (B, T, D); the mask is added to the scores (B, H, T, T). */
  override forward(x: Tensor, mask?: Tensor, outputWeights = false): Attended {
    const { hidden, weights } = this.attendToSelf(x, { mask, outputWeights });
    return { hidden: this.feedForward(hidden), weights };
  }
}

interface DecoderLayerOptions {
  /** Added to the scores of self-attention (B, H, T, T). */
  readonly mask?: Tensor;
  /** Added to the scores of attention to the encoder's output (B, H, T, S). */
  readonly sourceMask?: Tensor;
  readonly outputWeights?: boolean;
}

/** Causal self-attention, attention to the encoder's output, and a feed-forward part. */
class BartDecoderLayer extends BartLayer {
  readonly encoderAttn: BartAttention;
  readonly encoderAttnLayerNorm: LayerNorm;

  constructor(config: BartLikeConfig) {
    super(config, 'decoder');
    this.encoderAttn = new BartAttention(config, config.decoderAttentionHeads);
    this.encoderAttnLayerNorm = new LayerNorm(config.dModel);
  }

  /** x (B, T, D) and the encoder's output (B, S, D) -> (B, T, D). */
  override forward(x: Tensor, source: Tensor, options: DecoderLayerOptions = {}): LayerOutput {
    const { mask, sourceMask, outputWeights = false } = options;
    const own = this.attendToSelf(x, { mask, causal: true, outputWeights });
    const keysAndValues = this.encoderAttn.keysAndValues(source);
    const cross = this.addPart(own.hidden, this.encoderAttnLayerNorm, addCrossAttention, (y) =>
      this.encoderAttn.forward(y, keysAndValues, { mask: sourceMask, outputWeights, part: 'cross_attn' }),
    );
    return { hidden: this.feedForward(cross.hidden), weights: own.weights, crossWeights: cross.weights };
  }

  /** The same for the tokens after those of a cache, which has read the source: x (B, T, D) -> (B, T, D). */
  continueFrom(past: LayerCache, x: Tensor): Tensor {
    const own = this.addPart(x, this.selfAttnLayerNorm, addAttention, (y) => ({
      hidden: this.selfAttn.continueFrom(past, y),
    }));
    const cross = this.addPart(own.hidden, this.encoderAttnLayerNorm, addCrossAttention, (y) => ({
      hidden: this.encoderAttn.attendToSource(past, y),
    }));
    return this.feedForward(cross.hidden);
  }
}

/** Rows of BART's table of positions before that of position 0; nothing uses them. */
const offset = 2;

/** Positions as rows of a learned table. */
class LearnedPositions extends Embedding {
  constructor({ maxPositionEmbeddings, dModel, initStd }: BartLikeConfig) {
    super(maxPositionEmbeddings + offset, dModel, { weightInit: normalInit(initStd) });
  }

  /** The first `length` positions (T, D), or those given, [T] or [B, T] -> (..., D). */
  at(length: number, positions?: Tensor): Tensor {
    return positions ? this.forward(add(positions, offset)) : firstRows(this, length, offset);
  }
}

/** The common part of encoder and decoder: the embeddings. */
abstract class BartStack extends Module {
  readonly embedTokens: Embedding;
  readonly embedPositions: LearnedPositions | SinusoidalPositions;
  readonly layernormEmbedding: LayerNorm | undefined;
  /** At the end, where layers normalise first. */
  readonly layerNorm: LayerNorm | undefined;
  readonly dropout: Dropout;
  readonly positions: number;
  /** Factor of the token embeddings. */
  readonly scale: number;

  constructor(config: BartLikeConfig, embedTokens: Embedding) {
    super();
    const { maxPositionEmbeddings, dModel } = config;
    const { learnedPositions, normEmbeddings, normFirst } = architectureOf(config);
    this.embedTokens = embedTokens;
    this.embedPositions = learnedPositions
      ? new LearnedPositions(config)
      : new SinusoidalPositions(maxPositionEmbeddings, dModel, { persistent: config.modelType === 'pegasus' });
    this.layernormEmbedding = normEmbeddings ? new LayerNorm(dModel) : undefined;
    this.layerNorm = normFirst ? new LayerNorm(dModel) : undefined;
    this.dropout = new Dropout(config.dropout);
    this.positions = maxPositionEmbeddings;
    this.scale = config.scaleEmbedding ? Math.sqrt(dModel) : 1;
  }

  /** The sum of the embeddings of token and position, (B, T, D), and the mask added to scores. */
  protected embed(inputs: TokenInputs): { x: Tensor; mask: Tensor | undefined } {
    const { inputIds, positionIds, attentionMask } = inputs;
    checkTokenInputs(inputs, { vocabSize: this.embedTokens.weight.shape[0]!, positions: this.positions });
    const words = this.embedTokens.forward(inputIds); // (B, T, D)
    const length = inputIds.shape[1]!;
    const places =
      this.embedPositions instanceof LearnedPositions
        ? this.embedPositions.at(length, positionIds)
        : this.embedPositions.forward(length, positionIds); // (T, D) or (B, T, D)
    const sum = add(this.scale === 1 ? words : mul(words, this.scale), places);
    const x = this.dropout.forward(this.layernormEmbedding?.forward(sum) ?? sum);
    return { x, mask: attentionMask && additiveMask(attentionMask, x.dtype) };
  }

  /** The last layer's output, normalised where the family does. */
  protected readonly end = (x: Tensor): Tensor => this.layerNorm?.forward(x) ?? x;
}

/** The source's tokens to one vector for each. */
class BartEncoder extends BartStack {
  readonly layers: readonly BartEncoderLayer[];

  constructor(config: BartLikeConfig, embedTokens: Embedding) {
    super(config, embedTokens);
    this.layers = Array.from({ length: config.encoderLayers }, () => new BartEncoderLayer(config));
  }

  override forward(inputs: TokenInputs): EncoderOutput {
    const { x, mask } = this.embed(inputs);
    const run = (layer: BartEncoderLayer, y: Tensor, weights: boolean): LayerOutput => layer.forward(y, mask, weights);
    return runLayers(x, this.layers, { ...inputs, run, norm: this.end, stack: 'encoder' });
  }
}

/**
 * The target's tokens to one vector for each, which knows of the whole source, that token and those before
 * it.
 */
class BartDecoder extends BartStack {
  readonly layers: readonly BartDecoderLayer[];

  constructor(config: BartLikeConfig, embedTokens: Embedding) {
    super(config, embedTokens);
    this.layers = Array.from({ length: config.decoderLayers }, () => new BartDecoderLayer(config));
  }

  override forward(inputs: Seq2SeqDecoderInputs): DecoderOutput {
    const { encoderHiddenStates: source } = inputs;
    const { x, mask } = this.embed(inputs);
    const sourceMask = sourceMaskOf(x, inputs); // (B, 1, 1 or T, S)
    return runLayers(x, this.layers, {
      ...inputs,
      run: (layer, y, outputWeights) => layer.forward(y, source, { mask, sourceMask, outputWeights }),
      norm: this.end,
      stack: 'decoder',
    });
  }

  /**
   * Keys and values of what the encoder made of the source (B, S, D), for every layer: once for all tokens of
   * the target.
   */
  readSource(source: Tensor, cache: KeyValueCache): void {
    this.layers.forEach(({ encoderAttn }, i) => {
      const { k, v } = encoderAttn.keysAndValues(source);
      cache.source.write(i, k, v);
    });
  }

  /** Tokens (B, T) after those of a cache, which has read the source -> (B, T, D). */
  continueFrom(cache: KeyValueCache, inputIds: Tensor): Tensor {
    const { x } = this.embed({ inputIds, positionIds: cache.positions(inputIds.shape[1]!) });
    return this.end(this.layers.reduce((y, layer, i) => layer.continueFrom(cache.layer(i), y), x));
  }
}

/**
 * The Transformer (Vaswani et al. 2017): an encoder of the source, and a decoder that attends to what it
 * made.
 */
export abstract class BartLikeModel<C extends BartLikeConfig> extends PreTrainedModel<C> {
  /** The one table of embeddings, if both sides share it. Each has a module of its own for it. */
  readonly shared: Embedding | undefined;
  readonly encoder: BartEncoder;
  readonly decoder: BartDecoder;

  constructor(config: C) {
    super(config);
    this.shared = sharesEmbeddings(config) ? tokens(config, config.vocabSize) : undefined;
    this.encoder = new BartEncoder(config, tokens(config, config.vocabSize, this.shared));
    this.decoder = new BartDecoder(config, tokens(config, targetVocabulary(config), this.shared));
  }

  override forward(inputs: Seq2SeqInputs): Seq2SeqOutput {
    return runSeq2Seq(this, inputs);
  }
}

const learned = { baseModelPrefix: 'model' };
const computed = { ...learned, computedKeys: /(^|\.)(encoder|decoder)\.embed_positions\.weight$/ };

/**
 * BART (Lewis et al. 2020): learned positions, normalised embeddings.
 *
 * @example
 * const config = { vocabSize: 50, dModel: 16, encoderFfnDim: 32, decoderFfnDim: 32 };
 * const model = BartModel.fromConfig(config);
 * const inputIds = tensor([[5, 7, 2]], { dtype: 'i32' });
 * const decoderInputIds = tensor([[2, 4]], { dtype: 'i32' });
 * model.forward({ inputIds, decoderInputIds }).lastHiddenState.shape; // [1, 2, 16]
 */
export class BartModel extends BartLikeModel<BartConfig> {
  static readonly configFormat = BartConfig;
  static readonly keyRules = learned;
}

/**
 * mBART (Liu et al. 2020): as BART, with normalisation before each part and at the end.
 *
 * @example
 * const config = { vocabSize: 50, dModel: 16, encoderFfnDim: 32, decoderFfnDim: 32 };
 * const model = MBartModel.fromConfig(config);
 * const inputIds = tensor([[5, 7, 2]], { dtype: 'i32' });
 * const decoderInputIds = tensor([[2, 4]], { dtype: 'i32' });
 * model.forward({ inputIds, decoderInputIds }).lastHiddenState.shape; // [1, 2, 16]
 */
export class MBartModel extends BartLikeModel<MBartConfig> {
  static readonly configFormat = MBartConfig;
  static readonly keyRules = learned;
}

/**
 * Pegasus (Zhang et al. 2020): as mBART, with sines for positions and embeddings as they are.
 *
 * @example
 * const config = { vocabSize: 50, dModel: 16, encoderFfnDim: 32, decoderFfnDim: 32 };
 * const model = PegasusModel.fromConfig(config);
 * const inputIds = tensor([[5, 7, 2]], { dtype: 'i32' });
 * const decoderInputIds = tensor([[2, 4]], { dtype: 'i32' });
 * model.forward({ inputIds, decoderInputIds }).lastHiddenState.shape; // [1, 2, 16]
 */
export class PegasusModel extends BartLikeModel<PegasusConfig> {
  static readonly configFormat = PegasusConfig;
  static readonly keyRules = computed;
}

/**
 * Marian (Junczys-Dowmunt et al. 2018): the Transformer as in its paper.
 *
 * @example
 * const config = { dModel: 16, encoderFfnDim: 32, decoderFfnDim: 32 };
 * const model = MarianModel.fromConfig(config);
 * const inputIds = tensor([[5, 7, 2]], { dtype: 'i32' });
 * const decoderInputIds = tensor([[2, 4]], { dtype: 'i32' });
 * model.forward({ inputIds, decoderInputIds }).lastHiddenState.shape; // [1, 2, 16]
 */
export class MarianModel extends BartLikeModel<MarianConfig> {
  static readonly configFormat = MarianConfig;
  static readonly keyRules = computed;
}
