// The files of a BERT tokenizer in the Hugging Face layout: tokenizer.json, tokenizer_config.json, vocab.txt,
// special_tokens_map.json.
import { join } from 'node:path';
import type { FileToWrite } from '../../common/atomic-files.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { isJsonObject, pathKind, readJsonFile } from '../../common/json-file.ts';
import type { AddedToken } from './added-tokens.ts';
import { isTokenId, readAddedTokens } from './added-tokens.ts';
import type { BertNormalizerOptions } from './bert-normalizer.ts';
import { readVocab } from './bert-vocab.ts';
import type { SpecialTokens } from './tokenizer-json.ts';
import { readSpecialTokens, tokenizerJson } from './tokenizer-json.ts';
import { readTokenizerConfig } from './tokenizer-folder.ts';
import type { Side } from './truncate.ts';

/** Everything that makes a BERT tokenizer, checked. */
export interface TokenizerFiles {
  /** The contents of tokenizer.json. */
  tokenizer: JsonObject;
  /** The contents of tokenizer_config.json. */
  config: JsonObject;
  /** null leaves texts as they are. */
  normalizer: BertNormalizerOptions | null;
  addedTokens: AddedToken[];
  specialTokens: SpecialTokens;
  /** The prefix of tokens that continue a word. */
  prefix: string;
  modelMaxLength: number;
  paddingSide: Side;
  truncationSide: Side;
  cleanUpTokenizationSpaces: boolean;
}

// Transformers writes int(1e30) for "unknown"; no BERT has a million positions.
const LONGEST_BELIEVABLE = 1_000_000;

/**
 * Reads the tokenizer of a folder: tokenizer.json, else vocab.txt; tokenizer_config.json where it is there,
 * whose do_lower_case, strip_accents and tokenize_chinese_chars win over tokenizer.json as in Transformers.
 * Where model_max_length is not given, config.json's max_position_embeddings stands in.
 *
 * Errors, each one line naming the file: not valid JSON, a tokenizer that is not BERT's (WordPiece with
 * BertNormalizer and BertPreTokenizer), a special token that is not in the vocabulary.
 */
export async function readTokenizerFiles(folder: string): Promise<TokenizerFiles> {
  const config = await readTokenizerConfig(folder);
  const modelPath = join(folder, 'config.json');
  const modelConfig = (await pathKind(modelPath)) === 'file' ? await readJsonFile(modelPath) : {};
  const longest = modelConfig['max_position_embeddings'];
  const path = join(folder, 'tokenizer.json');
  if ((await pathKind(path)) === 'file') return checkTokenizer(await readJsonFile(path), config, path, longest);
  const vocabPath = join(folder, 'vocab.txt');
  const vocab = await readVocab(vocabPath);
  return checkTokenizer(tokenizerJson(vocab, config, vocabPath), config, vocabPath, longest);
}

/** A tokenizer from a bare vocabulary and the settings of a tokenizer_config.json. */
export function tokenizerFromVocab(vocab: readonly string[], config: JsonObject, source: string): TokenizerFiles {
  return checkTokenizer(tokenizerJson(vocab, config, source), config, source, undefined);
}

/** A tokenizer from the contents of tokenizer.json and tokenizer_config.json. */
export function tokenizerFromJson(tokenizer: JsonObject, config: JsonObject, source: string): TokenizerFiles {
  return checkTokenizer(tokenizer, config, source, undefined);
}

const typeOf = (part: unknown): unknown => (isJsonObject(part) ? part['type'] : part);

