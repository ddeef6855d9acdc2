import * as z from 'zod';
import { isJsonObject } from '../../common/json-file.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { showValue } from '../names.ts';
import { decoderShape, defineDecoderConfig, extraShape, kinds } from '../transformer/decoder-config.ts';
import type { DecoderConfig, LayerRule } from '../transformer/decoder-config.ts';
import { parametersJson, readRotary, scalingOf, writeRotary } from '../transformer/rotary-settings.ts';

const { size, token, ends, positions, activation } = kinds;
const { hiddenAct: _, ...common } = decoderShape;
const cap = z.number().positive().nullable();

/** What Gemma 2 and 3 have in common, with Transformers' defaults. */
const gemma = {
  ...common,
  attentionBias: extraShape.attentionBias,
  layerTypes: extraShape.layerTypes,
  hiddenSize: size.default(2304),
  intermediateSize: size.default(9216),
  numHiddenLayers: z.int().min(0).default(26),
  numAttentionHeads: size.default(8),
  numKeyValueHeads: size.nullable().default(4),
  headDim: size.nullable().default(256),
  hiddenActivation: activation.default('gelu_pytorch_tanh'),
  /** Scores are divided by its root. */
  queryPreAttnScalar: z.number().positive().default(256),
  slidingWindow: size.nullable().default(4096),
  tieWordEmbeddings: z.boolean().default(true),
  padTokenId: token.default(0),
  bosTokenId: token.default(2),
  eosTokenId: ends.default(1),
};

/** What a model here cannot do: see later tokens, or scale the positions of layers with a window. */
function refuse({ use_bidirectional_attention: both, rope_parameters: parameters }: JsonObject): string | undefined {
  if (both === true)
    return 'use_bidirectional_attention is true, but this model sees earlier tokens only; use another one';
  const local = isJsonObject(parameters) ? parameters['sliding_attention'] : undefined;
  return scalingOf(local)
    ? `rope_parameters.sliding_attention is ${showValue(local)}; only the default rope_type is known there`
    : undefined;
}

/** Every second layer sees all tokens. */
export const gemma2Layers: LayerRule = (_config, layer) =>
  (layer + 1) % 2 === 0 ? 'full_attention' : 'sliding_attention';

export const Gemma2Config = defineDecoderConfig(
  'gemma2',
  {
    ...gemma,
    vocabSize: size.default(256000),
    maxPositionEmbeddings: positions.default(8192),
    /** Attention scores and logits are capped softly at these; null: not. */
    attnLogitSoftcapping: cap.default(50),
    finalLogitSoftcapping: cap.default(30),
  },
  {
    floats: ['attnLogitSoftcapping', 'finalLogitSoftcapping'],
    layers: gemma2Layers,
    refuse,
  },
);

/** Settings of Gemma 3 beside those of every decoder. */
interface Gemma3Settings {
  readonly slidingWindowPattern: number;
  readonly ropeLocalBaseFreq: number;
}

/** Every slidingWindowPattern-th layer sees all tokens. */
export const gemma3Layers: LayerRule = (config, layer) =>
  (layer + 1) % (config as DecoderConfig & Gemma3Settings).slidingWindowPattern === 0
    ? 'full_attention'
    : 'sliding_attention';

/** Layers with a window have rotary positions of their own: rope_parameters has an entry for each kind. */
function readGemma3(json: JsonObject): JsonObject {
  const { rope_parameters: parameters, ...rest } = json;
  const pattern = rest['sliding_window_pattern'] ?? rest['_sliding_window_pattern'];
  const given = pattern === undefined ? rest : { ...rest, sliding_window_pattern: pattern };
  if (!isJsonObject(parameters) || !('full_attention' in parameters))
    return readRotary({ ...given, ...(parameters === undefined ? {} : { rope_parameters: parameters }) });
  const { full_attention: full, sliding_attention: sliding } = parameters;
  const local = isJsonObject(sliding) ? sliding : {};
  const theta = local['rope_theta'] ?? given['rope_local_base_freq'];
  return {
    ...readRotary({ ...given, rope_parameters: full }),
    ...(theta === undefined ? {} : { rope_local_base_freq: theta }),
  };
}

function writeGemma3(config: DecoderConfig): JsonObject {
  const local = parametersJson((config as DecoderConfig & Gemma3Settings).ropeLocalBaseFreq, null);
  const { rope_parameters: full, ...rest } = writeRotary(config);
  return { ...rest, rope_parameters: { full_attention: full, sliding_attention: local } };
}

/** Gemma 3 without its eyes: the 270M and 1B models, and the text part of larger ones. */
export const Gemma3TextConfig = defineDecoderConfig(
  'gemma3_text',
  {
    ...gemma,
    vocabSize: size.default(262208),
    maxPositionEmbeddings: positions.default(131072),
    ropeTheta: z.number().positive().default(1e6),
    /** The base of the frequencies in layers with a window. */
    ropeLocalBaseFreq: z.number().positive().default(1e4),
    slidingWindowPattern: size.default(6),
    finalLogitSoftcapping: cap.default(null),
  },
  {
    floats: ['ropeLocalBaseFreq', 'finalLogitSoftcapping'],
    layers: gemma3Layers,
    refuse,
    read: readGemma3,
    write: writeGemma3,
  },
);

export type Gemma2Config = ReturnType<typeof Gemma2Config.create>;
export type Gemma3TextConfig = ReturnType<typeof Gemma3TextConfig.create>;
