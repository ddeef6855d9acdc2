// Random small tokenizer.json files of every kind and option, and nasty texts for them.
import type { JsonObject } from '../../common/json-file.ts';
import type { Random } from '../../common/random.ts';
import { specialToken } from '../../models/tokenizer/byte-level.ts';

const chars = (text: string): string[] => Array.from(text);

const LETTERS = chars('aaabbbccdeABCDnot01');
/** Characters that some class, case rule, normal form or cluster treats in its own way. */
const ODD = [
  ...chars('éÉßẞΣσςİıſK漢字가각ﬁ①²½٣Ⅷ_-.,!?\'"$+<=>^`|~«»…¿،।、。ːʰªº'),
  ...['\u0301', '\u0327', '\u0345', '\u0903', '\u093f', '\u200d', '\u200c', '\u200b', '\ufe0f', '\u20dd', '\u0600'],
  ...['\u00a0', '\u0085', '\u2028', '\u3000', '\u1680', '\ufeff', '\u180e', '\u00ad', '\u2060', '\ufffd', '\u2581'],
  ...['\0', '\x07', '\x1f', '\x7f', '\x9f', '\t', '\n', '\r', '\r\n', '\v', '\f', '\u1100', '\u1161', '\u11a8'],
  ...['\u{1F600}', '\u{1F469}\u200D\u{1F467}', '\u{1F1E9}', '\u{20000}', '\u{1D15F}', '\u{10400}', '\u{E0041}'],
  ...['\u212b', '\u2126', '\u0958', '\ud800', '\udc00', 'e\u0301', 'Ġ', 'Ã', '©', 'Ċ', '▁', '##', '</w>', '<0x41>'],
  ..."'s|'T|'ll|n't| do not| 's|  |   |  \n|<s>|<x>|[MASK]|Ab|AB".split('|'),
];

/** Those that may stand in a file. */
const ODD_TOKENS = ODD.filter((piece) => !/\p{Surrogate}/u.test(piece));

const pick = <T>(random: Random, items: readonly T[]): T => items[random.int(items.length)]!;
const chance = (random: Random, outOf: number): boolean => random.int(outOf) === 0;
const flag = (random: Random): boolean => chance(random, 2);
const many = <T>(random: Random, most: number, make: () => T): T[] =>
  Array.from({ length: random.int(most + 1) }, () => make());

/** Up to about twenty characters; now and then a long run of one, or nothing. */
export function randomText(random: Random): string {
  if (chance(random, 40)) return pick(random, [...LETTERS, ...ODD]).repeat(100 + random.int(300));
  const piece = (): string => {
    const kind = random.int(10);
    if (kind < 5) return pick(random, LETTERS);
    return kind < 7 ? ' ' : pick(random, ODD);
  };
  return many(random, 20, piece).join('');
}

type Part = JsonObject;

const PATTERNS = [
  'a+',
  '\\s+',
  ' ',
  '\\d',
  '\\p{N}{1,3}',
  '[^a]',
  '(?=b)',
  '\\b',
  'b*',
  '\\w+|[^\\w\\s]+',
  '(a|ab)(c|bcd)?',
];
const STRINGS = [' ', 'a', 'ab', '▁', '  ', '.', 'é', '', '-', '[a]'];

function pattern(random: Random): Part {
  return flag(random) ? { String: pick(random, STRINGS) } : { Regex: pick(random, PATTERNS) };
}

function normalizer(random: Random, depth = 1): Part | null {
  const kinds: (() => Part | null)[] = [
    () => null,
    () => ({ type: pick(random, ['NFC', 'NFD', 'NFKC', 'NFKD']) }),
    () => ({ type: 'Lowercase' }),
    () => ({ type: 'StripAccents' }),
    () => ({ type: 'Nmt' }),
    () => ({ type: 'Strip', strip_left: flag(random), strip_right: flag(random) }),
    () => ({ type: 'Prepend', prepend: pick(random, ['▁', 'x', ' ', 'ab']) }),
    () => ({ type: 'Replace', pattern: pattern(random), content: pick(random, ['', ' ', '▁', 'x', 'ab']) }),
    () => ({ type: 'ByteLevel' }),
    () => bertNormalizer(random),
    () => ({ type: 'Precompiled', precompiled_charsmap: charsmap(random) }),
    () => ({ type: 'Sequence', normalizers: many(random, 3, () => normalizer(random, 0)).filter((one) => one) }),
  ];
  return pick(random, kinds.slice(0, depth > 0 ? kinds.length : -1))();
}

