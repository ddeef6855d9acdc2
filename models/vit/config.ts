import * as z from 'zod';
import { bertShape } from '../bert/config.ts';
import { checkHeads, defineConfig } from '../config.ts';
import type { HeadSizes } from '../config.ts';
import { bothSides, patchGrid } from '../nn/patches.ts';
import type { ImageSize } from '../nn/patches.ts';

const { hiddenSize, numHiddenLayers, numAttentionHeads, intermediateSize, hiddenAct, initializerRange } = bertShape;
const { layerNormEps, problemType } = bertShape;
const size = z.int().min(1);
const probability = z.number().min(0).max(1);

/** zod types of settings of models that read pictures. */
export const pictureKinds = {
  /** Pixels of a side, or height and width. */
  sides: z.union([size, z.tuple([size, size])]),
  channels: size,
};

interface PictureSizes extends HeadSizes {
  readonly imageSize: number | ImageSize;
  readonly patchSize: number | ImageSize;
}

/** What is wrong where heads have no whole share of the width, or where a picture is smaller than a patch. */
export function checkPictureEncoder({ imageSize, patchSize, ...width }: PictureSizes): string | undefined {
  const wrong = checkHeads(width);
  if (wrong !== undefined) return wrong;
  return patchGrid(imageSize, patchSize).includes(0)
    ? `image_size ${bothSides(imageSize).join(' x ')} holds no patch of patch_size ${bothSides(patchSize).join(' x ')}`
    : undefined;
}

/** The settings of ViT with Transformers' names and defaults, those of vit-base-patch16-224. */
const shape = {
  hiddenSize,
  numHiddenLayers,
  numAttentionHeads,
  intermediateSize,
  hiddenAct,
  hiddenDropoutProb: probability.default(0),
  attentionProbsDropoutProb: probability.default(0),
  initializerRange,
  layerNormEps,
  imageSize: pictureKinds.sides.default(224),
  patchSize: pictureKinds.sides.default(16),
  numChannels: pictureKinds.channels.default(3),
  /** Biases of queries, keys and values. */
  qkvBias: z.boolean().default(true),
  /** Width of the pooler's output; null: hiddenSize. */
  poolerOutputSize: size.nullable().default(null),
  poolerAct: hiddenAct.default('tanh'),
  problemType,
};

const base = defineConfig('vit', shape, {
  floats: ['hiddenDropoutProb', 'attentionProbsDropoutProb', 'initializerRange', 'layerNormEps'],
  check: checkPictureEncoder,
});

/** ViT's settings: config.json in camelCase. */
export const ViTConfig: typeof base = {
  ...base,
  toJson: (config) => ({ ...base.toJson(config), pooler_output_size: config.poolerOutputSize ?? config.hiddenSize }),
};

export type ViTConfig = ReturnType<typeof ViTConfig.create>;
export type ViTSettings = NonNullable<Parameters<typeof ViTConfig.create>[0]>;
