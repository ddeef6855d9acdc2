// Decoders with rotary positions, as Llama is one: what their families do alike. A family's model.ts says
// what it does its own way.
import { arange, permute, reshape } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { hookPoint } from '../hooks/points.ts';
import { Module } from '../module.ts';
import { activateGate } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import { additiveMask, attend, mergeHeads } from '../nn/attend.ts';
import { Dropout } from '../nn/dropout.ts';
import { Embedding } from '../nn/embedding.ts';
import type { LayerCache, Scoring } from '../nn/kv-cache.ts';
import { Linear } from '../nn/linear.ts';
import { RMSNorm } from '../nn/norm.ts';
import { RotaryEmbedding, rotaryPositions, rotate } from '../nn/rotary.ts';
import type { Rotation } from '../nn/rotary.ts';
import { normalInit, zerosInit } from '../parameter.ts';
import { PreTrainedModel } from '../pretrained.ts';
import type { PreTrainedClass } from '../pretrained.ts';
import type { KeyRules } from '../io/state-dict.ts';
import { CausalLM, lmHead } from './causal-lm.ts';
import { headSize, keyValueHeads, scalingIn, turningSize } from './decoder-config.ts';
import type { DecoderConfig } from './decoder-config.ts';
import { checkDecoderInputs } from './inputs.ts';
import type { DecoderInputs } from './inputs.ts';
import { addAttention, addFeedForward, runLayers } from './layers.ts';
import type { LayerOutput } from './layers.ts';
import type { EncoderOutput } from './outputs.ts';

/** Beside the hidden states, what a layer is given. */
export interface LayerInputs {
  /** Turns queries and keys; undefined where they are not turned. */
  readonly rotation: Rotation | undefined;
  /** Added to the scores, (B, 1, 1 or T, T). */
  readonly mask: Tensor | undefined;
  /** See `DecoderInputs`. */
  readonly documentIds: Tensor | undefined;
  readonly outputWeights: boolean;
  /** With it, x are the tokens after those of the cache. */
  readonly past: LayerCache | undefined;
}

/** A layer of a decoder: x (B, T, D) -> (B, T, D). */
export interface DecoderLayer extends Module {
  forward(x: Tensor, inputs: LayerInputs): LayerOutput;
}

/** A linear layer as these models begin with: normal weights, biases 0. */
export function projection(
  { initializerRange }: Pick<DecoderConfig, 'initializerRange'>,
  inFeatures: number,
  outFeatures: number,
  bias: boolean,
): Linear {
  return new Linear(inFeatures, outFeatures, { bias, weightInit: normalInit(initializerRange), biasInit: zerosInit });
}

/**
 * Causal self-attention; several query heads may share a head of keys and values (Ainslie et al. 2023). A
 * family's class has the projections in fields named as in its files.
 */
export abstract class CausalAttention extends Module {
  readonly dropout: Dropout;
  /** Numbers in a head. */
  readonly headDim: number;
  readonly scoring: Scoring;

  constructor({ attentionDropout }: Pick<DecoderConfig, 'attentionDropout'>, headDim: number, scoring: Scoring = {}) {
    super();
    this.dropout = new Dropout(attentionDropout);
    this.headDim = headDim;
    this.scoring = scoring;
  }

  /** Queries (B, T, H, D/H), keys and values (B, T, Hkv, D/H) of x (B, T, D), before they are turned. */
  protected abstract project(x: Tensor): readonly [q: Tensor, k: Tensor, v: Tensor];

  /** The heads' results side by side, (B, T, H D/H) -> (B, T, D). */
  protected abstract join(heads: Tensor): Tensor;

  override forward(x: Tensor, { rotation, mask, documentIds, outputWeights, past }: LayerInputs): LayerOutput {
    const { scoring, dropout } = this;
    const projected = this.project(x);
    const byHead = (heads: Tensor): Tensor => permute(heads, [0, 2, 1, 3]); // (B, H, T, D/H)
    const turned = (name: 'q' | 'k', heads: Tensor): Tensor => {
      const plain = hookPoint(`attn.hook_${name}`, heads);
      return byHead(rotation ? hookPoint(`attn.hook_rot_${name}`, rotate(plain, rotation)) : plain);
    };
    const [q, k] = [turned('q', projected[0]), turned('k', projected[1])];
    const v = byHead(hookPoint('attn.hook_v', projected[2]));
    if (past) return { hidden: this.join(mergeHeads(past.attend(q, k, v, scoring))) };
    const seen = { mask, documents: documentIds, causal: true };
    const { hidden, weights } = attend(q, k, v, { ...scoring, ...seen, dropout, outputWeights });
    return { hidden: this.join(hidden), weights };
  }

  /** A projection (B, T, H D) by head, (B, T, H, D). */
  protected heads(x: Tensor): Tensor {
    return reshape(x, [x.shape[0]!, x.shape[1]!, -1, this.headDim]);
  }
}

