import { manualSeed } from '../../autograd/index.ts';
import { loadTokenizer, MarianConfig, MarianMTModel } from '../../models/index.ts';
import type { AnyTokenizer, Tokenizer } from '../../models/index.ts';
import { UsageError } from '../cli/cli.ts';
import { trainByteLevelBpe } from '../tokenizer-training/train-byte-level.ts';
import type { TextPair } from './pairs.ts';
import type { TokenisedPair } from './task.ts';

/** The sizes of a new encoder-decoder. */
export interface Seq2SeqSizes {
  readonly layers: number;
  readonly decoderLayers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly feedForward: number;
  readonly dropout: number;
  /** Ids after those of the tokenizer, for sentinels; default 0. */
  readonly extraIds?: number;
  /** Tokens of a text, the end included. */
  readonly maxLength: number;
  readonly seed: number;
}

export interface Seq2Seq {
  readonly model: MarianMTModel;
  readonly tokenizer: AnyTokenizer;
}

/** A trained model to go on with. */
export async function loadSeq2Seq(folder: string, dropout: number): Promise<Seq2Seq> {
  return { model: await MarianMTModel.fromPretrained(folder, { dropout }), tokenizer: await loadTokenizer(folder) };
}

/** Special tokens of a new encoder-decoder; the mask is for pretraining. */
const roles = { eos_token: '</s>', pad_token: '<pad>', mask_token: '<mask>' };

/**
 * A vocabulary for encoder and decoder, byte-level BPE: names, numbers and commands that are the same in the
 * texts of both have the same ids.
 */
export function seq2seqTokenizer(
  texts: Parameters<typeof trainByteLevelBpe>[0],
  vocabSize: number,
  maxLength: number,
): Promise<Tokenizer> {
  return trainByteLevelBpe(texts, { vocabSize, roles, modelMaxLength: maxLength });
}

/**
 * The Transformer of Vaswani et al. 2017 with one table of embeddings for encoder, decoder and head. Weights
 * begin with a standard deviation of 1 / sqrt(hidden), so that embeddings, scaled by sqrt(hidden), are about
 * as large as the sinusoidal positions that are added to them.
 */
export function newSeq2Seq(tokenizer: AnyTokenizer, sizes: Seq2SeqSizes): MarianMTModel {
  const { layers, decoderLayers, hidden, heads, feedForward, dropout, maxLength, seed, extraIds = 0 } = sizes;
  if (hidden % heads !== 0) throw new UsageError(`--hidden ${hidden} must be a multiple of --heads ${heads}`);
  manualSeed(seed);
  const config = MarianConfig.create({
    vocabSize: tokenizer.vocabSize + extraIds,
    dModel: hidden,
    encoderLayers: layers,
    decoderLayers,
    encoderAttentionHeads: heads,
    decoderAttentionHeads: heads,
    encoderFfnDim: feedForward,
    decoderFfnDim: feedForward,
    activationFunction: 'relu',
    dropout,
    initStd: hidden ** -0.5,
    scaleEmbedding: true,
    maxPositionEmbeddings: maxLength,
    padTokenId: tokenizer.padTokenId!,
    eosTokenId: tokenizer.eosTokenId!,
    decoderStartTokenId: tokenizer.padTokenId!,
  });
  return new MarianMTModel(config);
}

/**
 * Pairs as the model reads them. Those with a side of more than maxLength tokens are left out: a text that is
 * cut teaches to stop early. With `cutSources` sources are cut at their end instead, as summaries allow.
 * Throws where the tokenizer does not know more than half of the tokens of a pair: it is not one for this
 * language.
 */
export function tokenisePairs(
  { model, tokenizer }: Seq2Seq,
  pairs: readonly TextPair[],
  maxLength: number,
  cutSources = false,
): { readonly pairs: TokenisedPair[]; readonly tooLong: number } {
  const ends = [model.config.eosTokenId ?? []].flat().slice(0, 1);
  const read = (text: string): Int32Array => {
    const ids = tokenizer.idsOf(text);
    const unknown = ids.reduce((count, id) => count + Number(id === tokenizer.unkTokenId), 0);
    if (2 * unknown > ids.length)
      throw new Error(
        `the tokenizer does not know ${unknown} of the ${ids.length} tokens of "${text.slice(0, 60)}"; is the model ` +
          'one for this language?',
      );
    return Int32Array.from([...ids, ...ends]);
  };
  const cut = (ids: Int32Array): Int32Array =>
    cutSources && ids.length > maxLength
      ? Int32Array.from([...ids.subarray(0, maxLength - ends.length), ...ends])
      : ids;
  const all = pairs.map(({ source, target }) => ({ source: cut(read(source)), target: read(target) }));
  const kept = all.filter(({ source, target }) => Math.max(source.length, target.length) <= maxLength);
  return { pairs: kept, tooLong: all.length - kept.length };
}
