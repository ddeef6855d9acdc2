import * as z from 'zod';
import { decoderShape, defineDecoderConfig, extraShape, kinds } from '../transformer/decoder-config.ts';
import type { DecoderConfig, LayerRule } from '../transformer/decoder-config.ts';
import { readRotary, writeRotary } from '../transformer/rotary-settings.ts';

const { size, token, ends, positions } = kinds;
const { headDim, attentionBias, mlpBias, slidingWindow, layerTypes } = extraShape;

/** Those of Transformers' LlamaConfig, the model of 7 G parameters. */
const llama = { ...decoderShape, headDim, attentionBias, mlpBias };

/**
 * Settings of the Llama family, which SmolLM, TinyLlama and many more share: config.json in camelCase.
 * `LlamaConfig.create({ hiddenSize: 64, numAttentionHeads: 4, numKeyValueHeads: 2 })` makes a checked config;
 * what is not given has Transformers' default.
 */
export const LlamaConfig = defineDecoderConfig('llama', llama);

/** Mistral (Jiang et al. 2023): all layers attend within a sliding window, unless it is null. */
export const MistralConfig = defineDecoderConfig('mistral', {
  ...decoderShape,
  headDim,
  intermediateSize: size.default(14336),
  numKeyValueHeads: size.nullable().default(8),
  maxPositionEmbeddings: positions.default(131072),
  slidingWindow: size.nullable().default(4096),
});

const windows = {
  slidingWindow: size.nullable().default(4096),
  useSlidingWindow: z.boolean().default(false),
  /** The first layers that see all tokens. */
  maxWindowLayers: z.int().min(0).default(28),
  layerTypes,
};
const qwen = {
  ...llama,
  ...windows,
  vocabSize: size.default(151936),
  intermediateSize: size.default(22016),
  maxPositionEmbeddings: positions.default(32768),
  bosTokenId: token.default(null),
  eosTokenId: ends.default(null),
};

/** With useSlidingWindow, the layers from maxWindowLayers on have a window. */
export const qwenLayers: LayerRule = (config, layer) => {
  const { useSlidingWindow, maxWindowLayers } = config as DecoderConfig & {
    readonly useSlidingWindow: boolean;
    readonly maxWindowLayers: number;
  };
  return useSlidingWindow && layer >= maxWindowLayers ? 'sliding_attention' : 'full_attention';
};

/** Qwen2 and Qwen2.5: biases on queries, keys and values. */
export const Qwen2Config = defineDecoderConfig(
  'qwen2',
  { ...qwen, attentionBias: z.boolean().default(true) },
  { fixed: ['attentionBias', 'mlpBias'], layers: qwenLayers },
);

/** Qwen3: queries and keys are normalised by head. */
export const Qwen3Config = defineDecoderConfig(
  'qwen3',
  { ...qwen, headDim: size.nullable().default(128) },
  { fixed: ['mlpBias'], layers: qwenLayers },
);

const smolLM3 = {
  ...decoderShape,
  headDim,
  attentionBias,
  mlpBias,
  vocabSize: size.default(128256),
  hiddenSize: size.default(2048),
  numHiddenLayers: z.int().min(0).default(36),
  numAttentionHeads: size.default(16),
  numKeyValueHeads: size.nullable().default(4),
  maxPositionEmbeddings: positions.default(32768),
  ropeTheta: z.number().positive().default(2e6),
  tieWordEmbeddings: z.boolean().default(true),
  padTokenId: token.default(128004),
  bosTokenId: token.default(128000),
  eosTokenId: ends.default(128001),
  slidingWindow,
  useSlidingWindow: z.boolean().default(false),
  layerTypes,
  /** 1 for a layer with rotary positions, 0 for one without; null: every noRopeLayerInterval-th has none. */
  noRopeLayers: z
    .array(z.union([z.literal(0), z.literal(1)]))
    .nullable()
    .default(null),
  noRopeLayerInterval: size.default(4),
};

/** The settings that say which layers turn queries and keys. */
interface NoRopeSettings {
  readonly noRopeLayers: readonly number[] | null;
  readonly noRopeLayerInterval: number;
}

/** Whether a layer of SmolLM3 has rotary positions. */
export const turns = ({ noRopeLayers, noRopeLayerInterval }: NoRopeSettings, layer: number): boolean =>
  noRopeLayers ? noRopeLayers[layer] === 1 : (layer + 1) % noRopeLayerInterval !== 0;

/** With useSlidingWindow, the layers without rotary positions have a window. */
export const smolLM3Layers: LayerRule = (config, layer) => {
  const own = config as DecoderConfig & NoRopeSettings & { readonly useSlidingWindow: boolean };
  return own.useSlidingWindow && own.slidingWindow && !turns(own, layer) ? 'sliding_attention' : 'full_attention';
};

/** SmolLM3: some layers have no rotary positions (Yang et al. 2025, "Rope to Nope and back again"). */
export const SmolLM3Config = defineDecoderConfig('smollm3', smolLM3, {
  layers: smolLM3Layers,
  // A list that says what the interval says is left out, so that it follows another number of layers.
  read(json) {
    const { no_rope_layers: list, ...rest } = readRotary(json);
    const noRopeLayerInterval = Number(json['no_rope_layer_interval'] ?? 4);
    const isUsual = (value: unknown, layer: number): boolean =>
      value === Number(turns({ noRopeLayers: null, noRopeLayerInterval }, layer));
    return Array.isArray(list) && !list.every(isUsual) ? { ...rest, no_rope_layers: list } : rest;
  },
  write: (config) => ({
    ...writeRotary(config),
    no_rope_layers: Array.from({ length: config.numHiddenLayers }, (_, layer) =>
      Number(turns(config as DecoderConfig & NoRopeSettings, layer)),
    ),
  }),
  check(config) {
    const { noRopeLayers } = config as DecoderConfig & NoRopeSettings;
    return noRopeLayers && noRopeLayers.length < config.numHiddenLayers
      ? `no_rope_layers has ${noRopeLayers.length} entries for ${config.numHiddenLayers} layers; give one for each`
      : undefined;
  },
});

export type LlamaConfig = ReturnType<typeof LlamaConfig.create>;
export type LlamaSettings = NonNullable<Parameters<typeof LlamaConfig.create>[0]>;
export type MistralConfig = ReturnType<typeof MistralConfig.create>;
export type Qwen2Config = ReturnType<typeof Qwen2Config.create>;
export type Qwen3Config = ReturnType<typeof Qwen3Config.create>;
export type SmolLM3Config = ReturnType<typeof SmolLM3Config.create>;
