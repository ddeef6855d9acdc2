/**
 * Folders that have a .model file of SentencePiece and no tokenizer.json: what Transformers' converters make
 * of them (convert_slow_tokenizer.py), family by family.
 */
import { join } from '../../common/platform.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { pathKind, readJsonFile } from '../../common/json-file.ts';
import { printable } from '../../common/printable.ts';
import { readWhole } from '../io/read-exactly.ts';
import { listNames, showValue } from '../names.ts';
import { tokenText } from './added-tokens.ts';
import { specialToken } from './byte-level.ts';
import { gemmaParts, llamaParts, mergesOf, metaspace, replace, sentencePieceFiles, sequence } from './sentencepiece.ts';
import type { TokenizerParts } from './sentencepiece.ts';
import { readSentencePiece } from './sentencepiece-file.ts';
import type { SentencePieceModel } from './sentencepiece-file.ts';

type Scored = readonly [token: string, score: number];

/** A family's tokenizer, by its class in Transformers. */
interface Family {
  /** The vocabulary in the order of ids, from the pieces. */
  readonly vocabulary: (pieces: readonly Scored[]) => readonly Scored[];
  /** Special tokens by their role, where tokenizer_config.json names no others. */
  readonly roles: Readonly<Record<string, string>>;
  readonly unknown?: (model: SentencePieceModel) => number;
  /** Further special tokens. */
  readonly special?: readonly string[];
  /** Normalizers before the model's own, and the one of spaces behind it. */
  readonly before?: (config: JsonObject) => readonly JsonObject[];
  readonly spaces?: readonly JsonObject[];
  readonly splitsWords?: boolean;
  /** Whether the mask stands for the space before it, too, as a word does. */
  readonly maskTakesSpace?: boolean;
  /** The tokens around a text and a pair: `$A`, `$B`, with `:1` for those of the second. */
  readonly around: readonly [single: string, pair: string];
}

const range = <T>(count: number, item: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => item(i));
const runsOfSpaces = { Regex: ' {2,}' };
/** Ends lose their spaces, and runs become one. */
const usualSpaces = [{ type: 'Strip', strip_left: false, strip_right: true }, replace(runsOfSpaces, '\u2581')];
const oneSpace = [replace(runsOfSpaces, ' ')];

const mbartLanguages = (
  'ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR lt_LT lv_LV my_MM ne_NP nl_XX ' +
  'ro_RO ru_RU si_LK tr_TR vi_VN zh_CN'
).split(' ');

const bertRoles = { cls_token: '[CLS]', sep_token: '[SEP]', mask_token: '[MASK]' };
const aroundBert = ['[CLS] $A [SEP]', '[CLS] $A [SEP] $B:1 [SEP]:1'] as const;
const fairseqRoles = {
  ...{ bos_token: '<s>', eos_token: '</s>', sep_token: '</s>', cls_token: '<s>', unk_token: '<unk>' },
  ...{ pad_token: '<pad>', mask_token: '<mask>' },
};
/** Fairseq has its own four tokens before the pieces. */
const fairseq = (pieces: readonly Scored[]): Scored[] => [
  ...['<s>', '<pad>', '</s>', '<unk>'].map((token): Scored => [token, 0]),
  ...pieces.slice(3),
];
const extraIds = range(100, (i) => `<extra_id_${99 - i}>`);
/** Where the pieces of Pegasus begin, which had no such tokens when they were trained. */
const pegasusOffset = 103;
const pegasusUnknown = range(pegasusOffset - 2, (i) => `<unk_${i + 2}>`);

