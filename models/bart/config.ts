import * as z from 'zod';
import { defineConfig, outsideVocabulary } from '../config.ts';
import type { ModelConfig } from '../config.ts';
import { showValue } from '../names.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';
import { problemTypes } from '../transformer/encoder-heads.ts';

const size = z.int().min(1);
const layers = z.int().min(0);
const probability = z.number().min(0).max(1);
const token = z.int().min(0);
const ends = z.union([token.nullable(), z.array(token)]);
const names = Object.keys(activations) as [ActivationName, ...ActivationName[]];

/** Settings that the families share, with the defaults of Transformers' BartConfig, that of bart-large. */
const shape = {
  vocabSize: size.default(50265),
  maxPositionEmbeddings: size.default(1024),
  dModel: size.default(1024),
  encoderLayers: layers.default(12),
  encoderAttentionHeads: size.default(16),
  encoderFfnDim: size.default(4096),
  decoderLayers: layers.default(12),
  decoderAttentionHeads: size.default(16),
  decoderFfnDim: size.default(4096),
  activationFunction: z.enum(names).default('gelu'),
  /** Of embeddings and of what each part adds; the paper's. */
  dropout: probability.default(0.1),
  /** Of attention weights. */
  attentionDropout: probability.default(0),
  /** Of the hidden layer of the feed-forward parts. */
  activationDropout: probability.default(0),
  initStd: z.number().min(0).default(0.02),
  /** Multiply embeddings by the root of dModel, as Vaswani et al. 2017 do. */
  scaleEmbedding: z.boolean().default(false),
  /** The head's weight is the decoder's table. */
  tieWordEmbeddings: z.boolean().default(true),
  padTokenId: token.default(1),
  bosTokenId: token.nullable().default(0),
  eosTokenId: ends.default(2),
  /** The id that the decoder's input begins with. */
  decoderStartTokenId: token.default(2),
};

const marianShape = {
  ...shape,
  vocabSize: size.default(58101),
  /** Tokens of the decoder, where it has a table of its own; null: vocabSize. */
  decoderVocabSize: size.nullable().default(null),
  /** One table of embeddings for encoder and decoder. */
  shareEncoderDecoderEmbeddings: z.boolean().default(true),
  padTokenId: token.default(58100),
  bosTokenId: token.nullable().default(null),
  eosTokenId: ends.default(0),
  decoderStartTokenId: token.default(58100),
};

/** The settings of any family here. */
type Settings = Omit<Readonly<z.output<z.ZodObject<typeof shape>>>, 'decoderStartTokenId'> & {
  /** null: the target's last token, the code of its language (mBART). */
  readonly decoderStartTokenId: number | null;
  /** Marian's. */
  readonly decoderVocabSize?: number | null;
  readonly shareEncoderDecoderEmbeddings?: boolean;
};

/** How a family is built, which no config.json says. */
interface Architecture {
  /**
   * Normalise what goes into each part (pre-LN), instead of what comes out (post-LN), and the end once more.
   */
  readonly normFirst: boolean;
  /** Normalise the sum of the embeddings. */
  readonly normEmbeddings: boolean;
  /** Positions are learned, in a table with two rows more, which nothing uses; else sines. */
  readonly learnedPositions: boolean;
}

const architectures: Readonly<Record<string, Architecture>> = {
  bart: { normFirst: false, normEmbeddings: true, learnedPositions: true },
  mbart: { normFirst: true, normEmbeddings: true, learnedPositions: true },
  marian: { normFirst: false, normEmbeddings: false, learnedPositions: false },
  pegasus: { normFirst: true, normEmbeddings: false, learnedPositions: false },
};

export const architectureOf = ({ modelType }: { readonly modelType: string }): Architecture =>
  architectures[modelType]!;

/** Number of tokens that the decoder knows. */
export const targetVocabulary = ({ decoderVocabSize, vocabSize }: Settings): number => decoderVocabSize ?? vocabSize;

/** Whether encoder and decoder have one table of embeddings. */
export const sharesEmbeddings = ({ shareEncoderDecoderEmbeddings = true }: Settings): boolean =>
  shareEncoderDecoderEmbeddings;

function check(settings: Settings): string | undefined {
  const { dModel, vocabSize } = settings;
  const target = targetVocabulary(settings);
  for (const side of ['encoder', 'decoder'] as const) {
    const heads = settings[`${side}AttentionHeads`];
    if (dModel % heads !== 0) return `d_model ${dModel} must be a multiple of ${side}_attention_heads ${heads}`;
  }
  if (sharesEmbeddings(settings) && target !== vocabSize)
    return (
      `decoder_vocab_size ${target} must be vocab_size ${vocabSize} where share_encoder_decoder_embeddings ` + 'is true'
    );
  const { padTokenId: pad_token_id, decoderStartTokenId: decoder_start_token_id } = settings;
  return outsideVocabulary(Math.min(vocabSize, target), { pad_token_id, decoder_start_token_id });
}

const dropouts = ['dropout', 'attentionDropout', 'activationDropout', 'classifierDropout'];

/** The format of one family. */
function family<S extends z.ZodRawShape>(modelType: string, own: S) {
  return defineConfig(modelType, own, {
    floats: [...dropouts, 'initStd', 'encoderLayerdrop', 'decoderLayerdrop'],
    check: (values) => check(values as unknown as Settings),
    checkJson: ({ encoder_layerdrop: encoder = 0, decoder_layerdrop: decoder = 0 }) =>
      encoder === 0 && decoder === 0
        ? undefined
        : `encoder_layerdrop ${showValue(encoder)} and decoder_layerdrop ${showValue(decoder)} must be 0: ` +
          'layers are not dropped here; set them so',
  });
}

/**
 * BART's settings: config.json in camelCase. `BartConfig.create({ vocabSize: 100, dModel: 64, ... })` makes a
 * checked config; what is not given has Transformers' default.
 */
export const BartConfig = family('bart', {
  ...shape,
  /** Of what the head for labels takes. */
  classifierDropout: probability.default(0),
  /** The kind of the labels of a text; null: told from the first labels given. */
  problemType: z.enum(problemTypes).nullable().default(null),
});

/**
 * mBART's: the texts begin with the code of a language, which `decoderStartTokenId` names where it is one.
 */
export const MBartConfig = family('mbart', { ...shape, decoderStartTokenId: token.nullable().default(null) });

/** Pegasus's: no token begins texts. */
export const PegasusConfig = family('pegasus', {
  ...shape,
  padTokenId: token.default(0),
  bosTokenId: token.nullable().default(null),
  eosTokenId: ends.default(1),
  decoderStartTokenId: token.default(0),
});

/** Marian's settings, those of the Transformer of Vaswani et al. 2017. */
export const MarianConfig = family('marian', marianShape);

export type BartConfig = ReturnType<typeof BartConfig.create>;
export type BartSettings = NonNullable<Parameters<typeof BartConfig.create>[0]>;
export type MBartConfig = ReturnType<typeof MBartConfig.create>;
export type PegasusConfig = ReturnType<typeof PegasusConfig.create>;
export type MarianConfig = ReturnType<typeof MarianConfig.create>;
export type MarianSettings = NonNullable<Parameters<typeof MarianConfig.create>[0]>;
export type BartLikeConfig = Settings & ModelConfig;
