import * as z from 'zod';
import { bertFloats, bertShape, checkEncoder } from '../bert/config.ts';
import { defineConfig } from '../config.ts';
import { showValue } from '../names.ts';

const size = z.int().min(1);
const probability = z.number().min(0).max(1);
const { classifierDropout: _, ...shared } = bertShape;
const splitAtBars = (value: unknown): unknown =>
  typeof value === 'string' ? value.split('|').map((part) => part.trim().toLowerCase()) : value;

const shape = {
  ...shared,
  vocabSize: size.default(128100),
  hiddenSize: size.default(1536),
  numHiddenLayers: z.int().min(0).default(24),
  numAttentionHeads: size.default(24),
  intermediateSize: size.default(6144),
  typeVocabSize: z.int().min(0).default(0),
  layerNormEps: z.number().positive().default(1e-7),
  /** Whether scores depend on the distance of two tokens. */
  relativeAttention: z.boolean().default(false),
  /** The farthest distance; below 1: maxPositionEmbeddings. */
  maxRelativePositions: z.int().default(-1),
  /** Distances told apart on each side, far ones by logarithm; below 1: every one up to the farthest. */
  positionBuckets: z.int().default(-1),
  /** `layer_norm`: the table of distances is normalised. */
  normRelEbd: z.string().default('none'),
  /** Distances are projected as tokens are. */
  shareAttKey: z.boolean().default(false),
  /** Which of content-to-position and position-to-content are added: a list, or "p2c|c2p". */
  posAttType: z.preprocess(splitAtBars, z.array(z.enum(['c2p', 'p2c'])).nullable()).default(null),
  /** Whether embeddings of absolute positions are added. */
  positionBiasedInput: z.boolean().default(true),
  poolerDropout: probability.default(0),
  poolerHiddenAct: bertShape.hiddenAct,
  /** Dropout before the classifier of a text; null: hiddenDropoutProb. */
  clsDropout: probability.nullable().default(null),
  /** Whether the head for tokens is BERT's, of which the published weights have no values. */
  legacy: z.boolean().default(true),
};

/** The settings of DeBERTa-v2 and -v3 with Transformers' defaults. */
export const DebertaV2Config = defineConfig('deberta-v2', shape, {
  floats: [...bertFloats, 'poolerDropout', 'clsDropout'],
  check: checkEncoder,
  checkJson(json) {
    const conv = json['conv_kernel_size'];
    if (typeof conv === 'number' && conv > 0)
      return `conv_kernel_size ${conv} is not supported; the layers of DeBERTa-v3 have no convolution`;
    for (const key of ['embedding_size', 'pooler_hidden_size']) {
      const value = json[key] ?? json['hidden_size'];
      if (value !== json['hidden_size']) return `${key} ${showValue(value)} must be hidden_size`;
    }
    return json['attention_head_size'] === undefined ? undefined : 'attention_head_size is not supported; leave it out';
  },
});

export type DebertaV2Config = ReturnType<typeof DebertaV2Config.create>;
export type DebertaV2Settings = NonNullable<Parameters<typeof DebertaV2Config.create>[0]>;
