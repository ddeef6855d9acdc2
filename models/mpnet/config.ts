import * as z from 'zod';
import { bertFloats, bertShape, checkEncoder } from '../bert/config.ts';
import { defineConfig } from '../config.ts';

const { typeVocabSize: _, classifierDropout: __, ...shared } = bertShape;

const shape = {
  ...shared,
  vocabSize: z.int().min(1).default(30527),
  maxPositionEmbeddings: z.int().min(3).default(512),
  /** Distances between tokens that the layers tell apart. */
  relativeAttentionNumBuckets: z.int().min(1).default(32),
  padTokenId: z.int().min(0).nullable().default(1),
};

/** MPNet's settings with Transformers' defaults, those of mpnet-base. */
export const MPNetConfig = defineConfig('mpnet', shape, {
  floats: bertFloats,
  check: ({ vocabSize, relativeAttentionNumBuckets, ...values }) => {
    if (vocabSize < 2) return `vocab_size ${vocabSize} has no row 1, which is that of padding`;
    // Transformers computes the bucket of each distance as if there were 32, whatever the table has.
    if (relativeAttentionNumBuckets < 32)
      return `relative_attention_num_buckets ${relativeAttentionNumBuckets} must be at least 32`;
    return checkEncoder({ vocabSize, ...values });
  },
});

export type MPNetConfig = ReturnType<typeof MPNetConfig.create>;
export type MPNetSettings = NonNullable<Parameters<typeof MPNetConfig.create>[0]>;
