/** The tokenizer of a GGUF file, as Transformers' folders have it. */
import type { JsonObject } from '../../common/json-file.ts';
import { isJsonObject } from '../../common/json-file.ts';
import { printable } from '../../common/printable.ts';
import { listNames, showValue } from '../names.ts';
import { bpeModel, byteLevelParts, specialToken } from '../tokenizer/byte-level.ts';
import { gemmaParts, llamaParts, mergesOf, phi3Parts } from '../tokenizer/sentencepiece.ts';
import type { TokenizerParts } from '../tokenizer/sentencepiece.ts';
import type { GgufValue } from './header.ts';

/** Kinds of tokens, by tokenizer.ggml.token_type. */
const unknown = 2;
const control = 3;
const userDefined = 4;

/**
 * How texts are cut into words before the merges, by tokenizer.ggml.pre (llama.cpp, llama-vocab.cpp): an
 * expression in the place of GPT-2's, or digits one by one before it.
 */
interface Words {
  readonly pattern?: string;
  readonly digits?: boolean;
  /** Composes characters first. */
  readonly normalizer?: 'NFC';
  /** Takes a word that is a token as that, whatever the merges would make. */
  readonly ignoreMerges?: boolean;
}

const newer = (digits: string): string =>
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+" +
  `|\\p{N}${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const ofGpt2: Words = {};
const ofLlama3: Words = { pattern: newer('{1,3}'), ignoreMerges: true };
const ofStarCoder: Words = { digits: true };

const words: Readonly<Record<string, Words>> = {
  'gpt-2': ofGpt2,
  'phi-2': ofGpt2,
  olmo: ofGpt2,
  'llama-bpe': ofLlama3,
  llama3: ofLlama3,
  'llama-v3': ofLlama3,
  qwen2: { pattern: newer(''), normalizer: 'NFC' },
  smollm: ofStarCoder,
  starcoder: ofStarCoder,
  refact: ofStarCoder,
};

/** tokenizer.json and tokenizer_config.json. */
export interface GgufTokenizer {
  readonly tokenizer: JsonObject;
  readonly config: JsonObject;
}

/**
 * Makes the tokenizer's files of a file's settings. Errors, each one line: no tokenizer, or one of a kind or
 * with words that are not known here; lists that do not fit.
 */
export function tokenizerOf(metadata: ReadonlyMap<string, GgufValue>, path: string): GgufTokenizer {
  const setting = (key: string): GgufValue | undefined => metadata.get(`tokenizer.ggml.${key}`);
  const refuse = (what: string): Error => new Error(`${printable(path)} ${what}`);
  const list = <T>(key: string, is: (item: GgufValue) => item is T & GgufValue): readonly T[] | undefined => {
    const items = setting(key);
    if (items === undefined) return undefined;
    if (!Array.isArray(items) || !items.every(is))
      throw refuse(`is damaged: tokenizer.ggml.${key} is no list of those`);
    return items;
  };
  const isText = (item: GgufValue): item is string => typeof item === 'string';
  const isNumber = (item: GgufValue): item is number => typeof item === 'number';
  const tokens = list('tokens', isText);
  if (!tokens) throw refuse('has no tokenizer.ggml.tokens; convert the model again');
  const vocabulary = { tokens, merges: list('merges', isText), scores: list('scores', isNumber) };
  const kind = kindOf(setting, vocabulary, metadata.get('general.architecture'), refuse);
  const kinds = list('token_type', isNumber) ?? [];
  const special = tokens.flatMap((content, id) =>
    [control, userDefined, ...kind.alsoAdded].includes(kinds[id]!)
      ? [{ ...specialToken(content, id), special: kinds[id] !== userDefined }]
      : [],
  );
  const role = (key: string): string | undefined => {
    const id = setting(`${key}_token_id`);
    if (id === undefined) return undefined;
    const token = typeof id === 'number' ? tokens[id] : undefined;
    if (token === undefined) throw refuse(`is damaged: tokenizer.ggml.${key}_token_id is ${showValue(id)}`);
    return token;
  };
  const roles = Object.entries({
    bos_token: role('bos'),
    eos_token: role('eos'),
    unk_token: role('unknown'),
    pad_token: role('padding'),
  }).filter(([, token]) => token !== undefined);
  const template = setting('chat_template') ?? metadata.get('tokenizer.chat_template');
  const addsBos = setting('add_bos_token') ?? kind.addsBos;
  const around = {
    before: addsBos === true ? [role('bos')] : [],
    after: setting('add_eos_token') === true ? [role('eos')] : [],
  };
  return {
    tokenizer: {
      version: '1.0',
      truncation: null,
      padding: null,
      ...kind.parts,
      added_tokens: special,
      post_processor: postProcessor(around, tokens),
    },
    config: {
      tokenizer_class: 'PreTrainedTokenizerFast',
      clean_up_tokenization_spaces: false,
      ...Object.fromEntries(roles),
      ...(typeof template === 'string' ? { chat_template: template } : {}),
    },
  };
}

interface Vocabulary {
  readonly tokens: readonly string[];
  readonly merges: readonly string[] | undefined;
  readonly scores: readonly number[] | undefined;
}

/** What the kind of a tokenizer (tokenizer.ggml.model) decides on. */
interface Kind {
  readonly parts: TokenizerParts;
  /** Whether texts begin with a token of their own, where the file does not say it. */
  readonly addsBos: boolean;
  /** Kinds of tokens that are matched as a whole, beside control tokens and those of the user. */
  readonly alsoAdded: readonly number[];
}

function kindOf(
  setting: (key: string) => GgufValue | undefined,
  vocabulary: Vocabulary,
  architecture: GgufValue | undefined,
  refuse: (what: string) => Error,
): Kind {
  const model = setting('model');
  if (model === 'llama') {
    const parts = sentencePieceParts(vocabulary, architecture, setting('add_space_prefix') !== false, refuse);
    return { parts, addsBos: true, alsoAdded: [unknown] };
  }
  if (model !== 'gpt2')
    throw refuse(
      `has a tokenizer of the kind ${showValue(model)}; known here are "gpt2", byte-level BPE, and "llama", ` +
        'SentencePiece',
    );
  const pre = setting('pre') ?? 'gpt-2';
  const cut = typeof pre === 'string' && Object.hasOwn(words, pre) ? words[pre]! : undefined;
  if (!cut)
    throw refuse(
      `cuts texts into words as ${showValue(pre)} does (tokenizer.ggml.pre), which is not known here; known are ` +
        listNames(Object.keys(words), 20),
    );
  const { tokens, merges } = vocabulary;
  if (!merges) throw refuse('has no tokenizer.ggml.merges; convert the model again');
  return {
    addsBos: cut.ignoreMerges === true,
    alsoAdded: [],
    parts: {
      ...byteLevelParts(false),
      normalizer: cut.normalizer ? { type: cut.normalizer } : null,
      pre_tokenizer: preTokenizer(cut),
      model: {
        ...bpeModel(Object.fromEntries(tokens.map((token, id) => [token, id])), splitMerges(merges)),
        ignore_merges: cut.ignoreMerges ?? false,
      },
    },
  };
}

/** SentencePiece's BPE, whose merges follow from the scores of its tokens where the file has none. */
function sentencePieceParts(
  { tokens: given, merges, scores }: Vocabulary,
  architecture: GgufValue | undefined,
  hasPrefix: boolean,
  refuse: (what: string) => Error,
): TokenizerParts {
  const isGemma = typeof architecture === 'string' && architecture.startsWith('gemma');
  // Gemma's files have real spaces where its tokens are several, and scores that do not follow its merges.
  const tokens = isGemma ? given.map((token) => (/^ +$/.test(token) ? '\u2581'.repeat(token.length) : token)) : given;
  const split = merges && (splitMerges(merges) as [string, string][]);
  if (!split && !isGemma && scores?.length !== tokens.length)
    throw refuse(
      `has ${scores?.length ?? 'no'} tokenizer.ggml.scores for ${tokens.length} tokens; convert the model again`,
    );
  if (isGemma) return gemmaParts(tokens, split ?? mergesOf(tokens, (id) => -id, 'descending'));
  const pairs = split ?? mergesOf(tokens, (id) => scores![id]!, 'descending');
  return architecture === 'phi3' ? phi3Parts(tokens, pairs) : llamaParts(tokens, pairs, hasPrefix);
}

/** "left right" as a pair; neither has a space of its own, which is written as another character. */
const splitMerges = (merges: readonly string[]): string[][] => merges.map((merge) => merge.split(' '));

function preTokenizer({ pattern, digits }: Words): JsonObject {
  const { pre_tokenizer: plain } = byteLevelParts(false);
  const bytes = (regex: boolean): JsonObject => ({ ...(plain as JsonObject), use_regex: regex });
  if (pattern === undefined && !digits) return bytes(true);
  const first = pattern
    ? { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false }
    : { type: 'Digits', individual_digits: true };
  return { type: 'Sequence', pretokenizers: [first, bytes(pattern === undefined)] };
}

function postProcessor(
  { before, after }: { readonly before: readonly unknown[]; readonly after: readonly unknown[] },
  tokens: readonly string[],
): JsonObject | null {
  const around = [...before, ...after].filter((token) => typeof token === 'string');
  if (around.length === 0) return null;
  const piece = (id: unknown): JsonObject => ({ SpecialToken: { id, type_id: 0 } });
  const text = (id: string, typeId: number): JsonObject => ({ Sequence: { id, type_id: typeId } });
  const single = [...before.map(piece), text('A', 0), ...after.map(piece)];
  return {
    type: 'TemplateProcessing',
    single,
    pair: [...single, ...before.map(piece), text('B', 1), ...after.map(piece)],
    special_tokens: Object.fromEntries(
      around.map((token) => [token, { id: token, ids: [tokens.indexOf(token)], tokens: [token] }]),
    ),
  };
}

/** tokenizer.ggml.pre for a tokenizer.json. Error: it cuts texts in a way that has no name there. */
export function preOf({ pre_tokenizer: cuts, normalizer, model }: JsonObject, path: string): string {
  const given = JSON.stringify([
    plainly(cuts),
    plainly(normalizer ?? null),
    (model as JsonObject)['ignore_merges'] ?? false,
  ]);
  const found = Object.entries(words).find(
    ([, each]) =>
      JSON.stringify([
        plainly(preTokenizer(each)),
        each.normalizer ? { type: each.normalizer } : null,
        each.ignoreMerges ?? false,
      ]) === given,
  );
  if (!found)
    throw new Error(
      `${printable(path)}: its tokenizer cuts texts into words in a way that GGUF files have no name for`,
    );
  return found[0];
}

/** A part of tokenizer.json, keys sorted and without those that only move offsets. */
function plainly(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plainly);
  if (!isJsonObject(value)) return value;
  const kept = Object.entries(value).filter(([key]) => key !== 'trim_offsets');
  return Object.fromEntries(kept.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, each]) => [key, plainly(each)]));
}
