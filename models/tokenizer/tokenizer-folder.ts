// tokenizer.json and what lies beside it, of any kind of tokenizer.
import { filesAt } from '../../common/file-access.ts';
import { brief } from '../../common/printable.ts';
import { join } from '../../common/platform.ts';
import type { FileToWrite } from '../../common/atomic-files.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { isJsonObject, pathKind } from '../../common/json-file.ts';
import { hasModelFile, readModelJson } from '../io/model-files.ts';
import type { AddedToken } from './added-tokens.ts';
import { isTokenId, readAddedTokens, tokenText } from './added-tokens.ts';
import type { Side } from './truncate.ts';

/** A tokenizer as it lies in a folder, checked. */
export interface TokenizerFolder {
  /** The contents of tokenizer.json. */
  tokenizer: JsonObject;
  /** tokenizer_config.json, over special_tokens_map.json. */
  config: JsonObject;
  addedTokens: AddedToken[];
  /** Ids of the model's own tokens. */
  vocab: ReadonlyMap<string, number>;
  /** Ids of all tokens, added ones included. */
  ids: Map<string, number>;
  /** The merges of a BPE model; empty for others. */
  merges: (readonly [string, string])[];
}

/** The special tokens by their name in tokenizer_config.json. */
export const SPECIAL_NAMES = [
  'bos_token',
  'eos_token',
  'unk_token',
  'sep_token',
  'pad_token',
  'cls_token',
  'mask_token',
] as const;

/** The chat template in a file of its own. */
const templateFile = 'chat_template.jinja';

const MODELS = ['BPE', 'WordPiece', 'Unigram', 'WordLevel'];

/** How rows of tokens are made, as tokenizer_config.json says. */
export interface RowSettings {
  /** Longest row the model takes, special tokens included; Infinity where unknown. */
  readonly modelMaxLength: number;
  readonly paddingSide: Side;
  readonly truncationSide: Side;
}

/** `longest`: the row length where tokenizer_config.json gives none, as far as it is a length. */
export function rowSettings(config: JsonObject, longest?: unknown): RowSettings {
  const side = (name: string): Side => (config[name] === 'left' ? 'left' : 'right');
  return {
    modelMaxLength: [config['model_max_length'], longest].find(isBelievableLength) ?? Infinity,
    paddingSide: side('padding_side'),
    truncationSide: side('truncation_side'),
  };
}

// Transformers writes int(1e30) for "unknown"; no encoder has a million positions.
const LONGEST_BELIEVABLE = 1_000_000;

function isBelievableLength(value: unknown): value is number {
  return isTokenId(value) && value > 0 && value <= LONGEST_BELIEVABLE;
}

/** tokenizer_config.json over special_tokens_map.json; {} where there is neither. */
export async function readTokenizerConfig(folder: string): Promise<JsonObject> {
  const optional = async (name: string): Promise<JsonObject> =>
    (await hasModelFile(folder, name)) ? readModelJson(folder, name) : {};
  const template = join(folder, templateFile);
  return {
    ...(await optional('special_tokens_map.json')),
    ...(await optional('tokenizer_config.json')),
    // Newer folders have it in a file of its own, which is the one that counts.
    ...((await pathKind(template)) === 'file' ? { chat_template: await filesAt(template).readText(template) } : {}),
  };
}

/**
 * chat_template of tokenizer_config.json: a template, or a list of named ones. Error, one line: neither.
 */
export function readChatTemplate(json: unknown, path: string): string | Readonly<Record<string, string>> | undefined {
  if (json === undefined || json === null) return undefined;
  if (typeof json === 'string') return json;
  const isNamed = (each: unknown): each is { name: string; template: string } =>
    isJsonObject(each) && typeof each['name'] === 'string' && typeof each['template'] === 'string';
  if (!Array.isArray(json) || !json.every(isNamed))
    throw new Error(`${path}: chat_template of tokenizer_config.json is ${brief(json)}, where a template is needed`);
  return Object.fromEntries(json.map(({ name, template }) => [name, template]));
}

/**
 * Reads tokenizer.json and the settings beside it. Errors, each one line naming the file: see
 * `checkTokenizerJson`.
 */
export async function readTokenizerFolder(folder: string): Promise<TokenizerFolder> {
  const path = join(folder, 'tokenizer.json');
  return checkTokenizerJson(await readModelJson(folder, 'tokenizer.json'), await readTokenizerConfig(folder), path);
}

/**
 * Checks a tokenizer.json; the model is given its type where an older file does not say it. Errors, each one
 * line naming `path` and the mend: no model, no vocabulary, an id given twice, merges of tokens that are not
 * in the vocabulary, an added token that Rust `tokenizers` would number otherwise, a special token without an
 * id.
 */
export function checkTokenizerJson(json: JsonObject, config: JsonObject, path: string): TokenizerFolder {
  const damaged = (what: string): Error => new Error(`${path} ${what}: it is damaged, fetch or save it again`);
  const { model: given, version = '1.0' } = json;
  if (!isJsonObject(given)) throw damaged('has no model');
  if (version !== '1.0') throw new Error(`${path} has version ${brief(version)}: only "1.0" can be read`);
  const model: JsonObject = { ...given, type: given['type'] ?? oldModelType(given) };
  const { type } = model;
  if (!MODELS.includes(type as string))
    throw damaged(`has a model of type ${brief(type)}, where one of ${MODELS.join(', ')} is needed`);
  const tokenizer = { ...json, model };
  const vocab = readVocab(model['vocab'], damaged);
  const merges = type === 'BPE' ? readMerges(model, vocab, damaged) : [];
  const addedTokens = readAddedTokens(tokenizer, path);
  const ids = new Map(vocab);
  const taken = new Map([...ids].map(([token, id]) => [id, token]));
  for (const { id, content } of addedTokens) {
    const other = taken.get(id) ?? content;
    if (other !== content) throw damaged(`gives id ${id} to ${brief(other)} and to the added token ${brief(content)}`);
    if ((ids.get(content) ?? id) !== id)
      throw damaged(`gives ${brief(content)} the ids ${ids.get(content)!} and ${id}`);
    taken.set(id, content);
    ids.set(content, id);
  }
  checkNumbers(addedTokens, vocab, path);
  for (const name of SPECIAL_NAMES) {
    const token = tokenText(config[name]);
    if (token !== null && !ids.has(token))
      throw new Error(
        `${path} has no ${brief(token)}, which tokenizer_config.json names as ${name}: add it, or name another`,
      );
  }
  return { tokenizer, config, addedTokens, vocab, ids, merges };
}