function bertNormalizer(random: Random): Part {
  return {
    type: 'BertNormalizer',
    clean_text: flag(random),
    handle_chinese_chars: flag(random),
    strip_accents: pick(random, [null, true, false]),
    lowercase: flag(random),
  };
}

const REPLACED: readonly (readonly [string, string])[] = [
  ['ﬁ', 'fi'],
  ['é', 'e'],
  ['e\u0301', 'é'],
  ['\u200d', ' '],
  ['\u200b', ''],
  ['\ufeff', ''],
  ['①', '1'],
  ['a', 'A'],
  ['ab', 'x'],
  ['\r\n', '\n'],
  ['\t', ' '],
  ['가', '가'],
  ['가', 'ga'],
  ['\u{1F600}', ':)'],
  ['\u0301', ''],
  ['Ａ', 'A'],
  ['漢', '字字'],
];

/**
 * A charsmap of SentencePiece, in base64: the size of a trie, its units, the texts. Each node has 256 units
 * to itself, where its children lie by their byte, and its entry, if it has one, at 0.
 */
function charsmap(random: Random): string {
  const entries = REPLACED.filter(() => flag(random));
  interface Node {
    readonly base: number;
    readonly children: Map<number, Node>;
    value: number | null;
  }
  let blocks = 0;
  const node = (): Node => ({ base: 256 * blocks++, children: new Map(), value: null });
  const root = node();
  let texts = Buffer.alloc(0);
  for (const [from, to] of entries) {
    let at = root;
    for (const byte of Buffer.from(from, 'utf8')) {
      if (!at.children.has(byte)) at.children.set(byte, node());
      at = at.children.get(byte)!;
    }
    at.value = texts.length;
    texts = Buffer.concat([texts, Buffer.from(`${to}\0`, 'utf8')]);
  }
  const data = Buffer.alloc(4 + 4 * 256 * blocks);
  data.writeUInt32LE(data.length - 4, 0);
  const write = (index: number, label: number, { base, children, value }: Node): void => {
    const unit = (((index ^ base) << 10) | label | (value === null ? 0 : 1 << 8)) >>> 0;
    data.writeUInt32LE(unit, 4 + 4 * index);
    if (value !== null) data.writeUInt32LE((value | (1 << 31)) >>> 0, 4 + 4 * base);
    for (const [byte, child] of children) write(base + byte, byte, child);
  };
  write(0, 0, root);
  return Buffer.concat([data, texts]).toString('base64');
}

const BEHAVIORS = ['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'];

function metaspace(random: Random): Part {
  const scheme = pick(random, ['always', 'first', 'never']);
  const part = { type: 'Metaspace', replacement: pick(random, ['▁', '▁', '_']), prepend_scheme: scheme };
  return flag(random) ? part : { ...part, split: flag(random) };
}

function preTokenizer(random: Random, depth = 1): Part | null {
  const behavior = (): string => pick(random, BEHAVIORS);
  const kinds: (() => Part | null)[] = [
    () => null,
    () => ({ type: pick(random, ['Whitespace', 'WhitespaceSplit', 'BertPreTokenizer']) }),
    () => ({ type: 'Digits', individual_digits: flag(random) }),
    () => ({ type: 'Punctuation', behavior: behavior() }),
    () => ({ type: 'ByteLevel', add_prefix_space: flag(random), trim_offsets: true, use_regex: flag(random) }),
    () => ({ type: 'CharDelimiterSplit', delimiter: pick(random, [' ', 'a', 'é', '▁']) }),
    () => ({ type: 'FixedLength', length: 1 + random.int(4) }),
    () => metaspace(random),
    () => ({ type: 'Split', pattern: pattern(random), behavior: behavior(), invert: flag(random) }),
    () => ({ type: 'Sequence', pretokenizers: many(random, 3, () => preTokenizer(random, 0)).filter((one) => one) }),
  ];
  return pick(random, kinds.slice(0, depth > 0 ? kinds.length : -1))();
}

function decoder(random: Random, depth = 1): Part | null {
  const kinds: (() => Part | null)[] = [
    () => null,
    () => ({ type: 'BPEDecoder', suffix: pick(random, ['</w>', 'a']) }),
    () => ({ type: pick(random, ['ByteFallback', 'Fuse']) }),
    () => ({ type: 'ByteLevel', add_prefix_space: flag(random), trim_offsets: true, use_regex: true }),
    () => ({ type: 'CTC', pad_token: '<s>', word_delimiter_token: pick(random, ['|', 'a']), cleanup: flag(random) }),
    () => metaspace(random),
    () => ({ type: 'Replace', pattern: pattern(random), content: pick(random, ['', ' ', 'x']) }),
    () => ({ type: 'Strip', content: pick(random, [' ', 'a', '▁']), start: random.int(3), stop: 0 }),
    () => ({ type: 'WordPiece', prefix: '##', cleanup: flag(random) }),
    () => ({ type: 'Sequence', decoders: many(random, 4, () => decoder(random, 0)).filter((one) => one) }),
  ];
  return pick(random, kinds.slice(0, depth > 0 ? kinds.length : -1))();
}

const SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
const byteTokens = (): string[] =>
  Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);

/** Tokens of one character, and those that they are joined to. */
function alphabet(random: Random): string[] {
  return [...new Set([...LETTERS, ' ', '▁', ...many(random, 25, () => pick(random, ODD_TOKENS))])];
}

const numbered = (tokens: readonly string[]): Record<string, number> =>
  Object.fromEntries([...new Set(tokens)].map((token, id) => [token, id]));

function bpe(random: Random): Part {
  const prefix = chance(random, 3) ? pick(random, ['##', '@@']) : null;
  const suffix = chance(random, 3) ? pick(random, ['</w>', '_']) : null;
  const byteFallback = chance(random, 3);
  const base = alphabet(random);
  const tokens = new Set([...SPECIAL, ...base]);
  if (prefix) for (const char of base) if (!chance(random, 5)) tokens.add(prefix + char);
  if (suffix)
    for (const char of base)
      for (const before of ['', prefix ?? '']) if (!chance(random, 5)) tokens.add(before + char + suffix);
  if (byteFallback) for (const token of byteTokens().slice(0, flag(random) ? 256 : 200)) tokens.add(token);
  const merges: [string, string][] = [];
  const usable = [...tokens].filter((token) => !SPECIAL.includes(token) && !token.startsWith('<0x'));
  for (let i = random.int(60); i > 0; i--) {
    const [left, right] = [pick(random, usable), pick(random, usable)];
    if (prefix && !right.startsWith(prefix)) continue;
    const joined = left + right.slice(prefix?.length ?? 0);
    if (joined.length > 12) continue;
    merges.push([left, right]);
    tokens.add(joined);
    usable.push(joined);
  }
  return {
    type: 'BPE',
    dropout: null,
    unk_token: pick(random, [null, '[UNK]', '[UNK]', 'a']),
    continuing_subword_prefix: prefix,
    end_of_word_suffix: suffix,
    fuse_unk: flag(random),
    byte_fallback: byteFallback,
    ignore_merges: chance(random, 3),
    vocab: numbered([...tokens]),
    merges:
      flag(random) && merges.every((pair) => !pair.join('').includes(' '))
        ? merges.map((one) => one.join(' '))
        : merges,
  };
}

const randomWord = (random: Random): string =>
  [pick(random, LETTERS), ...many(random, 4, () => pick(random, chance(random, 6) ? ODD_TOKENS : LETTERS))].join('');

function wordPiece(random: Random): Part {
  const prefix = pick(random, ['##', '##', '@', '']);
  const words = [...alphabet(random), ...many(random, 60, () => randomWord(random))];
  const pieces = words.map((word) => (flag(random) ? prefix + word : word));
  return {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: prefix,
    max_input_chars_per_word: pick(random, [100, 100, 3, 8]),
    vocab: numbered([...SPECIAL, ...pieces]),
  };
}

function wordLevel(random: Random): Part {
  const words = [...alphabet(random), ...many(random, 60, () => randomWord(random))];
  return {
    type: 'WordLevel',
    unk_token: pick(random, ['[UNK]', '[UNK]', 'none']),
    vocab: numbered([...SPECIAL, ...words]),
  };
}

function unigram(random: Random): Part {
  const words = [...alphabet(random), ...many(random, 80, () => randomWord(random).replace('A', '▁'))];
  const tokens = [...new Set([...SPECIAL, ...words, ...(chance(random, 3) ? byteTokens() : [])])];
  // Whole scores make ties.
  const score = flag(random) ? (): number => -random.int(4) : (): number => -random.uniform() * 10;
  return {
    type: 'Unigram',
    unk_id: chance(random, 6) ? null : 1,
    byte_fallback: chance(random, 3),
    vocab: tokens.map((token) => [token, score()]),
  };
}

const ADDED = ['<s>', '<x>', '[MASK]', '[UNK]', 'ab', 'Ab', 'AB', ' a', 'é', '漢', 'a b', 'Σ', ' ', '▁a', 'not'];

