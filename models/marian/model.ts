import { add, mul } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import { additiveMask, attend, mergeHeads, splitHeads } from '../nn/attend.ts';
import type { Attended } from '../nn/attend.ts';
import { Dropout } from '../nn/dropout.ts';
import { Embedding } from '../nn/embedding.ts';
import type { KeyValueCache, LayerCache } from '../nn/kv-cache.ts';
import { Linear } from '../nn/linear.ts';
import { LayerNorm } from '../nn/norm.ts';
import { SinusoidalPositions } from '../nn/sinusoidal.ts';
import { normalInit, zerosInit } from '../parameter.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { checkShape, checkTokenInputs } from '../transformer/inputs.ts';
import type { Seq2SeqInputs, TokenInputs } from '../transformer/inputs.ts';
import { runLayers } from '../transformer/layers.ts';
import type { LayerOutput } from '../transformer/layers.ts';
import { seq2seqInternals } from '../transformer/outputs.ts';
import type { DecoderOutput, EncoderOutput, Seq2SeqOutput } from '../transformer/outputs.ts';
import { MarianConfig, targetVocabulary } from './config.ts';

/** A linear layer with Marian's initialisation: normal weights, biases 0. */
function dense({ initStd }: MarianConfig, inFeatures: number, outFeatures: number): Linear {
  return new Linear(inFeatures, outFeatures, { weightInit: normalInit(initStd), biasInit: zerosInit });
}

/** A table of token embeddings, its weights shared with `other`. */
function tokens({ dModel, initStd, padTokenId }: MarianConfig, count: number, other?: Embedding): Embedding {
  const shared = other ? { weight: other.weight } : {};
  return new Embedding(count, dModel, { paddingIdx: padTokenId, weightInit: normalInit(initStd), ...shared });
}

/** Keys and values by head, (B, H, Tk, D/H) each, as a cache keeps them. */
interface KeysAndValues {
  readonly k: Tensor;
  readonly v: Tensor;
}

interface MarianAttendOptions {
  /** Added to the scores (B, H, Tq, Tk). */
  readonly mask?: Tensor;
  /** Let position i attend to positions 0..i only. */
  readonly causal?: boolean;
  /** Return the attention weights. */
  readonly outputWeights?: boolean;
}

/** Multi-head attention of some tokens to themselves or to others (Vaswani et al. 2017, section 3.2.2). */
class MarianAttention extends Module {
  readonly kProj: Linear;
  readonly vProj: Linear;
  readonly qProj: Linear;
  readonly outProj: Linear;
  readonly dropout: Dropout;
  readonly numHeads: number;