const families: Readonly<Record<string, Family>> = {
  T5Tokenizer: {
    vocabulary: (pieces) => [...pieces, ...extraIds.map((token): Scored => [token, 0])],
    roles: { eos_token: '</s>', unk_token: '<unk>', pad_token: '<pad>' },
    special: extraIds,
    around: ['$A </s>', '$A </s> $B </s>'],
  },
  XLMRobertaTokenizer: {
    maskTakesSpace: true,
    vocabulary: (pieces) => [...fairseq(pieces), ['<mask>', 0]],
    roles: fairseqRoles,
    unknown: () => 3,
    around: ['<s> $A </s>', '<s> $A </s> </s> $B </s>'],
  },
  MBartTokenizer: {
    maskTakesSpace: true,
    vocabulary: (pieces) => [...fairseq(pieces), ...mbartLanguages.map((token): Scored => [token, 0]), ['<mask>', 0]],
    roles: fairseqRoles,
    unknown: () => 3,
    special: mbartLanguages,
    around: ['$A </s> en_XX', '$A $B </s> en_XX'],
  },
  PegasusTokenizer: {
    vocabulary: (pieces) => [
      ...['<pad>', '</s>', '<mask_1>', '<mask_2>'].map((token): Scored => [token, 0]),
      ...pegasusUnknown.map((token): Scored => [token, -100]),
      ...pieces.slice(2),
    ],
    roles: { pad_token: '<pad>', eos_token: '</s>', unk_token: '<unk>', mask_token: '<mask_2>' },
    unknown: ({ unknownId }) => unknownId + pegasusOffset,
    special: ['<mask_1>', ...pegasusUnknown],
    splitsWords: true,
    around: ['$A </s>', '$A $B </s>'],
  },
  AlbertTokenizer: {
    maskTakesSpace: true,
    // Numbers that end in a comma were cut further when ALBERT was trained.
    vocabulary: (pieces) =>
      pieces.map(([token, score]): Scored => [token, /\p{Nd},$/u.test(token) ? score - 100 : score]),
    roles: { ...bertRoles, unk_token: '<unk>', pad_token: '<pad>' },
    before: (config) => [
      replace({ String: '``' }, '"'),
      replace({ String: "''" }, '"'),
      ...(config['keep_accents'] === true ? [] : [{ type: 'NFKD' }, { type: 'StripAccents' }]),
      ...(config['do_lower_case'] === false ? [] : [{ type: 'Lowercase' }]),
    ],
    spaces: oneSpace,
    around: aroundBert,
  },
  DebertaV2Tokenizer: {
    vocabulary: (pieces) => pieces,
    roles: { ...bertRoles, unk_token: '[UNK]', pad_token: '[PAD]' },
    before: (config) => [
      ...(config['do_lower_case'] === true ? [{ type: 'Lowercase' }] : []),
      { type: 'Strip', strip_left: true, strip_right: true },
    ],
    spaces: oneSpace,
    around: aroundBert,
  },
};

