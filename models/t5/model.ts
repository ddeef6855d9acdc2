import { add } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { activate, activateGate } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import { additiveMask, attend, headPoints, mergeHeads, splitHeads } from '../nn/attend.ts';
import type { Attended, AttentionPart } from '../nn/attend.ts';
import { Dropout } from '../nn/dropout.ts';
import { Embedding } from '../nn/embedding.ts';
import type { KeyValueCache, LayerCache } from '../nn/kv-cache.ts';
import { Linear } from '../nn/linear.ts';
import { RMSNorm } from '../nn/norm.ts';
import { RelativeBias } from '../nn/relative-bias.ts';
import { normalInit } from '../parameter.ts';
import { PreTrainedModel } from '../pretrained.ts';
import { checkTokenInputs } from '../transformer/inputs.ts';
import type { Seq2SeqInputs, TokenInputs } from '../transformer/inputs.ts';
import { addAttention, addCrossAttention, addFeedForward, runLayers } from '../transformer/layers.ts';
import type { Join, LayerOutput } from '../transformer/layers.ts';
import type { DecoderOutput, Seq2SeqOutput } from '../transformer/outputs.ts';
import { runSeq2Seq, sourceMaskOf } from '../transformer/seq2seq.ts';
import type { Seq2SeqDecoderInputs } from '../transformer/seq2seq.ts';
import { feedForwardOf, T5Config } from './config.ts';

type Side = 'encoder' | 'decoder';

/** A linear layer without bias; its weights begin with this deviation, times the config's factor. */
function dense({ initializerFactor }: T5Config, inFeatures: number, outFeatures: number, std: number): Linear {
  return new Linear(inFeatures, outFeatures, { bias: false, weightInit: normalInit(initializerFactor * std) });
}

const norm = ({ dModel, layerNormEpsilon: eps }: T5Config): RMSNorm => new RMSNorm(dModel, { eps });

interface T5AttendOptions {
  /** Added to the scores (B, H, Tq, Tk): what is masked, and the bias of relative positions. */
  readonly mask?: Tensor;
  /** Let position i attend to positions 0..i only. */
  readonly causal?: boolean;
  /** Return the attention weights. */
  readonly outputWeights?: boolean;
  readonly part?: AttentionPart;
}

/**
 * Multi-head attention whose scores are not scaled: the first weights are smaller instead (Raffel et al.
 * 2020). That of a side's first layer has the bias of relative positions for all.
 */
class T5Attention extends Module {
  readonly q: Linear;
  readonly k: Linear;
  readonly v: Linear;
  readonly o: Linear;
  readonly relativeAttentionBias: RelativeBias | undefined;
  readonly dropout: Dropout;
  readonly heads: number;

  constructor(config: T5Config, biasOf?: Side) {
    super();
    const { dModel, dKv, numHeads: heads, initializerFactor } = config;
    const inner = heads * dKv;
    this.q = dense(config, dModel, inner, (dModel * dKv) ** -0.5);
    this.k = dense(config, dModel, inner, dModel ** -0.5);
    this.v = dense(config, dModel, inner, dModel ** -0.5);
    this.o = dense(config, inner, dModel, inner ** -0.5);
    this.relativeAttentionBias =
      biasOf &&
      new RelativeBias({
        buckets: config.relativeAttentionNumBuckets,
        maxDistance: config.relativeAttentionMaxDistance,
        bidirectional: biasOf === 'encoder',
        heads,
        initStd: initializerFactor * dModel ** -0.5,
      });
    this.dropout = new Dropout(config.dropoutRate);
    this.heads = heads;
  }

  /** Keys and values of a source (B, Tk, D), by head: (B, H, Tk, Dkv) each. */
  keysAndValues(source: Tensor): [k: Tensor, v: Tensor] {
    return [splitHeads(this.k.forward(source), this.heads), splitHeads(this.v.forward(source), this.heads)];
  }

