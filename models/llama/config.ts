import { z } from 'zod';
import { defineConfig } from '../config.ts';
import { isJsonObject } from '../../common/json-file.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { camelCase, showValue, snakeCase } from '../names.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';

const size = z.int().min(1);
const token = z.int().min(0).nullable();
const names = Object.keys(activations) as [ActivationName, ...ActivationName[]];
const ends = z.union([token, z.array(z.int().min(0))]);
const factor = z.number().positive();

const ropeScaling = z.discriminatedUnion(
  'ropeType',
  [
    z.strictObject({ ropeType: z.literal('default') }),
    z.strictObject({ ropeType: z.literal('linear'), factor }),
    z.strictObject({
      ropeType: z.literal('llama3'),
      factor,
      lowFreqFactor: factor,
      highFreqFactor: factor,
      originalMaxPositionEmbeddings: size,
    }),
  ],
  { error: 'it must be default, linear or llama3; use a checkpoint with one of these' },
);

/** From 2^24 on, positions have no f32 of their own. */
const positions = size.max(2 ** 24);

/**
 * Settings that the families share, with the defaults of Transformers' LlamaConfig, the model of 7 G
 * parameters.
 */
const shape = {
  vocabSize: size.default(32000),
  hiddenSize: size.default(4096),
  intermediateSize: size.default(11008),
  numHiddenLayers: z.int().min(0).default(32),
  numAttentionHeads: size.default(32),
  /** Heads of keys and values, a divisor of numAttentionHeads; null: as many. */
  numKeyValueHeads: size.nullable().default(null),
  /** Numbers in a head; null: hiddenSize / numAttentionHeads. */
  headDim: size.nullable().default(null),
  hiddenAct: z.enum(names).default('silu'),
  maxPositionEmbeddings: positions.default(2048),
  rmsNormEps: z.number().positive().default(1e-6),
  initializerRange: z.number().min(0).default(0.02),
  ropeTheta: z.number().positive().default(10000),
  ropeScaling: ropeScaling.nullable().default(null),
  /** Add biases in the projections of attention; Qwen2 has them always, but for the output's. */
  attentionBias: z.boolean().default(false),
  mlpBias: z.boolean().default(false),
  attentionDropout: z.number().min(0).max(1).default(0),
  tieWordEmbeddings: z.boolean().default(false),
  padTokenId: token.default(null),
  bosTokenId: token.default(1),
  eosTokenId: ends.default(2),
};

const floats = [
  'initializerRange',
  'rmsNormEps',
  'ropeTheta',
  'attentionDropout',
  'factor',
  'lowFreqFactor',
  'highFreqFactor',
];

type Settings = Readonly<z.output<z.ZodObject<typeof shape>>>;

function check(settings: Settings): string | undefined {
  const { hiddenSize, numAttentionHeads: heads, numKeyValueHeads: shared, headDim, padTokenId, vocabSize } = settings;
  const scaling = settings.ropeScaling;
  if (headDim === null && hiddenSize % heads !== 0)
    return `hidden_size ${hiddenSize} must be a multiple of num_attention_heads ${heads}, or head_dim be given`;
  if (shared !== null && heads % shared !== 0)
    return `num_attention_heads ${heads} must be a multiple of num_key_value_heads ${shared}`;
  if ((headDim ?? hiddenSize / heads) % 2 !== 0)
    return `the size of a head, ${headDim ?? hiddenSize / heads}, must be even: rotary embedding turns pairs`;
  if (padTokenId !== null && padTokenId >= vocabSize)
    return `pad_token_id ${padTokenId} is outside the vocabulary of ${vocabSize}; give one of it, or null`;
  if (scaling?.ropeType === 'llama3' && !(scaling.highFreqFactor > scaling.lowFreqFactor))
    return `high_freq_factor ${scaling.highFreqFactor} must be above low_freq_factor ${scaling.lowFreqFactor}`;
  return undefined;
}

