import { Tokenizer } from '../../models/index.ts';
import { bpeModel, BYTE_CHARS, byteLevelParts, specialToken, writeBytes } from '../../models/tokenizer/byte-level.ts';
import { GPT2_PATTERN, expressionPattern } from '../../models/tokenizer/pattern.ts';
import type { SPECIAL_NAMES } from '../../models/tokenizer/tokenizer-folder.ts';
import type { Texts } from './count-words.ts';
import { countMatches, recount } from './count-words.ts';
import type { BpeOptions } from './train-bpe.ts';
import { trainBpe } from './train-bpe.ts';

/** Which special token has which role: { eos_token: '<|endoftext|>' }. */
export type SpecialRoles = Partial<Record<(typeof SPECIAL_NAMES)[number], string>>;

export interface ByteLevelOptions extends Partial<Pick<BpeOptions, 'onProgress'>> {
  readonly vocabSize: number;
  /** Default 2. */
  readonly minFrequency?: number;
  /** Default <|endoftext|> for begin and end of text, as GPT-2 has it. */
  readonly roles?: SpecialRoles;
  /** Further special tokens, after those of `roles`. */
  readonly specialTokens?: readonly string[];
  /** Longest input of the model, for tokenizer_config.json. */
  readonly modelMaxLength?: number;
}

const GPT2_ROLES: SpecialRoles = { bos_token: '<|endoftext|>', eos_token: '<|endoftext|>' };

/**
 * Trains a byte-level BPE vocabulary as Hugging Face's ByteLevelBPETokenizer does: GPT-2's pattern cuts each
 * text into pieces, all 256 bytes are tokens, so that any text has ids. Deterministic; the order of the texts
 * does not matter. Errors: those of `trainBpe`.
 *
 * @example
 * const tokenizer = await trainByteLevelBpe(['low lower lowest low'], { vocabSize: 260 });
 * tokenizer.tokenize('low'); // ['low']
 */
export async function trainByteLevelBpe(texts: Texts, options: ByteLevelOptions): Promise<Tokenizer> {
  const { vocabSize, minFrequency = 2, roles = GPT2_ROLES, modelMaxLength, onProgress } = options;
  const specialTokens = [...new Set(Object.values(roles)), ...(options.specialTokens ?? [])];
  const pieces = await countMatches(texts, expressionPattern(GPT2_PATTERN).native!, onProgress);
  const words = recount(pieces, (piece) => [writeBytes(piece)]);
  const { vocab, merges } = trainBpe(words, {
    vocabSize,
    minFrequency,
    specialTokens,
    initialAlphabet: BYTE_CHARS,
    onProgress,
  });
  const json = {
    ...byteLevelParts(false),
    added_tokens: specialTokens.map(specialToken),
    model: bpeModel(Object.fromEntries(vocab.map((token, id) => [token, id])), merges),
  };
  const length = modelMaxLength === undefined ? {} : { model_max_length: modelMaxLength };
  return Tokenizer.fromJson(
    json,
    { ...roles, ...length, clean_up_tokenization_spaces: false },
    'the trained tokenizer',
  );
}