  #queries(x: Tensor): Tensor {
    return splitHeads(this.q.forward(x), this.heads); // (B, H, Tq, Dkv)
  }

  /** x (B, Tq, D) attends to the source (B, Tk, D) -> (B, Tq, D). */
  override forward(x: Tensor, source: Tensor, options: T5AttendOptions): Attended {
    const [k, v] = this.keysAndValues(source);
    const [q, keys, values] = headPoints([this.#queries(x), k, v], options.part);
    const { hidden, weights } = attend(q, keys, values, { ...options, scale: 1, dropout: this.dropout });
    return { hidden: this.o.forward(hidden), weights };
  }

  /** Self-attention of the tokens after those of a cache: x (B, T, D) -> (B, T, D). */
  continueFrom(past: LayerCache, x: Tensor, bias: Tensor | undefined): Tensor {
    const [k, v] = this.keysAndValues(x);
    return this.o.forward(mergeHeads(past.attend(this.#queries(x), k, v, { scale: 1, bias })));
  }

  /** Attention to the source that a cache has read: x (B, T, D) -> (B, T, D). */
  attendToSource(past: LayerCache, x: Tensor): Tensor {
    return this.o.forward(mergeHeads(past.attendToSource(this.#queries(x), { scale: 1 })));
  }

  override extraRepr(): string {
    return `heads: ${this.heads}`;
  }
}

/** A part of a block: what it makes of its normalised input is added to the input. */
abstract class T5Part extends Module {
  readonly layerNorm: RMSNorm;
  readonly dropout: Dropout;

  constructor(config: T5Config) {
    super();
    this.layerNorm = norm(config);
    this.dropout = new Dropout(config.dropoutRate);
  }

  /** x (B, T, D) and what `part` makes of it -> (B, T, D). */
  add<P extends Attended>(x: Tensor, join: Join, part: (x: Tensor) => P): P {
    const made = part(this.layerNorm.forward(x));
    return { ...made, hidden: join(x, this.dropout.forward(made.hidden)) };
  }
}

class T5LayerSelfAttention extends T5Part {
  readonly SelfAttention: T5Attention;

  constructor(config: T5Config, biasOf?: Side) {
    super(config);
    this.SelfAttention = new T5Attention(config, biasOf);
  }

  /** (B, T, D) -> (B, T, D). */
  override forward(x: Tensor, options: T5AttendOptions): Attended {
    return this.add(x, addAttention, (y) => this.SelfAttention.forward(y, y, options));
  }
}

class T5LayerCrossAttention extends T5Part {
  readonly EncDecAttention: T5Attention;

  constructor(config: T5Config) {
    super(config);
    this.EncDecAttention = new T5Attention(config);
  }

  /** x (B, T, D) and the source (B, S, D) -> (B, T, D). */
  override forward(x: Tensor, source: Tensor, options: T5AttendOptions): Attended {
    return this.add(x, addCrossAttention, (y) => this.EncDecAttention.forward(y, source, options));
  }
}

/** act(x W) W', in T5 v1.1 gated by another projection (Shazeer 2020): (act(x W0) * x W1) W'. */
class T5Dense extends Module {
  static override readonly keys = { wi0: 'wi_0', wi1: 'wi_1' };

  readonly wi: Linear | undefined;
  readonly wi0: Linear | undefined;
  readonly wi1: Linear | undefined;
  readonly wo: Linear;
  readonly dropout: Dropout;
  readonly activation: ActivationName;

  constructor(config: T5Config) {
    super();
    const { dModel, dFf } = config;
    const { activation, isGated } = feedForwardOf(config);
    const into = (): Linear => dense(config, dModel, dFf, dModel ** -0.5);
    this.wi = isGated ? undefined : into();
    this.wi0 = isGated ? into() : undefined;
    this.wi1 = isGated ? into() : undefined;
    this.wo = dense(config, dFf, dModel, dFf ** -0.5);
    this.dropout = new Dropout(config.dropoutRate);
    this.activation = activation;
  }

  /** (..., D) -> (..., D). */
  override forward(x: Tensor): Tensor {
    const gate = (this.wi ?? this.wi0!).forward(x); // (..., F)
    const hidden = this.wi1
      ? activateGate(this.activation, gate, this.wi1.forward(x))
      : activate(this.activation, gate);
    return this.wo.forward(this.dropout.forward(hidden));
  }

  override extraRepr(): string {
    return this.activation;
  }
}

class T5LayerFF extends T5Part {
  readonly DenseReluDense: T5Dense;

  constructor(config: T5Config) {
    super(config);
    this.DenseReluDense = new T5Dense(config);
  }

  /** (B, T, D) -> (B, T, D). */
  override forward(x: Tensor): Tensor {
    return this.add(x, addFeedForward, (y) => ({ hidden: this.DenseReluDense.forward(y) })).hidden;
  }
}

interface BlockOptions extends T5AttendOptions {
  /** Of a decoder: the encoder's output (B, S, D), and what is added to the scores of it. */
  readonly source?: Tensor;
  readonly sourceMask?: Tensor;
}

/** Self-attention, in a decoder attention to the encoder's output, and a feed-forward part. */
class T5Block extends Module {
  readonly layer: readonly T5Part[];

  constructor(config: T5Config, side: Side, isFirst: boolean) {
    super();
    const own = new T5LayerSelfAttention(config, isFirst ? side : undefined);
    const cross = side === 'decoder' ? [new T5LayerCrossAttention(config)] : [];
    this.layer = [own, ...cross, new T5LayerFF(config)];
  }

  get own(): T5LayerSelfAttention {
    return this.layer[0] as T5LayerSelfAttention;
  }

  get cross(): T5LayerCrossAttention {
    return this.layer[1] as T5LayerCrossAttention;
  }

  #feedForward(x: Tensor): Tensor {
    return (this.layer.at(-1) as T5LayerFF).forward(x); // (B, T, D)
  }

  /** x (B, T, D) -> (B, T, D). */
  override forward(x: Tensor, { source, sourceMask, ...options }: BlockOptions): LayerOutput {
    const { outputWeights } = options;
    const own = this.own.forward(x, options);
    if (!source) return { hidden: this.#feedForward(own.hidden), weights: own.weights };
    const cross = this.cross.forward(own.hidden, source, { mask: sourceMask, outputWeights, part: 'cross_attn' });
    return { hidden: this.#feedForward(cross.hidden), weights: own.weights, crossWeights: cross.weights };
  }

  /** The same for the tokens after those of a cache, which has read the source: x (B, T, D) -> (B, T, D). */
  continueFrom(past: LayerCache, x: Tensor, bias: Tensor | undefined): Tensor {
    const own = this.own.add(x, addAttention, (y) => ({ hidden: this.own.SelfAttention.continueFrom(past, y, bias) }));
    const cross = this.cross.add(own.hidden, addCrossAttention, (y) => ({
      hidden: this.cross.EncDecAttention.attendToSource(past, y),
    }));
    return this.#feedForward(cross.hidden);
  }
}

/** One side: embeddings, blocks, a norm at the end. */
class T5Stack extends Module {
  readonly embedTokens: Embedding;
  readonly block: readonly T5Block[];
  readonly finalLayerNorm: RMSNorm;
  readonly dropout: Dropout;
  readonly side: Side;

  constructor(config: T5Config, side: Side, embedTokens: Embedding) {
    super();
    const count = side === 'encoder' ? config.numLayers : (config.numDecoderLayers ?? config.numLayers);
    this.embedTokens = embedTokens;
    this.block = Array.from({ length: count }, (_, i) => new T5Block(config, side, i === 0));
    this.finalLayerNorm = norm(config);
    this.dropout = new Dropout(config.dropoutRate);
    this.side = side;
  }

  /** The bias of relative positions for all layers; none where there are no layers. */
  get #bias(): RelativeBias | undefined {
    return this.block[0]?.own.SelfAttention.relativeAttentionBias;
  }

  #embed(inputIds: Tensor): Tensor {
    return this.dropout.forward(this.embedTokens.forward(inputIds)); // (B, T, D)
  }

  #end(x: Tensor): Tensor {
    return this.dropout.forward(this.finalLayerNorm.forward(x)); // (B, T, D)
  }

  override forward(inputs: TokenInputs & Partial<Seq2SeqDecoderInputs>): DecoderOutput {
    const { inputIds, attentionMask, encoderHiddenStates: source } = inputs;
    checkTokenInputs(inputs, { vocabSize: this.embedTokens.weight.shape[0]!, positions: Infinity });
    if (inputs.positionIds) throw new Error('T5 knows distances of tokens, not positions; leave positionIds out');
    const x = this.#embed(inputIds);
    const bias = this.#bias?.among(inputIds.shape[1]!); // (1, H, T, T)
    const hidden = attentionMask && additiveMask(attentionMask, x.dtype);
    const mask = bias && hidden ? add(bias, hidden) : (bias ?? hidden);
    const causal = this.side === 'decoder';
    const sourceMask = source && sourceMaskOf(x, { ...inputs, encoderHiddenStates: source });
    return runLayers(x, this.block, {
      ...inputs,
      run: (block, y, outputWeights) => block.forward(y, { mask, causal, outputWeights, source, sourceMask }),
      norm: (y) => this.#end(y),
      stack: this.side,
    });
  }

  /**
   * Keys and values of what the encoder made of the source (B, S, D), for every layer: once for all tokens of
   * the target.
   */
  readSource(source: Tensor, cache: KeyValueCache): void {
    this.block.forEach(({ cross }, i) => {
      cache.source.write(i, ...cross.EncDecAttention.keysAndValues(source));
    });
  }

  /** Tokens (B, T) after those of a cache, which has read the source -> (B, T, D). */
  continueFrom(cache: KeyValueCache, inputIds: Tensor): Tensor {
    const bias = this.#bias?.between(cache.positions(inputIds.shape[1]!), cache.capacity); // (B, H, T, capacity)
    const x = this.#embed(inputIds);
    return this.#end(this.block.reduce((y, block, i) => block.continueFrom(cache.layer(i), y, bias), x));
  }
}

export type { T5Stack };

/** What T5 with a head and without has alike: both sides, and the one table of embeddings. */
export function t5Parts(config: T5Config): { shared: Embedding; encoder: T5Stack; decoder: T5Stack } {
  const { vocabSize, dModel, initializerFactor } = config;
  const shared = new Embedding(vocabSize, dModel, { weightInit: normalInit(initializerFactor) });
  const side = (name: Side): T5Stack =>
    new T5Stack(config, name, new Embedding(vocabSize, dModel, { weight: shared.weight }));
  return { shared, encoder: side('encoder'), decoder: side('decoder') };
}

export const keyRules = {
  baseModelPrefix: 'transformer',
  // In the files of the first T5; nothing uses it.
  ignoredKeys: /^decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight$/,
};

/**
 * T5 (Raffel et al. 2020): an encoder-decoder that knows positions by the distances of tokens.
 *
 * @example
 * const config = { vocabSize: 50, dModel: 16, dFf: 32, numLayers: 1 };
 * const model = T5Model.fromConfig(config);
 * const inputIds = tensor([[5, 7, 2]], { dtype: 'i32' });
 * const decoderInputIds = tensor([[2, 4]], { dtype: 'i32' });
 * model.forward({ inputIds, decoderInputIds }).lastHiddenState.shape; // [1, 2, 16]
 */
export class T5Model extends PreTrainedModel<T5Config> {
  static readonly configFormat = T5Config;
  static readonly keyRules = keyRules;

  readonly shared: Embedding;
  readonly encoder: T5Stack;
  readonly decoder: T5Stack;

  constructor(config: T5Config) {
    super(config);
    const { shared, encoder, decoder } = t5Parts(config);
    this.shared = shared;
    this.encoder = encoder;
    this.decoder = decoder;
  }

  override forward(inputs: Seq2SeqInputs): Seq2SeqOutput {
    return runSeq2Seq(this, inputs);
  }
}
