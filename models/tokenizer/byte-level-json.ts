// Parts of a tokenizer.json, as Rust `tokenizers` writes them.
import type { JsonObject } from '../../common/json-file.ts';

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