export interface AttentionParts extends Scoring {
  /** Add biases. Default false. */
  readonly bias?: boolean;
  /** Default as `bias`. */
  readonly outputBias?: boolean;
}

/** Attention with a projection each for queries, keys, values and the output. */
export class ProjectedAttention extends CausalAttention {
  readonly qProj: Linear;
  readonly kProj: Linear;
  readonly vProj: Linear;
  readonly oProj: Linear;

  constructor(config: DecoderConfig, { bias = false, outputBias = bias, ...scoring }: AttentionParts = {}) {
    const { hiddenSize, numAttentionHeads } = config;
    const dim = headSize(config);
    super(config, dim, scoring);
    const [wide, narrow] = [numAttentionHeads * dim, keyValueHeads(config) * dim];
    this.qProj = projection(config, hiddenSize, wide, bias);
    this.kProj = projection(config, hiddenSize, narrow, bias);
    this.vProj = projection(config, hiddenSize, narrow, bias);
    this.oProj = projection(config, wide, hiddenSize, outputBias);
  }

  protected override project(x: Tensor): readonly [Tensor, Tensor, Tensor] {
    return [this.heads(this.qProj.forward(x)), this.heads(this.kProj.forward(x)), this.heads(this.vProj.forward(x))];
  }

  protected override join(heads: Tensor): Tensor {
    return this.oProj.forward(heads);
  }

  override extraRepr(): string {
    const heads = (x: Linear): number => x.weight.shape[0]! / this.headDim;
    return `heads: ${heads(this.qProj)}, of keys and values: ${heads(this.kProj)}`;
  }
}

/** down(activation(gate(x)) * up(x)): with silu, SwiGLU (Shazeer 2020). */
export class GatedMLP extends Module {
  readonly gateProj: Linear;
  readonly upProj: Linear;
  readonly downProj: Linear;
  readonly activation: ActivationName;

  constructor(
    config: Pick<DecoderConfig, 'hiddenSize' | 'initializerRange'> & { readonly intermediateSize: number },
    activation: ActivationName,
    bias = false,
  ) {
    super();
    const { hiddenSize, intermediateSize } = config;
    this.gateProj = projection(config, hiddenSize, intermediateSize, bias);
    this.upProj = projection(config, hiddenSize, intermediateSize, bias);
    this.downProj = projection(config, intermediateSize, hiddenSize, bias);
    this.activation = activation;
  }

  override forward(x: Tensor): Tensor {
    const [gate, up] = [this.gateProj.forward(x), this.upProj.forward(x)]; // (B, T, F)
    return this.downProj.forward(activateGate(this.activation, gate, up)); // (B, T, D)
  }

  override extraRepr(): string {
    return this.activation;
  }
}

/** Attention and a feed-forward part, each normalised before and added to what went in (pre-LN). */
export class PreNormLayer<
  A extends CausalAttention = ProjectedAttention,
  M extends Module & { forward(x: Tensor): Tensor } = GatedMLP,
> extends Module {
  static override readonly keys = { inputNorm: 'input_layernorm', postAttentionNorm: 'post_attention_layernorm' };

  readonly inputNorm: RMSNorm;
  readonly selfAttn: A;
  readonly postAttentionNorm: RMSNorm;
  readonly mlp: M;
  /** On what each part adds. */
  readonly residDropout: Dropout;

  constructor(norm: () => RMSNorm, selfAttn: A, mlp: M, residDropout = 0) {
    super();
    this.inputNorm = norm();
    this.selfAttn = selfAttn;
    this.postAttentionNorm = norm();
    this.mlp = mlp;
    this.residDropout = new Dropout(residDropout);
  }

  override forward(x: Tensor, inputs: LayerInputs): LayerOutput {
    const { hidden, weights } = this.selfAttn.forward(this.inputNorm.forward(x), inputs);
    const y = addAttention(x, this.residDropout.forward(hidden)); // (B, T, D)
    const z = this.mlp.forward(this.postAttentionNorm.forward(y));
    return { hidden: addFeedForward(y, this.residDropout.forward(z)), weights };
  }
}

export const rmsNorm = ({ hiddenSize, rmsNormEps }: { readonly hiddenSize: number; readonly rmsNormEps: number }) =>
  new RMSNorm(hiddenSize, { eps: rmsNormEps });

/** Positions that a model has. */
export const positionsOf = (config: DecoderConfig): number =>
  rotaryPositions(config.maxPositionEmbeddings, scalingIn(config));

/** The bare decoder: tokens to one vector for each, which knows of that token and those before it. */
export abstract class RotaryDecoder<
  C extends DecoderConfig = DecoderConfig,
  L extends DecoderLayer = DecoderLayer,
