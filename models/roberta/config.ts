import * as z from 'zod';
import { bertFloats, checkEncoder, checkEncoderJson, encoderShape } from '../bert/config.ts';
import { defineConfig } from '../config.ts';

const shape = {
  ...encoderShape,
  vocabSize: z.int().min(1).default(50265),
  /** The rows up to that of the padding token are no positions of tokens: 514 rows are 512 positions. */
  maxPositionEmbeddings: encoderShape.maxPositionEmbeddings,
  /** It is the row of padding in the table of positions too. */
  padTokenId: z.int().min(0).default(1),
};

/** RoBERTa's settings: those of BERT with other defaults. */
export const RobertaConfig = defineConfig('roberta', shape, {
  floats: bertFloats,
  check: ({ maxPositionEmbeddings, padTokenId, ...values }) =>
    padTokenId + 1 >= maxPositionEmbeddings
      ? `max_position_embeddings ${maxPositionEmbeddings} leaves no position behind pad_token_id ${padTokenId}`
      : checkEncoder({ padTokenId, ...values }),
  checkJson: checkEncoderJson('RoBERTa'),
});

export type RobertaConfig = ReturnType<typeof RobertaConfig.create>;
export type RobertaSettings = NonNullable<Parameters<typeof RobertaConfig.create>[0]>;