function addedTokens(random: Random, model: Part): Part[] {
  const { vocab } = model as { vocab: Record<string, number> | [string, number][] };
  const ids = new Map(Array.isArray(vocab) ? vocab.map(([token], id) => [token, id]) : Object.entries(vocab));
  let next = ids.size;
  return [...new Set(many(random, 5, () => pick(random, ADDED)))].map((content) => ({
    id: ids.get(content) ?? next++,
    content,
    single_word: chance(random, 3),
    lstrip: chance(random, 3),
    rstrip: chance(random, 3),
    normalized: flag(random),
    special: flag(random),
  }));
}

function postProcessor(random: Random, depth = 1): Part | null {
  const token = (content: string): Part => ({ SpecialToken: { id: content, type_id: 0 } });
  const kinds: (() => Part | null)[] = [
    () => null,
    () => ({ type: 'ByteLevel', add_prefix_space: true, trim_offsets: flag(random), use_regex: true }),
    () => ({ type: 'BertProcessing', sep: ['[SEP]', 3], cls: ['[CLS]', 2] }),
    () => ({
      type: 'RobertaProcessing',
      sep: ['[SEP]', 3],
      cls: ['[CLS]', 2],
      trim_offsets: true,
      add_prefix_space: false,
    }),
    () => ({
      type: 'TemplateProcessing',
      single: [
        ...many(random, 2, () => token('[CLS]')),
        { Sequence: { id: 'A', type_id: 0 } },
        ...many(random, 2, () => token('[SEP]')),
      ],
      pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: {
        '[CLS]': { id: '[CLS]', ids: [2], tokens: ['[CLS]'] },
        '[SEP]': { id: '[SEP]', ids: [3, 0], tokens: ['[SEP]', '[PAD]'] },
      },
    }),
    () => ({ type: 'Sequence', processors: many(random, 2, () => postProcessor(random, 0)).filter((one) => one) }),
  ];
  return pick(random, kinds.slice(0, depth > 0 ? kinds.length : -1))();
}

/** A tokenizer.json of any kind. */
export function randomTokenizer(random: Random): JsonObject {
  const model = pick(random, [bpe, bpe, wordPiece, wordLevel, unigram])(random);
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(random, model),
    normalizer: normalizer(random),
    pre_tokenizer: preTokenizer(random),
    post_processor: postProcessor(random),
    decoder: decoder(random),
    model,
  };
}

/** A tokenizer.json of BERT's kind: WordPiece, its normaliser and pre-tokeniser. */
export function randomBert(random: Random): JsonObject {
  const model = wordPiece(random);
  return {
    ...randomTokenizer(random),
    added_tokens: [
      ...SPECIAL.map((content, id) => specialToken(content, id)),
      ...addedTokens(random, model).filter(({ content }) => !SPECIAL.includes(content as string)),
    ],
    normalizer: chance(random, 6) ? null : bertNormalizer(random),
    pre_tokenizer: { type: 'BertPreTokenizer' },
    model,
  };
}

// ---- Expressions.

const ATOMS = [
  ...'a|b|\\s|\\S|\\d|\\w|\\W|\\p{L}|\\P{L}|\\p{^Lu}|\\p{Han}|[a-c]|[^a]|[^\\s\\w]|[\\W_]|[a[bc]]'.split('|'),
  ...'[^a[^b]]|[a-z&&[^b]]|\\h|.| |\\n|\\.|é|[é-ü]|\\x{e9}|\\b|\\B|^|$|\\A|\\z|(?=a)|(?!b)'.split('|'),
  ...'(?<=a)|(?<!b)|(?i:aB)|\\p{Alpha}|²'.split('|'),
];

/** An expression of Oniguruma. */
export function randomExpression(random: Random, depth = 3): string {
  const inner = (): string => randomExpression(random, depth - 1);
  const quantifier = (): string => pick(random, '?|*|+|{2}|{1,2}|{,2}|{2,}|*?|+?|??|*+|++'.split('|'));
  const kind = depth <= 0 ? 0 : random.int(10);
  if (kind < 4) return pick(random, ATOMS);
  if (kind < 6) return inner() + inner();
  if (kind < 7) return `(?:${inner()}|${inner()})`;
  if (kind < 8) return `(${inner()})${quantifier()}`;
  return kind < 9 ? pick(random, ATOMS) + quantifier() : `(?>${inner()})${inner()}`;
}

/** Expressions that a backtracking engine tries for ever on forty letters. */
export const hangingExpressions = [
  '(?:a+)+b',
  '(a+)+$',
  '(a|aa)+$',
  '(?:a|a)*b',
  '([a-z]+)*\\d',
  `${'a?'.repeat(28)}a{28}b`,
  '(?:\\w+\\s?)+!',
  '(?=(?:a+)+b)',
  '(?>(?:a|aa)+)b',
];