function checkTokenizer(tokenizer: JsonObject, config: JsonObject, path: string, longest: unknown): TokenizerFiles {
  const { model } = tokenizer;
  const expect = (part: string, found: unknown, allowed: readonly unknown[]): void => {
    if (allowed.includes(found)) return;
    throw new Error(
      `${path} is no BERT tokenizer: its ${part} is ${JSON.stringify(found)} where ${JSON.stringify(allowed[0])} is needed`,
    );
  };
  expect('model', typeOf(model), ['WordPiece']);
  expect('normalizer', typeOf(tokenizer['normalizer'] ?? null), ['BertNormalizer', null]);
  expect('pre_tokenizer', typeOf(tokenizer['pre_tokenizer']), ['BertPreTokenizer']);
  const { vocab, continuing_subword_prefix: prefix = '##' } = model as JsonObject;
  if (!isJsonObject(vocab) || !Object.values(vocab).every(isTokenId))
    throw new Error(`${path} has no vocabulary of token: id`);
  if (typeof prefix !== 'string')
    throw new Error(`${path} has continuing_subword_prefix ${JSON.stringify(prefix)}, no text`);
  const addedTokens = readAddedTokens(tokenizer, path);
  const specialTokens = readSpecialTokens(config);
  const known = new Set([...Object.keys(vocab), ...addedTokens.map(({ content }) => content)]);
  for (const token of Object.values(specialTokens)) {
    if (!known.has(token)) throw new Error(`${path} has no ${token}: add it, or name another in tokenizer_config.json`);
  }
  const side = (name: string): Side => (config[name] === 'left' ? 'left' : 'right');
  const normalizer = readNormalizer(tokenizer['normalizer'], config);
  return {
    tokenizer: { ...tokenizer, normalizer: normalizer && writeNormalizer(normalizer) },
    config,
    normalizer,
    addedTokens,
    specialTokens,
    prefix,
    modelMaxLength: [config['model_max_length'], longest].find(isBelievableLength) ?? Infinity,
    paddingSide: side('padding_side'),
    truncationSide: side('truncation_side'),
    cleanUpTokenizationSpaces: config['clean_up_tokenization_spaces'] === true,
  };
}

function isBelievableLength(value: unknown): value is number {
  return isTokenId(value) && value > 0 && value <= LONGEST_BELIEVABLE;
}

function readNormalizer(json: unknown, config: JsonObject): BertNormalizerOptions | null {
  const asked = ['do_lower_case', 'strip_accents', 'tokenize_chinese_chars'].some((name) => name in config);
  if (!isJsonObject(json) && !asked) return null;
  const normalizer = isJsonObject(json) ? json : {};
  const flag = (...values: unknown[]): boolean => values.find((value) => typeof value === 'boolean') as boolean;
  const lowercase = flag(config['do_lower_case'], normalizer['lowercase'], true);
  return {
    cleanText: flag(normalizer['clean_text'], true),
    handleChineseChars: flag(config['tokenize_chinese_chars'], normalizer['handle_chinese_chars'], true),
    // Left open, accents go where case goes.
    stripAccents: flag('strip_accents' in config ? config['strip_accents'] : normalizer['strip_accents'], lowercase),
    lowercase,
  };
}

function writeNormalizer({
  cleanText,
  handleChineseChars,
  stripAccents,
  lowercase,
}: BertNormalizerOptions): JsonObject {
  return {
    type: 'BertNormalizer',
    clean_text: cleanText,
    handle_chinese_chars: handleChineseChars,
    strip_accents: stripAccents === lowercase ? null : stripAccents,
    lowercase,
  };
}

/** The four files, to write into `folder`; `vocab` is in the order of the ids. */
export function tokenizerFilesToWrite(files: TokenizerFiles, vocab: readonly string[], folder: string): FileToWrite[] {
  const { tokenizer, config, specialTokens, normalizer, modelMaxLength } = files;
  const normalizerSettings = normalizer && {
    do_lower_case: normalizer.lowercase,
    strip_accents: normalizer.stripAccents === normalizer.lowercase ? null : normalizer.stripAccents,
    tokenize_chinese_chars: normalizer.handleChineseChars,
  };
  const newConfig = {
    ...config,
    ...normalizerSettings,
    ...specialTokens,
    ...(modelMaxLength === Infinity ? {} : { model_max_length: modelMaxLength }),
    tokenizer_class: 'BertTokenizer',
  };
  const json = (value: unknown): string => JSON.stringify(value, null, 2) + '\n';
  const file = (name: string, data: string): FileToWrite => ({ path: join(folder, name), data });
  return [
    file('tokenizer.json', json(tokenizer)),
    file('tokenizer_config.json', json(newConfig)),
    file('special_tokens_map.json', json(specialTokens)),
    file('vocab.txt', vocab.map((token) => token + '\n').join('')),
  ];
}
