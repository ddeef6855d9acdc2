import { Tokenizer } from '../../models/index.ts';
import { bpeModel, specialToken } from '../../models/tokenizer/byte-level.ts';
import type { SpecialRoles } from './train-byte-level.ts';
import type { Texts } from './count-words.ts';

export interface CharacterOptions {
  /**
   * Their ids come first. Default none: a text with a character that the training texts lack is refused. With
   * an unk_token it gets that.
   */
  readonly roles?: SpecialRoles;
  readonly modelMaxLength?: number;
}

/**
 * A tokenizer whose tokens are the characters (code points) of the texts, in their order: 65 for
 * tinyshakespeare, as nanoGPT's data/shakespeare_char has it. Written as BPE without merges, which
 * Transformers loads. Error: no text.
 *
 * @example
 * const tokenizer = await trainCharacters(['to be']);
 * tokenizer.tokenize('bet'); // ['b', 'e', 't']
 */
export async function trainCharacters(texts: Texts, options: CharacterOptions = {}): Promise<Tokenizer> {
  const { roles = {}, modelMaxLength } = options;
  const found = new Set<string>();
  for await (const text of texts) for (const char of text) found.add(char);
  if (found.size === 0) throw new Error('the texts hold no characters: a tokenizer needs some to be trained on');
  const specialTokens = [...new Set(Object.values(roles))];
  const characters = [...found].sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!);
  const clash = specialTokens.find((token) => found.has(token));
  if (clash !== undefined) throw new Error(`the special token "${clash}" is a character of the texts: choose another`);
  const vocab = Object.fromEntries([...specialTokens, ...characters].map((token, id) => [token, id]));
  const json = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specialTokens.map(specialToken),
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: { type: 'Fuse' },
    model: { ...bpeModel(vocab, []), unk_token: roles.unk_token ?? null },
  };
  const length = modelMaxLength === undefined ? {} : { model_max_length: modelMaxLength };
  return Tokenizer.fromJson(
    json,
    { ...roles, ...length, clean_up_tokenization_spaces: false },
    'the trained tokenizer',
  );
}
