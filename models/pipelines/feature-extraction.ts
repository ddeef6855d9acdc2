import { cast, clamp, div, mul, normalize, reshape, select, sum } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { BertInputs, BertModel } from '../bert/model.ts';
import type { LoadOptions } from '../pretrained.ts';
import { computing, loadTextEncoder, readRows, textRows } from './encoder.ts';
import type { EncoderOptions, TextEncoder } from './encoder.ts';

/**
 * What stands for a text as a whole: the mean of its tokens' vectors, special tokens counted, or that of the
 * first.
 */
export type Pooling = 'mean' | 'cls';

export interface FeatureOptions extends EncoderOptions {
  /** Divide vectors of texts by their lengths; default false. */
  readonly normalize?: boolean;
}

export type FeatureExtractor = TextEncoder<BertModel>;

export const loadFeatureExtractor = (id: string, options?: LoadOptions): Promise<FeatureExtractor> =>
  loadTextEncoder<BertModel>(id, '', options);

const hiddenOf = computing('feature-extraction', (model: BertModel, batch: BertInputs) => {
  return model.forward(batch).lastHiddenState; // (B, T, D)
});

const poolings: Readonly<Record<Pooling, (hidden: Tensor, mask: Tensor) => Tensor>> = {
  mean: (hidden, mask) => {
    const weights = reshape(cast(mask, 'f32'), [...mask.shape, 1]); // (B, T, 1)
    return div(sum(mul(hidden, weights), 1), clamp(sum(weights, 1), 1e-9)); // (B, D)
  },
  cls: (hidden) => select(hidden, 1, 0), // (B, D)
};

const pooledOf = (pooling: Pooling, isNormalized: boolean) =>
  computing(`${pooling} of features`, (model: BertModel, batch: BertInputs) => {
    const pooled = poolings[pooling](model.forward(batch).lastHiddenState, batch.attentionMask!);
    return isNormalized ? normalize(pooled) : pooled;
  });

const pooled = {
  mean: [pooledOf('mean', false), pooledOf('mean', true)],
  cls: [pooledOf('cls', false), pooledOf('cls', true)],
} as const;

/** The last hidden state of each token of each text, [T][D], as Transformers' FeatureExtractionPipeline. */
export async function extractFeatures(
  extractor: FeatureExtractor,
  texts: readonly string[],
  options: EncoderOptions = {},
): Promise<number[][][]> {
  const rows = textRows(extractor, texts, { truncation: options.truncation });
  const values = await readRows(extractor, rows, hiddenOf, { ...options, perToken: true });
  return values.map((row, i) => {
    const tokens = rows[i]!.inputIds.length;
    const width = row.length / tokens;
    return Array.from({ length: tokens }, (_, t) => Array.from(row.subarray(t * width, (t + 1) * width)));
  });
}

/** A vector [D] for each text, as sentence-transformers' `encode` with this pooling. */
export async function embedTexts(
  extractor: FeatureExtractor,
  texts: readonly string[],
  {
    pooling = 'mean',
    normalize: isNormalized = false,
    ...options
  }: FeatureOptions & { readonly pooling?: Pooling } = {},
): Promise<Float32Array[]> {
  if (!Object.hasOwn(pooled, pooling))
    throw new Error(`feature-extraction: unknown pooling "${String(pooling)}"; use mean or cls`);
  const rows = textRows(extractor, texts, { truncation: options.truncation });
  return readRows(extractor, rows, pooled[pooling][isNormalized ? 1 : 0]!, options);
}

/** The cosine of the vectors of `source` and of each of `sentences`. */
export async function sentenceSimilarity(
  extractor: FeatureExtractor,
  source: string,
  sentences: readonly string[],
  options: EncoderOptions & { readonly pooling?: Pooling } = {},
): Promise<number[]> {
  const [own, ...others] = await embedTexts(extractor, [source, ...sentences], { ...options, normalize: true });
  return others.map((other) => other.reduce((dot, x, i) => dot + x * own![i]!, 0));
}
