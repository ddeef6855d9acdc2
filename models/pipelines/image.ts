// Pipelines on models of pictures, whose inputs are pictures or where they are.
import { scope } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { highest } from '../../common/collections.ts';
import { join } from '../../common/platform.ts';
import { loadWithHead } from '../auto.ts';
import type { ImageClassificationModel } from '../auto.ts';
import type { BertInputs } from '../bert/model.ts';
import { CLIPModel, CLIPVisionModelWithProjection, unit } from '../clip/model.ts';
import { softmax } from '../generation/processors.ts';
import { ImageProcessor } from '../image/image-processor.ts';
import { readImages } from '../image/raw-image.ts';
import type { ImageInput, ReadImageOptions } from '../image/raw-image.ts';
import { readModelJson } from '../io/model-files.ts';
import { readModelFolder, resolveModelFolder } from '../io/resolve.ts';
import { evalMode } from '../module.ts';
import type { Module } from '../module.ts';
import { showValue } from '../names.ts';
import type { LoadOptions } from '../pretrained.ts';
import type { AnyTokenizer } from '../tokenizer/any-tokenizer.ts';
import { loadTokenizer } from '../tokenizer/load.ts';
import { ViTModel } from '../vit/model.ts';
import { computing, readRows, textRows } from './encoder.ts';
import { chunks, compiledFor } from './rows.ts';
import { scoreLabels } from './text-classification.ts';
import type { ClassLabel, TextClassificationOptions } from './text-classification.ts';
import { candidatesOf } from './zero-shot-classification.ts';

/** A model, and what makes its pixels of pictures. */
export interface ImageEncoder<M extends Module = Module> {
  readonly model: M;
  readonly processor: ImageProcessor;
}

