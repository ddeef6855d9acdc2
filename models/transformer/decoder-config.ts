// The settings of decoders with rotary positions, which their families share, and their config.json.
import * as z from 'zod';
import type { JsonObject } from '../../common/json-file.ts';
import { defineConfig } from '../config.ts';
import { showValue, snakeCase } from '../names.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import type { RotaryScaling } from '../nn/rotary.ts';
import type { CausalLMConfig } from './causal-lm.ts';
import { problemTypes } from './encoder-heads.ts';
import type { EncoderSettings } from './encoder-heads.ts';
import { checkRotary, readRotary, rotaryFloats, rotaryShape, writeRotary } from './rotary-settings.ts';

const size = z.int().min(1);
const token = z.int().min(0).nullable();
const names = Object.keys(activations) as [ActivationName, ...ActivationName[]];
const probability = z.number().min(0).max(1);

/** zod types that the shapes of families are made of. */
export const kinds = {
  size,
  token,
  /** Tokens that end a text. */
  ends: z.union([token, z.array(z.int().min(0))]),
  activation: z.enum(names),
  probability,
  epsilon: z.number().positive(),
  /** From 2^24 on, positions have no f32 of their own. */
  positions: size.max(2 ** 24),
  layerTypes: z.array(z.enum(['full_attention', 'sliding_attention'])).nullable(),
  /** The kind of the labels of a text, for a classifier; null: told from the first labels given. */
  problemType: z.enum(problemTypes).nullable().default(null),
};

/** Whether a layer attends to all earlier tokens, or to those in a sliding window. */
export type LayerType = 'full_attention' | 'sliding_attention';

/** Settings of every decoder of this kind, with Transformers' defaults where most families have the same. */
export const decoderShape = {
  vocabSize: size.default(32000),
  hiddenSize: size.default(4096),
  intermediateSize: size.default(11008),
  numHiddenLayers: z.int().min(0).default(32),
  numAttentionHeads: size.default(32),
  /** Heads of keys and values, a divisor of numAttentionHeads; null: as many. */
  numKeyValueHeads: size.nullable().default(null),
  hiddenAct: kinds.activation.default('silu'),
  maxPositionEmbeddings: kinds.positions.default(2048),
  rmsNormEps: kinds.epsilon.default(1e-6),
  initializerRange: z.number().min(0).default(0.02),
  ...rotaryShape,
  attentionDropout: probability.default(0),
  tieWordEmbeddings: z.boolean().default(false),
  padTokenId: token.default(null),
  bosTokenId: token.default(1),
  eosTokenId: kinds.ends.default(2),
  problemType: kinds.problemType,
};

/** Further settings of families that have them. */
export const extraShape = {
  /** Numbers in a head; null: hiddenSize / numAttentionHeads. */
  headDim: size.nullable().default(null),
  /** Add biases in the projections of attention. */
  attentionBias: z.boolean().default(false),
  mlpBias: z.boolean().default(false),
  /** Tokens that a query sees, itself the last of them; null: all before it. */
  slidingWindow: size.nullable().default(null),
  /** Which layers have a window; null: as the other settings say. */
  layerTypes: kinds.layerTypes.default(null),
};

/** What a decoder with rotary positions reads of its config. */
export interface DecoderConfig extends CausalLMConfig, Pick<EncoderSettings, 'problemType'> {
  readonly hiddenSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads?: number | null;
  readonly headDim?: number | null;
  readonly maxPositionEmbeddings: number;
  readonly ropeTheta: number;
  readonly ropeScaling: RotaryScaling | null;
  /** Share of a head's numbers that turn. */
  readonly partialRotaryFactor?: number;
  /** The context of the training, for scalings that depend on it. */
  readonly originalMaxPositionEmbeddings?: number;
  readonly attentionDropout: number;
  readonly initializerRange: number;
  readonly tieWordEmbeddings: boolean;
  readonly padTokenId: number | null;
  readonly slidingWindow?: number | null;
  readonly layerTypes?: readonly LayerType[] | null;
  /** Logits are capped softly at it; null: not. */
  readonly finalLogitSoftcapping?: number | null;
}

/** How frequencies are scaled; a family's own setting of the context of the training comes first. */
export function scalingIn({ ropeScaling, originalMaxPositionEmbeddings }: DecoderConfig): RotaryScaling | null {
  return originalMaxPositionEmbeddings !== undefined && ropeScaling?.ropeType === 'longrope'
    ? { ...ropeScaling, originalMaxPositionEmbeddings }
    : ropeScaling;
}

/** Heads of keys and values. */
export const keyValueHeads = ({ numKeyValueHeads, numAttentionHeads }: DecoderConfig): number =>
  numKeyValueHeads ?? numAttentionHeads;

/** Numbers in a head. */
export const headSize = ({ headDim, hiddenSize, numAttentionHeads }: DecoderConfig): number =>
  headDim ?? hiddenSize / numAttentionHeads;

/** Numbers of a head that turn. */
export const turningSize = (config: DecoderConfig): number =>
  Math.floor(headSize(config) * (config.partialRotaryFactor ?? 1));

/** The kind of each layer, where `layerTypes` does not list them. */
export type LayerRule = (config: DecoderConfig, layer: number) => LayerType;

const alike: LayerRule = ({ slidingWindow }) => (slidingWindow ? 'sliding_attention' : 'full_attention');

