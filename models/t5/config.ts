import * as z from 'zod';
import { defineConfig, outsideVocabulary } from '../config.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';

const size = z.int().min(1);
const layers = z.int().min(0);
const token = z.int().min(0);
const names = Object.keys(activations) as [ActivationName, ...ActivationName[]];
const gated = names.map((name) => `gated-${name}` as const);

/** T5's settings with the defaults of Transformers' T5Config, that of t5-small. */
const shape = {
  vocabSize: size.default(32128),
  dModel: size.default(512),
  /** Numbers in a head; all heads together may be wider than dModel. */
  dKv: size.default(64),
  dFf: size.default(2048),
  numLayers: layers.default(6),
  /** Layers of the decoder; null: numLayers. */
  numDecoderLayers: layers.nullable().default(null),
  numHeads: size.default(8),
  relativeAttentionNumBuckets: z.int().min(4).default(32),
  relativeAttentionMaxDistance: size.default(128),
  dropoutRate: z.number().min(0).max(1).default(0.1),
  layerNormEpsilon: z.number().positive().default(1e-6),
  /** Factor of the deviations of first weights. */
  initializerFactor: z.number().min(0).default(1),
  /** relu in the first T5; T5 v1.1 and Flan-T5 have gated-gelu, whose gelu is the approximation by tanh. */
  feedForwardProj: z.enum([...names, ...gated]).default('relu'),
  /** The head's weight is the table of embeddings; false in T5 v1.1. */
  tieWordEmbeddings: z.boolean().default(true),
  /** Multiply what the head takes by dModel^-0.5; null: where the head is tied. */
  scaleDecoderOutputs: z.boolean().nullable().default(null),
  padTokenId: token.default(0),
  eosTokenId: z.union([token.nullable(), z.array(token)]).default(1),
  decoderStartTokenId: token.default(0),
};

type Settings = Readonly<z.output<z.ZodObject<typeof shape>>>;

/** The function of the hidden layer of the feed-forward parts, and whether another projection gates it. */
export function feedForwardOf({ feedForwardProj }: Settings): { activation: ActivationName; isGated: boolean } {
  if (feedForwardProj === 'gated-gelu') return { activation: 'gelu_new', isGated: true };
  return {
    activation: feedForwardProj.replace(/^gated-/, '') as ActivationName,
    isGated: feedForwardProj.startsWith('gated-'),
  };
}

export const scalesOutputs = ({ scaleDecoderOutputs, tieWordEmbeddings }: Settings): boolean =>
  scaleDecoderOutputs ?? tieWordEmbeddings;

function check(settings: Settings): string | undefined {
  const { vocabSize, relativeAttentionNumBuckets: buckets, relativeAttentionMaxDistance: distance } = settings;
  if (distance <= buckets / 2)
    return (
      `relative_attention_max_distance ${distance} must be above half of relative_attention_num_buckets ${buckets}: ` +
      'that many distances have a bucket of their own'
    );
  const { padTokenId: pad_token_id, decoderStartTokenId: decoder_start_token_id } = settings;
  return outsideVocabulary(vocabSize, { pad_token_id, decoder_start_token_id });
}

const base = defineConfig('t5', shape, {
  floats: ['dropoutRate', 'layerNormEpsilon', 'initializerFactor'],
  check,
});

/**
 * T5's settings: config.json in camelCase. `T5Config.create({ vocabSize: 100, dModel: 64, ... })` makes a
 * checked config; what is not given has Transformers' default.
 */
export const T5Config: typeof base = {
  ...base,
  toJson(config) {
    const { activation, isGated } = feedForwardOf(config);
    const settled = { scale_decoder_outputs: scalesOutputs(config), dense_act_fn: activation, is_gated_act: isGated };
    const layers = config.numDecoderLayers ?? config.numLayers;
    const json: JsonObject = { ...base.toJson(config), ...settled, num_decoder_layers: layers };
    return Object.fromEntries(Object.entries(json).sort(([a], [b]) => (a < b ? -1 : 1)));
  },
};
export type T5Config = ReturnType<typeof T5Config.create>;
export type T5Settings = NonNullable<Parameters<typeof T5Config.create>[0]>;
