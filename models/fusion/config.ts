import * as z from 'zod';
import { bertShape } from '../bert/config.ts';
import { defineConfig } from '../config.ts';
import { checkPictureEncoder, pictureKinds } from '../vit/config.ts';

const { vocabSize, numAttentionHeads, intermediateSize, hiddenAct, padTokenId, problemType } = bertShape;
const { hiddenSize, numHiddenLayers, hiddenDropoutProb, attentionProbsDropoutProb } = bertShape;
const { maxPositionEmbeddings, initializerRange, layerNormEps } = bertShape;

/** Settings of models that read texts and pictures together; this family is the project's own. */
export const FusionConfig = defineConfig(
  'fusion',
  {
    /** early: the tokens of both in one Transformer; late: a Transformer each, their vectors side by side. */
    fusion: z.enum(['early', 'late']).default('early'),
    vocabSize,
    hiddenSize,
    numHiddenLayers,
    numAttentionHeads,
    intermediateSize,
    hiddenAct,
    hiddenDropoutProb,
    attentionProbsDropoutProb,
    maxPositionEmbeddings,
    initializerRange,
    layerNormEps,
    padTokenId,
    imageSize: pictureKinds.sides.default(32),
    patchSize: pictureKinds.sides.default(4),
    numChannels: pictureKinds.channels.default(3),
    problemType,
  },
  {
    floats: ['hiddenDropoutProb', 'attentionProbsDropoutProb', 'initializerRange', 'layerNormEps'],
    check: checkPictureEncoder,
  },
);

export type FusionConfig = ReturnType<typeof FusionConfig.create>;
export type FusionSettings = NonNullable<Parameters<typeof FusionConfig.create>[0]>;
