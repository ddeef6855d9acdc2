import * as z from 'zod';
import { decoderShape, defineDecoderConfig, kinds } from '../transformer/decoder-config.ts';
import { readRotary, writeRotary } from '../transformer/rotary-settings.ts';

const { size, token, ends, epsilon, activation, probability } = kinds;
const { numKeyValueHeads: _heads, rmsNormEps: _eps, ...common } = decoderShape;
const keys = { theta: 'rotary_emb_base', partial: 'rotary_pct' };

/** Settings of GPT-NeoX and Pythia, with Transformers' defaults, the model of 20 G parameters. */
export const GPTNeoXConfig = defineDecoderConfig(
  'gpt_neox',
  {
    ...common,
    vocabSize: size.default(50432),
    hiddenSize: size.default(6144),
    intermediateSize: size.default(24576),
    numHiddenLayers: z.int().min(0).default(44),
    numAttentionHeads: size.default(64),
    hiddenAct: activation.default('gelu'),
    hiddenDropout: probability.default(0),
    layerNormEps: epsilon.default(1e-5),
    attentionBias: z.boolean().default(true),
    /** Attention and feed-forward part work on the same input, side by side. */
    useParallelResidual: z.boolean().default(true),
    /** Share of a head's numbers that turn. */
    partialRotaryFactor: z.number().positive().max(1).default(0.25),
    bosTokenId: token.default(0),
    eosTokenId: ends.default(2),
  },
  {
    fixed: ['ropeTheta', 'partialRotaryFactor'],
    floats: ['hiddenDropout', 'rotaryEmbBase', 'rotaryPct'],
    read: (json) => readRotary(json, keys),
    write: (config) => writeRotary(config, keys),
  },
);

export type GPTNeoXConfig = ReturnType<typeof GPTNeoXConfig.create>;