  constructor(config: MarianConfig, numHeads: number) {
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
  override forward(x: Tensor, { k, v }: KeysAndValues, options: MarianAttendOptions = {}): Attended {
    const q = splitHeads(this.qProj.forward(x), this.numHeads); // (B, H, Tq, D/H)
    const { hidden, weights } = attend(q, k, v, { ...options, dropout: this.dropout });
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
 * The common part of encoder and decoder layers: parts that are added to what went in and normalised
 * afterwards (post-LN; Vaswani et al. 2017, section 3.1).
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
class MarianEncoderLayer extends MarianLayer {
  constructor(config: MarianConfig) {
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
class MarianDecoderLayer extends MarianLayer {
  readonly encoderAttn: MarianAttention;
  readonly encoderAttnLayerNorm: LayerNorm;

  constructor(config: MarianConfig) {
    super(config, 'decoder');
    this.encoderAttn = new MarianAttention(config, config.decoderAttentionHeads);
    this.encoderAttnLayerNorm = new LayerNorm(config.dModel);
  }

  /** x (B, T, D) and the encoder's output (B, S, D) -> (B, T, D). */
  override forward(x: Tensor, source: Tensor, options: DecoderLayerOptions = {}): LayerOutput {
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

/** The common part of encoder and decoder: the embeddings. */
abstract class MarianStack extends Module {
  readonly embedTokens: Embedding;
  readonly embedPositions: SinusoidalPositions;
  readonly dropout: Dropout;
  /** Factor of the token embeddings. */
  readonly scale: number;

  constructor(config: MarianConfig, embedTokens: Embedding) {
    super();
    this.embedTokens = embedTokens;
    this.embedPositions = new SinusoidalPositions(config.maxPositionEmbeddings, config.dModel);
    this.dropout = new Dropout(config.dropout);
    this.scale = config.scaleEmbedding ? Math.sqrt(config.dModel) : 1;
  }

  /** The sum of the embeddings of token and position, (B, T, D), and the mask added to scores. */
  protected embed(inputs: TokenInputs): { x: Tensor; mask: Tensor | undefined } {
    const { inputIds, positionIds, attentionMask } = inputs;
    const [vocabSize, positions] = [this.embedTokens.weight.shape[0]!, this.embedPositions.table.shape[0]!];
    checkTokenInputs(inputs, { vocabSize, positions });
    const words = this.embedTokens.forward(inputIds); // (B, T, D)
    const places = this.embedPositions.forward(inputIds.shape[1]!, positionIds); // (T, D) or (B, T, D)
    const x = this.dropout.forward(add(this.scale === 1 ? words : mul(words, this.scale), places));
    return { x, mask: attentionMask && additiveMask(attentionMask, x.dtype) };
  }
}

/** The source's tokens to one vector for each. */
class MarianEncoder extends MarianStack {
  readonly layers: readonly MarianEncoderLayer[];

  constructor(config: MarianConfig, embedTokens: Embedding) {
    super(config, embedTokens);
    this.layers = Array.from({ length: config.encoderLayers }, () => new MarianEncoderLayer(config));
  }

  override forward(inputs: TokenInputs): EncoderOutput {
    const { x, mask } = this.embed(inputs);
    return runLayers(x, this.layers, { ...inputs, run: (layer, y, weights) => layer.forward(y, mask, weights) });
  }
}

export interface MarianDecoderInputs extends TokenInputs {
  /** The encoder's output for the source, (B, S, D). */
  readonly encoderHiddenStates: Tensor;
  /** Which of its tokens to attend to, [B, S] or [B, T, S]. Default: all. */
  readonly encoderAttentionMask?: Tensor;
}

/**
 * The target's tokens to one vector for each, which knows of the whole source, that token and those before
 * it.
 */
class MarianDecoder extends MarianStack {
  readonly layers: readonly MarianDecoderLayer[];

  constructor(config: MarianConfig, embedTokens: Embedding) {
    super(config, embedTokens);
    this.layers = Array.from({ length: config.decoderLayers }, () => new MarianDecoderLayer(config));
  }

  override forward(inputs: MarianDecoderInputs): DecoderOutput {
    const { encoderHiddenStates: source, encoderAttentionMask } = inputs;
    const { x, mask } = this.embed(inputs);
    const [batch, length, dim] = x.shape as [number, number, number];
    checkShape('encoderHiddenStates', source, [[batch, source.shape[1] ?? 0, dim]]);
    const sourceLength = source.shape[1]!;
    checkShape('encoderAttentionMask', encoderAttentionMask, [
      [batch, sourceLength],
      [batch, length, sourceLength],
    ]);
    const sourceMask = encoderAttentionMask && additiveMask(encoderAttentionMask, x.dtype); // (B, 1, 1 or T, S)
    return runLayers(x, this.layers, {
      ...inputs,
      run: (layer, y, outputWeights) => layer.forward(y, source, { mask, sourceMask, outputWeights }),
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
    return this.layers.reduce((y, layer, i) => layer.continueFrom(cache.layer(i), y), x);
  }
}

/**
 * The Transformer (Vaswani et al. 2017): an encoder of the source, and a decoder that attends to what it
 * made.
 */
export class MarianModel extends PreTrainedModel<MarianConfig> {
  static readonly configFormat = MarianConfig;
  static readonly keyRules = {
    baseModelPrefix: 'model',
    // Computed, not learned.
    ignoredKeys: /(^|\.)(encoder|decoder)\.embed_positions\.weight$/,
  };

  /** The one table of embeddings, if both sides share it. Each has a module of its own for it. */
  readonly shared: Embedding | undefined;
  readonly encoder: MarianEncoder;
  readonly decoder: MarianDecoder;

  constructor(config: MarianConfig) {
    super(config);
    this.shared = config.shareEncoderDecoderEmbeddings ? tokens(config, config.vocabSize) : undefined;
    this.encoder = new MarianEncoder(config, tokens(config, config.vocabSize, this.shared));
    this.decoder = new MarianDecoder(config, tokens(config, targetVocabulary(config), this.shared));
  }

  override forward(inputs: Seq2SeqInputs): Seq2SeqOutput {
    const { attentionMask, decoderInputIds, decoderAttentionMask, decoderPositionIds } = inputs;
    const { outputHiddenStates, outputAttentions } = inputs;
    if (!decoderInputIds)
      throw new Error('the decoder has no input; give decoderInputIds, or labels to a model with a head');
    const encoded = inputs.encoderOutputs ?? this.#encode(inputs);
    const decoded = this.decoder.forward({
      inputIds: decoderInputIds,
      attentionMask: decoderAttentionMask,
      positionIds: decoderPositionIds,
      encoderHiddenStates: encoded.lastHiddenState,
      encoderAttentionMask: attentionMask,
      outputHiddenStates,
      outputAttentions,
    });
    return { lastHiddenState: decoded.lastHiddenState, ...seq2seqInternals(encoded, decoded) };
  }

  #encode({ inputIds, attentionMask, outputHiddenStates, outputAttentions }: Seq2SeqInputs): EncoderOutput {
    if (!inputIds)
      throw new Error('the decoder has nothing to attend to; give inputIds, or encoderOutputs made before');
    return this.encoder.forward({ inputIds, attentionMask, outputHiddenStates, outputAttentions });
  }
}
