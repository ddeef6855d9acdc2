import type { BertInputs } from '../bert/model.ts';
import type { LoadOptions } from '../pretrained.ts';
import { SentenceTransformer } from '../sentence-transformer/model.ts';
import type { PoolingMode } from '../sentence-transformer/pooling.ts';
import { computing, readRows, textRows } from './encoder.ts';
import type { EncoderOptions, TextEncoder } from './encoder.ts';

/** What makes one vector of a text's tokens: `own`, as the model's folder has it, or one of the modes. */
export type Pooling = PoolingMode | 'own';

export interface FeatureOptions extends EncoderOptions {
  /** Divide vectors of texts by their lengths; default false. */
  readonly normalize?: boolean;
}

export type FeatureExtractor = TextEncoder<SentenceTransformer>;

/** Loads an encoder, with the pooling and what follows of a folder of sentence-transformers. */
export async function loadFeatureExtractor(id: string, options?: LoadOptions): Promise<FeatureExtractor> {
  const model = await SentenceTransformer.fromPretrained(id, options);
  return { model, tokenizer: model.tokenizer };
}

const hiddenOf = computing('feature-extraction', (model: SentenceTransformer, batch: BertInputs) => {
  return model.encoder.forward(batch).lastHiddenState; // (B, T, D)
});

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

/** A vector [D] for each text; see `encode` of SentenceTransformer. */
export const embedTexts = (
  { model }: FeatureExtractor,
  texts: readonly string[],
  { truncation = false, ...options }: FeatureOptions & { readonly pooling?: Pooling } = {},
): Promise<Float32Array[]> => model.encode(texts, { ...options, truncation });

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
