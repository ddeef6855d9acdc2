import * as z from 'zod';
import { bertFloats, bertShape, checkEncoder, checkEncoderJson } from '../bert/config.ts';
import { defineConfig } from '../config.ts';

const size = z.int().min(1);
const probability = z.number().min(0).max(1);
const { classifierDropout: _, ...shared } = bertShape;

const shape = {
  ...shared,
  vocabSize: size.default(30000),
  /** Width of the tables of embeddings, which are projected to hiddenSize. */
  embeddingSize: size.default(128),
  hiddenSize: size.default(4096),
  /** Layers of one group share their weights. */
  numHiddenGroups: size.default(1),
  numAttentionHeads: size.default(64),
  intermediateSize: size.default(16384),
  /** Layers of its own that a group runs each time. */
  innerGroupNum: size.default(1),
  hiddenAct: bertShape.hiddenAct.unwrap().default('gelu_new'),
  hiddenDropoutProb: probability.default(0),
  attentionProbsDropoutProb: probability.default(0),
  /** Dropout before a classifier. */
  classifierDropoutProb: probability.default(0.1),
};

/**
 * Layers share their weights, so memory does not say how many are too many; more than these end the process.
 */
const mostLayers = 1000;

/** ALBERT's settings with Transformers' defaults, those of albert-xxlarge-v2. */
export const AlbertConfig = defineConfig('albert', shape, {
  floats: [...bertFloats, 'classifierDropoutProb'],
  check: ({ numHiddenLayers, innerGroupNum, ...values }) =>
    numHiddenLayers * innerGroupNum > mostLayers
      ? `num_hidden_layers ${numHiddenLayers} times inner_group_num ${innerGroupNum} are more than ${mostLayers} layers`
      : checkEncoder(values),
  checkJson: checkEncoderJson('ALBERT'),
});

export type AlbertConfig = ReturnType<typeof AlbertConfig.create>;
export type AlbertSettings = NonNullable<Parameters<typeof AlbertConfig.create>[0]>;