> extends PreTrainedModel<C> {
  static readonly keyRules: KeyRules = {
    baseModelPrefix: 'model',
    // Frequencies, which old files carry in every layer.
    ignoredKeys: /rotary_emb\.inv_freq$/,
  };

  readonly embedTokens: Embedding;
  readonly layers: readonly L[];
  readonly norm: Module & { forward(x: Tensor): Tensor };
  readonly rotaryEmb: RotaryEmbedding;

  constructor(config: C) {
    super(config);
    const { vocabSize, hiddenSize, initializerRange, numHiddenLayers } = config;
    const paddingIdx = this.paddingIdx();
    this.embedTokens = new Embedding(vocabSize, hiddenSize, {
      ...(paddingIdx === null ? {} : { paddingIdx }),
      weightInit: normalInit(initializerRange),
    });
    this.layers = Array.from({ length: numHiddenLayers }, (_, index) => this.layer(index));
    this.norm = this.finalNorm();
    this.rotaryEmb = new RotaryEmbedding(turningSize(config), {
      theta: config.ropeTheta,
      scaling: scalingIn(config) ?? undefined,
      maxPositions: config.maxPositionEmbeddings,
    });
  }

  /** Builds a layer from the config; it is asked for before the fields of a family's class are there. */
  protected abstract layer(index: number): L;
  /** Builds the norm of the last layer's output. */
  protected abstract finalNorm(): Module & { forward(x: Tensor): Tensor };

  /** The token whose vector is not trained. */
  protected paddingIdx(): number | null {
    return this.config.padTokenId;
  }

  /** The vectors of tokens [B, T]: (B, T, D). */
  protected embed(inputIds: Tensor): Tensor {
    return this.embedTokens.forward(inputIds);
  }

  /** What turns queries and keys of each layer at these positions, (T) or (B, T); see `RotaryEmbedding`. */
  protected rotations(positions: Tensor, textLengths?: Tensor): (layer: number) => Rotation | undefined {
    const rotation = this.rotaryEmb.forward(positions, textLengths);
    return () => rotation;
  }

  override forward(inputs: DecoderInputs): EncoderOutput {
    checkDecoderInputs(inputs, { vocabSize: this.config.vocabSize, positions: positionsOf(this.config) });
    const { inputIds, cache, attentionMask, documentIds } = inputs;
    const length = inputIds.shape[1]!;
    const { positionIds = cache?.positions(length) ?? arange(0, length) } = inputs;
    const x = hookPoint('hook_embed', this.embed(inputIds)); // (B, T, D)
    const rotations = this.rotations(positionIds, cache?.textLengths(positionIds));
    const mask = attentionMask && additiveMask(attentionMask, x.dtype); // (B, 1, 1 or T, T)
    return runLayers(x, this.layers, {
      ...inputs,
      run: (layer, y, outputWeights, i) =>
        layer.forward(y, { rotation: rotations(i), mask, documentIds, outputWeights, past: cache?.layer(i) }),
      norm: (y) => this.norm.forward(y),
    });
  }
}

/** A decoder with the head it was trained with: predicts the next token. */
export abstract class RotaryForCausalLM<C extends DecoderConfig, M extends RotaryDecoder<C>> extends CausalLM<C> {
  readonly model: M;
  readonly lmHead: Linear;

  constructor(config: C, decoder: new (config: C) => M) {
    super(config);
    this.model = new decoder(config);
    this.lmHead = lmHead(config, this.model.embedTokens);
  }

  protected override get decoderModel(): M {
    return this.model;
  }

  protected override get positions(): number {
    return positionsOf(this.config);
  }

  protected override get switchAt(): number | undefined {
    const { longCoarse, switchAt } = this.model.rotaryEmb;
    return longCoarse && switchAt;
  }

  protected override get softCap(): number | undefined {
    return this.config.finalLogitSoftcapping ?? undefined;
  }
}

type CausalLMClass<C extends DecoderConfig, I, M extends RotaryDecoder<C>> = Omit<typeof CausalLM, 'prototype'> &
  (new (config: C) => RotaryForCausalLM<C, M>) &
  Pick<PreTrainedClass<C, I, M>, 'configFormat' | 'keyRules'>;

/** The class with a decoder's head, for the family's own to extend, which bears Transformers' name. */
export function causalLMOf<C extends DecoderConfig, I, M extends RotaryDecoder<C>>(
  decoder: PreTrainedClass<C, I, M>,
): CausalLMClass<C, I, M> {
  const { configFormat, keyRules } = decoder;
  class ForCausalLM extends RotaryForCausalLM<C, M> {
    static readonly configFormat = configFormat;
    static readonly keyRules = keyRules;
    static override readonly keys = { model: keyRules.baseModelPrefix };

    constructor(config: C) {
      super(config, decoder);
    }
  }
  return ForCausalLM;
}
