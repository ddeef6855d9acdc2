import * as z from 'zod';
import { bertFloats, checkEncoder, checkEncoderJson, encoderShape } from '../bert/config.ts';
import { defineConfig } from '../config.ts';

const size = z.int().min(1);

const shape = {
  ...encoderShape,
  /** Width of the tables of embeddings, which are projected to hiddenSize where it is another. */
  embeddingSize: size.default(128),
  hiddenSize: size.default(256),
  numAttentionHeads: size.default(4),
  intermediateSize: size.default(1024),
};

/** ELECTRA's settings with Transformers' defaults, those of electra-small-discriminator. */
export const ElectraConfig = defineConfig('electra', shape, {
  floats: [...bertFloats, 'summaryLastDropout'],
  check: checkEncoder,
  checkJson: checkEncoderJson('ELECTRA'),
});

export type ElectraConfig = ReturnType<typeof ElectraConfig.create>;
export type ElectraSettings = NonNullable<Parameters<typeof ElectraConfig.create>[0]>;