function checkJson(json: JsonObject): string | undefined {
  const layers = json['layer_types'];
  if (
    json['use_sliding_window'] === true ||
    (Array.isArray(layers) && layers.some((kind) => kind !== 'full_attention'))
  )
    return (
      'use_sliding_window or layer_types asks for a window, but this model attends to all earlier tokens; ' +
      'load a checkpoint without it'
    );
  const rope = json['rope_parameters'];
  const partial = (isJsonObject(rope) ? rope : json)['partial_rotary_factor'] ?? 1;
  if (partial !== 1) return `partial_rotary_factor is ${showValue(partial)}, but this model turns whole heads`;
  return undefined;
}

/**
 * Reads the forms that older and newer versions of Transformers write, rope_scaling with `type` or
 * `rope_type` or rope_parameters, as one. layer_types, all alike, are left out: they would not follow another
 * number of layers.
 */
function readRope(json: JsonObject): JsonObject {
  const { rope_parameters: parameters, rope_scaling: scaling, layer_types: _layers, ...rest } = json;
  const rope = parameters ?? scaling;
  if (!isJsonObject(rope)) return rope === undefined ? rest : { ...rest, rope_scaling: rope };
  const {
    rope_theta: theta = rest['rope_theta'],
    partial_rotary_factor: _,
    type,
    rope_type: kind = type,
    ...numbers
  } = rope;
  const settings = Object.entries(numbers).map(([key, value]) => [camelCase(key), value] as const);
  return {
    ...rest,
    ...(theta === undefined ? {} : { rope_theta: theta }),
    rope_scaling: kind === 'default' ? null : { ropeType: kind, ...Object.fromEntries(settings) },
  };
}

/** Heads of keys and values. */
export const keyValueHeads = ({ numKeyValueHeads, numAttentionHeads }: Settings): number =>
  numKeyValueHeads ?? numAttentionHeads;

/** Numbers in a head. */
export const headSize = ({ headDim, hiddenSize, numAttentionHeads }: Settings): number =>
  headDim ?? hiddenSize / numAttentionHeads;

/** The format of one family: what it does not know (`fixed`) is not written. */
function family(modelType: string, own: typeof shape, fixed: readonly (keyof Settings)[]) {
  const base = defineConfig(modelType, own, { floats, check });
  const absent = fixed.map(snakeCase);
  const format: typeof base = {
    ...base,
    fromJson(json, file, overrides) {
      const wrong = (json['model_type'] ?? modelType) === modelType ? checkJson(json) : undefined;
      if (wrong) throw new Error(`${file}: ${wrong}`);
      return base.fromJson(readRope(json), file, overrides);
    },
    toJson(config) {
      const json = base.toJson(config);
      const rope =
        config.ropeScaling && Object.entries(config.ropeScaling).map(([key, value]) => [snakeCase(key), value]);
      const settled = {
        ...json,
        head_dim: headSize(config),
        num_key_value_heads: keyValueHeads(config),
        rope_scaling: rope && (Object.fromEntries(rope) as JsonObject),
      };
      return Object.fromEntries(Object.entries(settled).filter(([key]) => !absent.includes(key)));
    },
  };
  return format;
}

const noTokens = { bosTokenId: token.default(null), eosTokenId: ends.default(null) };
const qwen = { ...shape, ...noTokens, vocabSize: size.default(151936), intermediateSize: size.default(22016) };
const long = { maxPositionEmbeddings: positions.default(32768) };

/**
 * Settings of the Llama family, which SmolLM, TinyLlama and many more share: config.json in camelCase.
 * `LlamaConfig.create({ hiddenSize: 64, numAttentionHeads: 4, numKeyValueHeads: 2 })` makes a checked config;
 * what is not given has Transformers' default.
 */
export const LlamaConfig = family('llama', shape, []);

/** Qwen2 and Qwen2.5: biases on queries, keys and values. */
export const Qwen2Config = family('qwen2', { ...qwen, ...long, attentionBias: z.boolean().default(true) }, [
  'attentionBias',
  'mlpBias',
]);

/** Qwen3: queries and keys are normalised by head. */
export const Qwen3Config = family('qwen3', { ...qwen, ...long, headDim: size.nullable().default(128) }, ['mlpBias']);

export type LlamaConfig = ReturnType<typeof LlamaConfig.create>;
export type LlamaSettings = NonNullable<Parameters<typeof LlamaConfig.create>[0]>;
