import * as z from 'zod';
import { decoderShape, defineDecoderConfig, extraShape, kinds } from '../transformer/decoder-config.ts';
import { readRotary, writeRotary } from '../transformer/rotary-settings.ts';

const { size, token, ends, epsilon, positions, probability } = kinds;
const keys = { theta: 'rope_theta', partial: 'partial_rotary_factor' };

/** Settings of Phi-3 and Phi-4-mini, with Transformers' defaults. */
export const Phi3Config = defineDecoderConfig(
  'phi3',
  {
    ...decoderShape,
    vocabSize: size.default(32064),
    hiddenSize: size.default(3072),
    intermediateSize: size.default(8192),
    maxPositionEmbeddings: positions.default(4096),
    /** Tokens of the texts that it was trained on: longer ones are turned by other frequencies. */
    originalMaxPositionEmbeddings: positions.default(4096),
    /** Share of a head's numbers that turn. */
    partialRotaryFactor: z.number().positive().max(1).default(1),
    rmsNormEps: epsilon.default(1e-5),
    residPdrop: probability.default(0),
    slidingWindow: extraShape.slidingWindow,
    padTokenId: token.default(32000),
    eosTokenId: ends.default(32000),
  },
  {
    floats: ['residPdrop', 'partialRotaryFactor'],
    read: (json) => readRotary(json, keys),
    write: (config) => writeRotary(config, keys),
  },
);

export type Phi3Config = ReturnType<typeof Phi3Config.create>;