/** Models of older files have no type. */
function oldModelType(model: JsonObject): string {
  if ('merges' in model) return 'BPE';
  if (Array.isArray(model['vocab'])) return 'Unigram';
  return 'max_input_chars_per_word' in model ? 'WordPiece' : 'WordLevel';
}

/**
 * Rust `tokenizers` does not read the ids of added tokens: those that the vocabulary lacks are numbered from
 * its size on (added_vocabulary.rs, add_tokens). A file with other ids would mean other tokens there.
 */
function checkNumbers(tokens: readonly AddedToken[], vocab: ReadonlyMap<string, number>, path: string): void {
  const numbers = new Map(vocab);
  let next = vocab.size;
  for (const { id, content } of tokens) {
    if (content === '') continue;
    const expected = numbers.get(content) ?? next++;
    numbers.set(content, expected);
    if (expected !== id)
      throw new Error(
        `${path} gives the added token ${brief(content)} the id ${id}, where Transformers would use ${expected}: ` +
          'number added tokens from the size of the vocabulary on, without gaps',
      );
  }
}

type Damaged = (what: string) => Error;

function readVocab(vocab: unknown, damaged: Damaged): Map<string, number> {
  // Unigram has a list of [token, score] in the order of the ids.
  const isEntry = (entry: unknown): entry is [string, number] => Array.isArray(entry) && typeof entry[0] === 'string';
  const entries: [string, unknown][] | null = isJsonObject(vocab)
    ? Object.entries(vocab)
    : Array.isArray(vocab) && vocab.every(isEntry)
      ? vocab.map(([token], id) => [token, id])
      : null;
  if (!entries?.length || !entries.every((entry): entry is [string, number] => isTokenId(entry[1])))
    throw damaged('has no vocabulary of token: id');
  const tokens = new Map<number, string>();
  for (const [token, id] of entries) {
    if (/\p{Surrogate}/u.test(token)) throw damaged(`has half of a surrogate pair in ${brief(token)}`);
    const other = tokens.get(id);
    if (other !== undefined) throw damaged(`gives id ${id} to ${brief(other)} and to ${brief(token)}`);
    tokens.set(id, token);
  }
  return new Map(entries);
}

function readMerges(
  { merges, continuing_subword_prefix: prefix }: JsonObject,
  ids: ReadonlyMap<string, number>,
  damaged: Damaged,
): (readonly [string, string])[] {
  if (!Array.isArray(merges)) throw damaged('has no list of merges');
  const start = typeof prefix === 'string' ? prefix : ''; // of the right part, which the joined token leaves out
  const isComment = (merge: unknown): boolean => typeof merge === 'string' && merge.startsWith('#version');
  return merges
    .filter((merge) => !isComment(merge))
    .map((merge: unknown, rank) => {
      // Older files have "left right", newer ones ["left", "right"].
      const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge;
      if (!Array.isArray(pair) || pair.length !== 2 || !pair.every((part) => typeof part === 'string'))
        throw damaged(`has ${brief(merge)} as merge ${rank}, where a pair of tokens is needed`);
      const [left, right] = pair as [string, string];
      if (!right.startsWith(start))
        throw damaged(`has ${brief(right)} in merge ${rank}, which does not begin with ${brief(start)}`);
      const missing = [left, right, left + right.slice(start.length)].find((token) => !ids.has(token));
      if (missing !== undefined)
        throw damaged(`misses tokens: merge ${rank} (${brief(left)} and ${brief(right)}) needs ${brief(missing)}`);
      return [left, right] as const;
    });
}

/**
 * Tells files that belong to a tokenizer, of any kind and writer: those that a new one does not replace would
 * be mixed with it.
 */
export function isTokenizerFile(name: string): boolean {
  return tokenizerFileNames.has(name);
}

const tokenizerFileNames = new Set([
  ...['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json'],
  ...['vocab.txt', 'vocab.json', 'merges.txt', templateFile],
  ...['tokenizer.model', 'spiece.model', 'source.spm', 'target.spm', 'sentencepiece.bpe.model'],
]);

/** The files to write into `folder`, which Transformers' AutoTokenizer loads. */
export function tokenizerFolderFiles({ tokenizer, config }: TokenizerFolder, folder: string): FileToWrite[] {
  const special = SPECIAL_NAMES.flatMap((name) => {
    const token = tokenText(config[name]);
    return token === null ? [] : [[name, token] as const];
  });
  const json = (name: string, value: unknown): FileToWrite => ({
    path: join(folder, name),
    data: JSON.stringify(value, null, 2) + '\n',
  });
  return [
    json('tokenizer.json', tokenizer),
    json('tokenizer_config.json', { tokenizer_class: 'PreTrainedTokenizerFast', ...config }),
    json('special_tokens_map.json', Object.fromEntries(special)),
  ];
}
