import { BertTokenizer } from '../../models/index.ts';
import { alignOriginal, normalizeBert } from '../../models/tokenizer/bert-normalizer.ts';
import { BERT_WORD } from '../../models/tokenizer/punctuation.ts';
import { BERT_PART } from '../../models/tokenizer/word-pieces.ts';
import type { Texts } from './count-words.ts';
import { countMatches, recount } from './count-words.ts';
import type { BpeOptions } from './train-bpe.ts';
import { trainBpe } from './train-bpe.ts';

export interface WordPieceOptions extends Partial<Pick<BpeOptions, 'onProgress'>> {
  readonly vocabSize: number;
  /** Default 2. */
  readonly minFrequency?: number;
  /** Further special tokens, after [PAD], [UNK], [CLS], [SEP] and [MASK]. */
  readonly specialTokens?: readonly string[];
  /** Default 1000. */
  readonly limitAlphabet?: number;
  /** Default true: no upper case and no accents. */
  readonly lowercase?: boolean;
  /** Longest input of the model, for tokenizer_config.json. */
  readonly modelMaxLength?: number;
}

const BERT_TOKENS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];

/**
 * Trains a WordPiece vocabulary as Hugging Face's BertWordPieceTokenizer does: BERT's normaliser and words,
 * BPE with ## before what continues a word. (The WordPiece of Schuster & Nakajima 2012 chose pairs by
 * likelihood; this is what is in use.) Deterministic; the order of the texts does not matter. Errors: those
 * of `trainBpe`.
 *
 * @example
 * const tokenizer = await trainWordPiece(['low lower lowest low'], { vocabSize: 20 });
 * tokenizer.tokenize('low'); // ['low']
 */
export async function trainWordPiece(texts: Texts, options: WordPieceOptions): Promise<BertTokenizer> {
  const { vocabSize, minFrequency = 2, limitAlphabet = 1000, lowercase = true, onProgress } = options;
  const extra = options.specialTokens ?? [];
  const settings = { cleanText: true, handleChineseChars: true, stripAccents: lowercase, lowercase };
  // Each different part is normalised once.
  const parts = await countMatches(texts, BERT_PART, onProgress);
  const words = recount(parts, (part) => normalizeBert(alignOriginal(part), settings).text.match(BERT_WORD) ?? []);
  const specialTokens = [...BERT_TOKENS, ...extra];
  const { vocab } = trainBpe(words, {
    vocabSize,
    minFrequency,
    specialTokens,
    limitAlphabet,
    continuingPrefix: '##',
    onProgress,
  });
  return BertTokenizer.fromVocab(vocab, {
    do_lower_case: lowercase,
    ...(options.modelMaxLength === undefined ? {} : { model_max_length: options.modelMaxLength }),
    ...(extra.length > 0 ? { extra_special_tokens: extra } : {}),
  });
}
