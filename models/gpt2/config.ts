import * as z from 'zod';
import { defineConfig } from '../config.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import { kinds } from '../transformer/decoder-config.ts';

const size = z.int().min(1);
const probability = z.number().min(0).max(1);
const token = z.int().min(0).nullable();
const names = Object.keys(activations) as [ActivationName, ...ActivationName[]];

/** The settings of GPT-2 with Transformers' defaults, those of the model of 124 M parameters. */
const shape = {
  vocabSize: size.default(50257),
  nPositions: size.default(1024),
  nEmbd: size.default(768),
  nLayer: z.int().min(0).default(12),
  nHead: size.default(12),
  /** Units of the feed-forward layers; null: 4 x nEmbd. */
  nInner: size.nullable().default(null),
  activationFunction: z.enum(names).default('gelu_new'),
  residPdrop: probability.default(0.1),
  embdPdrop: probability.default(0.1),
  attnPdrop: probability.default(0.1),
  layerNormEpsilon: z.number().positive().default(1e-5),
  initializerRange: z.number().min(0).default(0.02),
  /** Divide attention scores by the root of the head size. */
  scaleAttnWeights: z.boolean().default(true),
  /** Divide them by the number of the layer too, counted from 1. */
  scaleAttnByInverseLayerIdx: z.boolean().default(false),
  bosTokenId: token.default(50256),
  eosTokenId: z.union([token, z.array(z.int().min(0))]).default(50256),
  padTokenId: token.default(null),
  problemType: kinds.problemType,
  tieWordEmbeddings: z.boolean().default(true),
};

/**
 * GPT-2's settings: config.json in camelCase. `GPT2Config.create({ nEmbd: 128, nHead: 4 })` makes a checked
 * config; what is not given has Transformers' default.
 */
export const GPT2Config = defineConfig('gpt2', shape, {
  floats: ['residPdrop', 'embdPdrop', 'attnPdrop', 'layerNormEpsilon', 'initializerRange'],
  check: ({ nEmbd, nHead }) =>
    nEmbd % nHead === 0 ? undefined : `n_embd ${nEmbd} must be a multiple of n_head ${nHead}`,
  checkJson: (json) =>
    json['add_cross_attention'] === true
      ? 'add_cross_attention is true, but this GPT-2 is a decoder alone; load a checkpoint without it'
      : undefined,
});

export type GPT2Config = ReturnType<typeof GPT2Config.create>;
export type GPT2Settings = NonNullable<Parameters<typeof GPT2Config.create>[0]>;

/** Sizes under their names on the hub: 82, 124, 355, 774 and 1558 M parameters. */
const sizes = {
  distilgpt2: { nLayer: 6, nEmbd: 768, nHead: 12 },
  gpt2: { nLayer: 12, nEmbd: 768, nHead: 12 },
  'gpt2-medium': { nLayer: 24, nEmbd: 1024, nHead: 16 },
  'gpt2-large': { nLayer: 36, nEmbd: 1280, nHead: 20 },
  'gpt2-xl': { nLayer: 48, nEmbd: 1600, nHead: 25 },
} as const satisfies Record<string, GPT2Settings>;

export type GPT2Size = keyof typeof sizes;

/**
 * The config of a published size (Radford et al. 2019, table 2), some settings replaced: to train one from
 * scratch.
 *
 * @example
 * gpt2Config('gpt2', { nPositions: 256 }).nEmbd; // 768
 */
export function gpt2Config(name: GPT2Size, settings: GPT2Settings = {}): GPT2Config {
  if (!Object.hasOwn(sizes, name))
    throw new Error(`gpt2Config: there is no size "${name}"; use ${Object.keys(sizes).join(', ')}`);
  return GPT2Config.create({ ...sizes[name], ...settings });
}
