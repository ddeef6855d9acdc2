import * as z from 'zod';
import { bertShape, checkEncoder } from '../bert/config.ts';
import { defineConfig } from '../config.ts';

const { vocabSize, maxPositionEmbeddings, padTokenId, problemType, tieWordEmbeddings, initializerRange } = bertShape;
const probability = z.number().min(0).max(1);

/** The settings of DistilBERT with Transformers' names and defaults, those of distilbert-base-uncased. */
const shape = {
  vocabSize,
  maxPositionEmbeddings,
  /** Positions begin as sines and cosines; they are learned all the same. */
  sinusoidalPosEmbds: z.boolean().default(false),
  nLayers: z.int().min(0).default(6),
  nHeads: z.int().min(1).default(12),
  dim: z.int().min(1).default(768),
  hiddenDim: z.int().min(1).default(3072),
  dropout: probability.default(0.1),
  attentionDropout: probability.default(0.1),
  activation: bertShape.hiddenAct,
  initializerRange,
  /** Dropout before the logits of an answer, and before the classifier of a text. */
  qaDropout: probability.default(0.1),
  seqClassifDropout: probability.default(0.2),
  padTokenId,
  problemType,
  tieWordEmbeddings,
};

export const DistilBertConfig = defineConfig('distilbert', shape, {
  floats: ['dropout', 'attentionDropout', 'initializerRange', 'qaDropout', 'seqClassifDropout'],
  check({ dim, nHeads, ...values }) {
    if (dim % nHeads !== 0) return `dim ${dim} must be a multiple of n_heads ${nHeads}`;
    return checkEncoder({ ...values, hiddenSize: dim, numAttentionHeads: nHeads });
  },
});

export type DistilBertConfig = ReturnType<typeof DistilBertConfig.create>;
export type DistilBertSettings = NonNullable<Parameters<typeof DistilBertConfig.create>[0]>;