/** Options of every pipeline on pictures. */
export interface ImageOptions extends ReadImageOptions {
  /** Pictures at once; default 16. */
  readonly batchSize?: number;
  /** Ends the work between two batches with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** The part of a result (B, ...) of each picture, in their order. Dropout is off. */
async function readPictures<M extends Module>(
  { model, processor }: ImageEncoder<M>,
  images: readonly ImageInput[],
  forward: (model: M) => (pixelValues: Tensor) => Tensor,
  { batchSize = 16, signal, ...reading }: ImageOptions = {},
): Promise<Float32Array[]> {
  if (!Number.isInteger(batchSize) || batchSize < 1)
    throw new Error(`pictures: batchSize must be a positive integer, got ${batchSize}`);
  const values: Float32Array[] = [];
  using _mode = evalMode(model);
  for (const batch of chunks(images, batchSize)) {
    signal?.throwIfAborted();
    const read = await readImages(batch, reading);
    using _ = scope();
    const result = forward(model)(processor.batch(read));
    const data = (await result.data()) as Float32Array;
    const size = data.length / batch.length;
    values.push(...batch.map((_image, i) => data.slice(i * size, (i + 1) * size)));
  }
  return values;
}

/** `compute` as the device runs it, compiled once for each model. */
const picturing = <M extends Module>(name: string, compute: (model: M, pixelValues: Tensor) => Tensor) =>
  compiledFor<M, Tensor, Tensor>(name, compute);

export type ImageClassifier = ImageEncoder<ImageClassificationModel>;

export async function loadImageClassifier(id: string, options: LoadOptions = {}): Promise<ImageClassifier> {
  const folder = await resolveModelFolder(id, options);
  return readModelFolder(folder, async () => ({
    model: await loadWithHead(folder, 'ForImageClassification', options),
    processor: await ImageProcessor.fromPretrained(folder),
  }));
}

export interface ImageClassificationOptions extends ImageOptions, Pick<TextClassificationOptions, 'functionToApply'> {
  /** How many labels of each picture, the most probable first; null for all. Default 5. */
  readonly topK?: number | null;
}

const imageLogits = picturing('image classification', (model: ImageClassificationModel, pixelValues) => {
  return model.forward({ pixelValues }).logits; // (B, L)
});

/** The labels of each picture, as Transformers' ImageClassificationPipeline. */
export async function classifyImages(
  classifier: ImageClassifier,
  images: readonly ImageInput[],
  { topK = 5, functionToApply, ...options }: ImageClassificationOptions = {},
): Promise<ClassLabel[][]> {
  const rank = scoreLabels('image-classification', classifier.model.config, { topK, functionToApply });
  return (await readPictures(classifier, images, imageLogits, options)).map(rank);
}

/** CLIP, and what it reads with. */
export interface ZeroShotImageClassifier extends ImageEncoder<CLIPModel> {
  readonly tokenizer: AnyTokenizer;
}

export async function loadZeroShotImageClassifier(
  id: string,
  options: LoadOptions = {},
): Promise<ZeroShotImageClassifier> {
  const folder = await resolveModelFolder(id, options);
  return readModelFolder(folder, async () => ({
    model: await CLIPModel.fromPretrained(folder, undefined, options),
    processor: await ImageProcessor.fromPretrained(folder),
    tokenizer: await loadTokenizer(folder),
  }));
}

export interface ZeroShotImageOptions extends ImageOptions {
  /** Makes a text of each label, at {}; default "This is a photo of {}.". */
  readonly hypothesisTemplate?: string;
}

const imageVectors = picturing('pictures for texts', (model: CLIPModel, pixelValues) =>
  unit(model.getImageFeatures({ pixelValues })),
);
const textVectors = computing('texts for pictures', (model: CLIPModel, batch: BertInputs) =>
  unit(model.getTextFeatures(batch)),
);

/**
 * Labels for each picture that no training named, the most probable first (Radford et al. 2021), as
 * Transformers' ZeroShotImageClassificationPipeline. Errors: those of reading pictures; no labels; a template
 * without {}; a label longer than the model reads.
 */
export async function classifyImagesZeroShot(
  classifier: ZeroShotImageClassifier,
  images: readonly ImageInput[],
  candidateLabels: string | readonly string[],
  { hypothesisTemplate = 'This is a photo of {}.', ...options }: ZeroShotImageOptions = {},
): Promise<ClassLabel[][]> {
  const candidates = candidatesOf(candidateLabels, 'zero-shot-image-classification');
  if (!hypothesisTemplate.includes('{}'))
    throw new Error(
      `zero-shot-image-classification: hypothesisTemplate "${hypothesisTemplate}" has no {} for the label; put it in`,
    );
  const { model, tokenizer } = classifier;
  const rows = textRows(
    { model, tokenizer },
    candidates.map((label) => hypothesisTemplate.replaceAll('{}', label)),
  );
  const texts = await readRows({ model, tokenizer }, rows, textVectors, { signal: options.signal });
  const scale = Math.exp(await model.logitScale.item());
  const vectors = await readPictures(classifier, images, imageVectors, options);
  return vectors.map((image) => {
    const scores = softmax(texts.map((text) => scale * text.reduce((dot, x, i) => dot + x * image[i]!, 0)));
    return highest(scores, candidates.length).map((i) => ({ label: candidates[i]!, score: scores[i]! }));
  });
}

/** An encoder of pictures: its last hidden states, and one vector for each picture where it has one. */
export interface ImageFeatureExtractor extends ImageEncoder<ViTModel | CLIPVisionModelWithProjection> {
  /** Whether the folder had what makes one vector. */
  readonly hasPooler: boolean;
}

/** Loads ViT, or the encoder of pictures of CLIP. Error: a model of another kind. */
export async function loadImageFeatureExtractor(id: string, options: LoadOptions = {}): Promise<ImageFeatureExtractor> {
  const folder = await resolveModelFolder(id, options);
  return readModelFolder(folder, async () => {
    const { model_type: type } = await readModelJson(folder, 'config.json');
    const processor = await ImageProcessor.fromPretrained(folder);
    let hasPooler = true;
    // A head, or the encoder of texts, is left out here on purpose.
    const log = (line: string): void => {
      if (line.startsWith('newly initialised')) hasPooler = false;
      else if (!line.startsWith('not used by')) (options.log ?? console.error)(line);
    };
    if (type === 'vit')
      return { model: await ViTModel.fromPretrained(folder, undefined, { ...options, log }), processor, hasPooler };
    if (type === 'clip' || type === 'clip_vision_model') {
      const model = await CLIPVisionModelWithProjection.fromPretrained(folder, undefined, { ...options, log });
      return { model, processor, hasPooler };
    }
    throw new Error(
      `${join(folder, 'config.json')}: model_type ${showValue(type)} is no encoder of pictures that is here; vit and ` +
        'clip are',
    );
  });
}

export interface ImageFeatureOptions extends ImageOptions {
  /** One vector for a picture: the pooler's output, of CLIP the one that its texts are compared with. */
  readonly pool?: boolean;
}

const hiddenStates = picturing('image features', (model: ViTModel | CLIPVisionModelWithProjection, pixelValues) => {
  return model.forward({ pixelValues }).lastHiddenState; // (B, 1 + N, D)
});
const pooled = picturing('image vectors', (model: ViTModel | CLIPVisionModelWithProjection, pixelValues) =>
  model instanceof ViTModel ? model.forward({ pixelValues }).pooled! : model.forward({ pixelValues }).imageEmbeds,
);

/** A vector for each picture; see `pool`. */
export async function embedImages(
  extractor: ImageFeatureExtractor,
  images: readonly ImageInput[],
  options: ImageOptions = {},
): Promise<Float32Array[]> {
  if (!extractor.hasPooler)
    throw new Error(
      'image-feature-extraction: the folder has no weights of a pooler, so that nothing was trained to make one ' +
        'vector; leave pool out, and take the first of the vectors',
    );
  return readPictures(extractor, images, pooled, options);
}

/** The last hidden states of each picture, [1 + N][D]: of the first token, and of the patches row by row. */
export async function extractImageFeatures(
  extractor: ImageFeatureExtractor,
  images: readonly ImageInput[],
  options: ImageOptions = {},
): Promise<number[][][]> {
  const width = extractor.model.config.hiddenSize;
  return (await readPictures(extractor, images, hiddenStates, options)).map((states) =>
    chunks(Array.from(states), width),
  );
}
