import { z } from 'zod';
import { defineConfig } from '../config.ts';
import { showValue } from '../names.ts';
import { activations } from '../nn/activation.ts';
import type { ActivationName } from '../nn/activation.ts';

const size = z.int().min(1);
const layers = z.int().min(0);
const probability = z.number().min(0).max(1);
const token = z.int().min(0);
const names = Object.keys(activations) as [ActivationName, ...ActivationName[]];

/** The settings of Marian with Transformers' defaults. */
const shape = {
  vocabSize: size.default(58101),
  /** Tokens of the decoder, where it has a table of its own; null: vocabSize. */
  decoderVocabSize: size.nullable().default(null),
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
  /** Multiply embeddings by the root of dModel, as the paper does. */
  scaleEmbedding: z.boolean().default(false),
  /** One table of embeddings for encoder and decoder. */
  shareEncoderDecoderEmbeddings: z.boolean().default(true),
  /** The head's weight is the decoder's table. */
  tieWordEmbeddings: z.boolean().default(true),
  padTokenId: token.default(58100),
  bosTokenId: token.nullable().default(null),
  eosTokenId: z.union([token.nullable(), z.array(token)]).default(0),
  /** The id that the decoder's input begins with. */
  decoderStartTokenId: token.default(58100),
};

type Settings = Readonly<z.output<z.ZodObject<typeof shape>>>;

/** Number of tokens that the decoder knows. */
export const targetVocabulary = ({ decoderVocabSize, vocabSize }: Settings): number => decoderVocabSize ?? vocabSize;

function check(settings: Settings): string | undefined {
  const { dModel, vocabSize, shareEncoderDecoderEmbeddings } = settings;
  const target = targetVocabulary(settings);
  for (const side of ['encoder', 'decoder'] as const) {
    const heads = settings[`${side}AttentionHeads`];
    if (dModel % heads !== 0) return `d_model ${dModel} must be a multiple of ${side}_attention_heads ${heads}`;
  }
  if (shareEncoderDecoderEmbeddings && target !== vocabSize)
    return (
      `decoder_vocab_size ${target} must be vocab_size ${vocabSize} where share_encoder_decoder_embeddings ` + 'is true'
    );
  for (const [key, id] of [
    ['pad_token_id', settings.padTokenId],
    ['decoder_start_token_id', settings.decoderStartTokenId],
  ] as const)
    if (id >= Math.min(vocabSize, target))
      return `${key} ${id} is outside the vocabulary of ${Math.min(vocabSize, target)}; give one of it`;
  return undefined;
}

/**
 * Marian's settings, those of the Transformer of Vaswani et al. 2017: config.json in camelCase.
 * `MarianConfig.create({ vocabSize: 100, dModel: 64, ... })` makes a checked config; what is not given has
 * Transformers' default.
 */
export const MarianConfig = defineConfig('marian', shape, {
  floats: ['dropout', 'attentionDropout', 'activationDropout', 'initStd'],
  check,
  checkJson: ({ encoder_layerdrop: encoder = 0, decoder_layerdrop: decoder = 0 }) =>
    encoder === 0 && decoder === 0
      ? undefined
      : `encoder_layerdrop ${showValue(encoder)} and decoder_layerdrop ${showValue(decoder)} must be 0: ` +
        'layers are not dropped here; set them so',
});

export type MarianConfig = ReturnType<typeof MarianConfig.create>;
export type MarianSettings = NonNullable<Parameters<typeof MarianConfig.create>[0]>;
