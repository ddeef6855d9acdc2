import * as z from 'zod';
import { checkHeads, defineConfig } from '../config.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { showValue } from '../names.ts';
import { kinds } from '../transformer/decoder-config.ts';

const { size, token, ends, activation, positions, probability } = kinds;

/** Settings of OPT with Transformers' defaults, those of the model of 125 M parameters. */
const shape = {
  vocabSize: size.default(50272),
  hiddenSize: size.default(768),
  numHiddenLayers: z.int().min(0).default(12),
  ffnDim: size.default(3072),
  maxPositionEmbeddings: positions.default(2048),
  /** Norms before attention and feed-forward part, and one at the end; false: behind them (OPT-350m). */
  doLayerNormBefore: z.boolean().default(true),
  /** Leave out the norm at the end, as files of before 2022 do; config.json has it with a _ before it. */
  removeFinalLayerNorm: z.boolean().default(false),
  /** Width of the token embeddings; null: hiddenSize. Another one is projected to it and back. */
  wordEmbedProjDim: size.nullable().default(null),
  dropout: probability.default(0.1),
  attentionDropout: probability.default(0),
  numAttentionHeads: size.default(12),
  activationFunction: activation.default('relu'),
  initStd: z.number().min(0).default(0.02),
  enableBias: z.boolean().default(true),
  tieWordEmbeddings: z.boolean().default(true),
  padTokenId: token.default(1),
  bosTokenId: token.default(2),
  eosTokenId: ends.default(2),
  problemType: kinds.problemType,
};

const base = defineConfig('opt', shape, {
  floats: ['dropout', 'attentionDropout', 'initStd', 'layerdrop'],
  check: ({ padTokenId, vocabSize, ...sizes }) => {
    const wrong = checkHeads(sizes);
    if (wrong !== undefined) return wrong;
    return padTokenId !== null && padTokenId >= vocabSize
      ? `pad_token_id ${padTokenId} is outside the vocabulary of ${vocabSize}; give one of it, or null`
      : undefined;
  },
  checkJson(json) {
    if (json['layer_norm_elementwise_affine'] === false)
      return 'layer_norm_elementwise_affine is false, but norms have weights here; load another checkpoint';
    return (json['layerdrop'] ?? 0) === 0
      ? undefined
      : `layerdrop is ${showValue(json['layerdrop'])}, but this model leaves no layer out; set it to 0`;
  },
});

const inFile = '_remove_final_layer_norm';

/** OPT's settings: config.json in camelCase. */
export const OPTConfig: typeof base = {
  ...base,
  fromJson({ [inFile]: removed, ...json }, file, overrides) {
    return base.fromJson(
      { ...json, ...(removed === undefined ? {} : { remove_final_layer_norm: removed }) },
      file,
      overrides,
    );
  },
  toJson(config): JsonObject {
    const { remove_final_layer_norm: removed, ...json } = base.toJson(config);
    return { [inFile]: removed, ...json, word_embed_proj_dim: config.wordEmbedProjDim ?? config.hiddenSize };
  },
};

export type OPTConfig = ReturnType<typeof OPTConfig.create>;