/** Whether a layer's attention has a window. */
export const layerType = (config: DecoderConfig, layer: number, rule: LayerRule = alike): LayerType =>
  config.layerTypes?.[layer] ?? rule(config, layer);

/** Tokens that a query of this layer sees; undefined: all before it. */
export function windowOf(config: DecoderConfig, layer: number, rule?: LayerRule): number | undefined {
  return layerType(config, layer, rule) === 'sliding_attention' ? config.slidingWindow! : undefined;
}

const layersOf = (config: DecoderConfig, rule: LayerRule): LayerType[] =>
  Array.from({ length: config.numHiddenLayers }, (_, layer) => layerType(config, layer, rule));

interface DecoderRules {
  /** Settings that the family always has so: they are not written. */
  readonly fixed?: readonly string[];
  /** Further settings that are real numbers. */
  readonly floats?: readonly string[];
  readonly layers?: LayerRule;
  /** Returns the fault of the settings as a whole, if there is one. */
  readonly check?: (config: DecoderConfig) => string | undefined;
  /** Returns what a config.json asks for that the model cannot do. */
  readonly refuse?: (json: JsonObject) => string | undefined;
  /** config.json in one form, with `rope_theta` and `rope_scaling`; and the keys of both forms. */
  readonly read?: (json: JsonObject) => JsonObject;
  readonly write?: (config: DecoderConfig) => JsonObject;
}

const floats = ['initializerRange', 'rmsNormEps', 'layerNormEps', 'attentionDropout', ...rotaryFloats];

/**
 * The config of a family: `shape` gives its settings, most of `decoderShape`. Both forms of rotary settings
 * are read and written; `layer_types` that the other settings give are left out, so that they follow another
 * number of layers.
 */
export function defineDecoderConfig<S extends z.ZodRawShape>(modelType: string, shape: S, rules: DecoderRules = {}) {
  const { fixed = [], layers = alike, read = readRotary, write = writeRotary } = rules;
  const check = (values: unknown): string | undefined => checkSettings(values as DecoderConfig, rules);
  const base = defineConfig(modelType, shape, { floats: [...floats, ...(rules.floats ?? [])], check });
  const absent = fixed.map(snakeCase);
  const cannot = (json: JsonObject): string | undefined => {
    const partial = read(json)['partial_rotary_factor'] ?? 1;
    if (!('partialRotaryFactor' in shape) && partial !== 1)
      return `partial_rotary_factor is ${showValue(partial)}, but this model turns whole heads`;
    return rules.refuse?.(json);
  };
  const format: typeof base = {
    ...base,
    fromJson(json, file, overrides) {
      const { layer_types: types, ...rest } = read(json);
      if (!('partialRotaryFactor' in shape)) delete rest['partial_rotary_factor'];
      const wrong = (json['model_type'] ?? modelType) === modelType ? cannot(json) : undefined;
      if (wrong) throw new Error(`${file}: ${wrong}`);
      if (!Array.isArray(types)) return base.fromJson(rest, file, overrides);
      const derived = layersOf(base.fromJson(rest, file) as unknown as DecoderConfig, layers);
      if (types.join() === derived.join()) return base.fromJson(rest, file, overrides);
      if (!('layerTypes' in shape))
        throw new Error(
          `${file}: layer_types is ${showValue(types)}, but the layers of this model are ` +
            `${derived[0] ?? 'full_attention'} all; load a checkpoint without it`,
        );
      return base.fromJson({ ...rest, layer_types: types }, file, overrides);
    },
    toJson(config) {
      const own = config as unknown as DecoderConfig;
      const settled: JsonObject = {
        ...base.toJson(config),
        ...('headDim' in shape ? { head_dim: headSize(own) } : {}),
        ...('numKeyValueHeads' in shape ? { num_key_value_heads: keyValueHeads(own) } : {}),
        ...('layerTypes' in shape ? { layer_types: layersOf(own, layers) } : {}),
        ...write({ ...own, ropeScaling: scalingIn(own) }),
      };
      const written = Object.entries(settled).filter(([key]) => !absent.includes(key));
      return Object.fromEntries(written.sort(([a], [b]) => (a < b ? -1 : 1)));
    },
  };
  return format;
}

function checkSettings(config: DecoderConfig, { layers = alike, check }: DecoderRules): string | undefined {
  const { hiddenSize, numAttentionHeads: heads, numKeyValueHeads: shared, headDim, padTokenId, vocabSize } = config;
  const { numHiddenLayers, layerTypes, slidingWindow } = config;
  if ((headDim ?? null) === null && hiddenSize % heads !== 0)
    return `hidden_size ${hiddenSize} must be a multiple of num_attention_heads ${heads}, or head_dim be given`;
  if (shared && heads % shared !== 0)
    return `num_attention_heads ${heads} must be a multiple of num_key_value_heads ${shared}`;
  if (padTokenId !== null && padTokenId >= vocabSize)
    return `pad_token_id ${padTokenId} is outside the vocabulary of ${vocabSize}; give one of it, or null`;
  if (layerTypes && layerTypes.length !== numHiddenLayers)
    return `layer_types has ${layerTypes.length} entries for ${numHiddenLayers} layers; give one for each, or null`;
  if ((slidingWindow ?? null) === null && layersOf(config, layers).includes('sliding_attention'))
    return 'layer_types has a sliding_attention, but sliding_window is null; give the tokens that a query sees';
  return checkRotary(config, turningSize(config)) ?? check?.(config);
}