/** Families whose vocabulary is a BPE of characters and bytes, and their special tokens. */
const bpeFamilies = {
  LlamaTokenizer: { bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>' },
  GemmaTokenizer: {
    ...{ bos_token: '<bos>', eos_token: '<eos>', unk_token: '<unk>', pad_token: '<pad>', mask_token: '<mask>' },
  },
} as const;
type BpeFamily = keyof typeof bpeFamilies;

/** Classes by model_type, for folders whose tokenizer_config.json names none. */
const classesByType: Readonly<Record<string, string>> = {
  t5: 'T5Tokenizer',
  mt5: 'T5Tokenizer',
  'xlm-roberta': 'XLMRobertaTokenizer',
  mbart: 'MBartTokenizer',
  pegasus: 'PegasusTokenizer',
  albert: 'AlbertTokenizer',
  'deberta-v2': 'DebertaV2Tokenizer',
  llama: 'LlamaTokenizer',
  mistral: 'LlamaTokenizer',
  gemma: 'GemmaTokenizer',
  gemma2: 'GemmaTokenizer',
  gemma3: 'GemmaTokenizer',
  gemma3_text: 'GemmaTokenizer',
  marian: 'MarianTokenizer',
};

/** The .model file of a folder, where it has one and no tokenizer.json. */
export async function sentencePieceFile(folder: string): Promise<string | undefined> {
  if ((await pathKind(join(folder, 'tokenizer.json'))) === 'file') return undefined;
  for (const name of sentencePieceFiles) {
    const path = join(folder, name);
    if ((await pathKind(path)) === 'file') return path;
  }
  return undefined;
}

/**
 * The tokenizer.json of a folder's .model file. Errors, each one line: those of `readSentencePiece`; a family
 * that is not known here, or whose model is of another algorithm; a vocab.json of Marian that is none.
 */
export async function readSentencePieceJson(folder: string, path: string): Promise<JsonObject> {
  const optional = async (name: string): Promise<JsonObject> =>
    (await pathKind(join(folder, name))) === 'file' ? readJsonFile(join(folder, name)) : {};
  const [config, { model_type: type }] = [await optional('tokenizer_config.json'), await optional('config.json')];
  const named = tokenText(config['tokenizer_class'])?.replace(/Fast$/, '');
  const name =
    named && named !== 'PreTrainedTokenizer' ? named : typeof type === 'string' ? classesByType[type] : undefined;
  const model = readSentencePiece(await readWhole(path), path);
  if (name === 'MarianTokenizer') return marianTokenizer(model, config, folder, path);
  return sentencePieceTokenizer(model, name, config, path);
}

/** The tokenizer.json of a family's model. */
export function sentencePieceTokenizer(
  model: SentencePieceModel,
  name: string | undefined,
  config: JsonObject,
  path: string,
): JsonObject {
  const family = name !== undefined && Object.hasOwn(families, name) ? families[name]! : undefined;
  const isBpe = name !== undefined && Object.hasOwn(bpeFamilies, name);
  if (!family && !isBpe)
    throw new Error(
      `${printable(path)} is the tokenizer of a ${showValue(name)}, which is read here from a tokenizer.json only; ` +
        `known are ${listNames([...Object.keys(families), ...Object.keys(bpeFamilies), 'MarianTokenizer'], 20)}`,
    );
  if ((model.kind === 'bpe') !== isBpe)
    throw new Error(
      `${printable(path)} is a ${model.kind === 'bpe' ? 'BPE' : 'Unigram'} model of SentencePiece, and a ${name} ` +
        `needs ${isBpe ? 'BPE' : 'Unigram'}; save its tokenizer.json with Transformers`,
    );
  return family ? unigramTokenizer(family, model, config) : bpeTokenizer(model, name as BpeFamily, config);
}

function unigramTokenizer(family: Family, model: SentencePieceModel, config: JsonObject): JsonObject {
  const vocabulary = family.vocabulary(model.pieces.map(({ text, score }): Scored => [text, score]));
  const ids = new Map(vocabulary.map(([token], id) => [token, id]));
  const roles = Object.entries({ ...family.roles, ...rolesOf(config) });
  const added = addedTokens(model, ids, [...roles.map(([, token]) => token), ...(family.special ?? [])]);
  const mask = roles.find(([role]) => role === 'mask_token')?.[1];
  return whole({
    ...unigramParts(family, model, vocabulary, config),
    added_tokens: added.map((token) =>
      token['content'] === mask && family.maskTakesSpace ? { ...token, lstrip: true } : token,
    ),
    post_processor: template(
      family.around,
      new Map(added.map((token) => [String(token['content']), Number(token['id'])])),
    ),
  });
}

function unigramParts(
  { before, spaces = usualSpaces, splitsWords = false, unknown }: Omit<Family, 'vocabulary' | 'roles' | 'around'>,
  model: SentencePieceModel,
  vocabulary: readonly Scored[],
  config: JsonObject,
): TokenizerParts {
  const { charsmap, unknownId } = model;
  const spacing = metaspace(config['add_prefix_space'] === false ? 'never' : 'always', true);
  return {
    normalizer: sequence('normalizers', [
      ...(before?.(config) ?? []),
      ...(charsmap === undefined ? [] : [{ type: 'Precompiled', precompiled_charsmap: charsmap }]),
      ...spaces,
    ]),
    pre_tokenizer: sequence('pretokenizers', [...(splitsWords ? [{ type: 'WhitespaceSplit' }] : []), spacing]),
    decoder: spacing,
    model: { type: 'Unigram', unk_id: unknown?.(model) ?? unknownId, vocab: vocabulary, byte_fallback: false },
  };
}

function bpeTokenizer(model: SentencePieceModel, family: BpeFamily, config: JsonObject): JsonObject {
  const tokens = model.pieces.map(({ text }) => text);
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const merges = mergesOf(tokens, (id) => id, 'ascending');
  const roles = { ...bpeFamilies[family], ...rolesOf(config) };
  const added = addedTokens(model, ids, Object.values(roles));
  const around = [
    ...(config['add_bos_token'] === false ? [] : [roles.bos_token]),
    '$A',
    ...(config['add_eos_token'] === true ? [roles.eos_token] : []),
  ];
  const second = around.map((token) => `${token === '$A' ? '$B' : token}:1`);
  const hasPrefix = config['add_prefix_space'] !== false;
  const parts = family === 'GemmaTokenizer' ? gemmaParts(tokens, merges) : llamaParts(tokens, merges, hasPrefix);
  return whole({
    ...parts,
    ...(config['legacy'] === true && family !== 'GemmaTokenizer' && hasPrefix
      ? { pre_tokenizer: metaspace('always', false) }
      : {}),
    added_tokens: added,
    post_processor: around.length > 1 ? template([around.join(' '), [...around, ...second].join(' ')], ids) : null,
  });
}

/** Marian's ids are those of vocab.json; pieces that the source's model lacks are for the target alone. */
async function marianTokenizer(
  model: SentencePieceModel,
  config: JsonObject,
  folder: string,
  path: string,
): Promise<JsonObject> {
  const vocabPath = join(folder, 'vocab.json');
  const given = Object.entries(await readJsonFile(vocabPath)) as [string, unknown][];
  const scores = new Map(model.pieces.map(({ text, score }) => [text, score]));
  const rare = Math.min(...scores.values()) - 1000;
  const vocabulary: Scored[] = [];
  for (const [token, id] of given) {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= given.length || vocabulary[id])
      throw new Error(`${vocabPath} gives "${printable(token)}" the id ${showValue(id)}; it must number its tokens`);
    vocabulary[id] = [token, scores.get(token) ?? rare];
  }
  const ids = new Map(given as [string, number][]);
  const roles = { eos_token: '</s>', unk_token: '<unk>', pad_token: '<pad>', ...rolesOf(config) };
  const unknown = ids.get(roles.unk_token);
  if (unknown === undefined) throw new Error(`${vocabPath} has no ${roles.unk_token}, as ${printable(path)} needs`);
  const languages = given.map(([token]) => token).filter((token) => /^>>.*<<$/.test(token));
  const added = addedTokens(undefined, ids, [...Object.values(roles), ...languages]);
  return whole({
    ...unigramParts({ unknown: () => unknown }, model, vocabulary, config),
    added_tokens: added,
    post_processor: template([`$A ${roles.eos_token}`, `$A $B ${roles.eos_token}`], ids),
  });
}

const whole = (parts: JsonObject): JsonObject => ({ version: '1.0', truncation: null, padding: null, ...parts });

/** Special tokens that tokenizer_config.json names. */
function rolesOf(config: JsonObject): Record<string, string> {
  const names = Object.keys(config).filter((key) => /^(bos|eos|unk|sep|pad|cls|mask)_token$/.test(key));
  return Object.fromEntries(
    names.flatMap((key): [string, string][] => {
      const token = tokenText(config[key]);
      return token === null ? [] : [[key, token]];
    }),
  );
}

/**
 * The tokens that are matched as a whole: those that control the model and those its user defined, then the
 * special ones of the family; what the vocabulary lacks is numbered from its end on.
 */
function addedTokens(
  model: SentencePieceModel | undefined,
  ids: ReadonlyMap<string, number>,
  special: readonly string[],
): JsonObject[] {
  const own = (model?.pieces ?? []).filter(
    ({ kind, text }) => (kind === 'control' || kind === 'user') && ids.has(text),
  );
  const isSpecial = new Map(own.map(({ text, kind }) => [text, kind === 'control']));
  for (const token of special) isSpecial.set(token, true);
  let next = ids.size;
  return [...isSpecial]
    .map(([token, each]) => ({ ...specialToken(token, ids.get(token) ?? next++), special: each }))
    .sort((a, b) => Number((a as JsonObject)['id']) - Number((b as JsonObject)['id']));
}

/** TemplateProcessing of `[CLS] $A [SEP]`. */
function template([single, pair]: readonly [string, string], ids: ReadonlyMap<string, number>): JsonObject {
  const used = new Map<string, JsonObject>();
  const parts = (text: string): JsonObject[] =>
    text.split(' ').map((each) => {
      const [, token = '', type] = /^(.*?)(?::(\d))?$/.exec(each)!;
      const typeId = Number(type ?? 0);
      if (token === '$A' || token === '$B') return { Sequence: { id: token.slice(1), type_id: typeId } };
      used.set(token, { id: token, ids: [ids.get(token)], tokens: [token] });
      return { SpecialToken: { id: token, type_id: typeId } };
    });
  return {
    type: 'TemplateProcessing',
    single: parts(single),
    pair: parts(pair),
    special_tokens: Object.fromEntries(used),
  };
}
