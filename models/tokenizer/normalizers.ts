// The normalizers of tokenizer.json, as Rust `tokenizers` has them (normalizers/*.rs).
import { alignOriginal, normalizeBert } from './bert-normalizer.ts';
import { writeBytes } from './byte-level.ts';
import { Part } from './part.ts';
import type { Pattern } from './pattern.ts';
import { replaceMatches } from './pattern.ts';
import { precompiledNormalizer } from './precompiled.ts';
import { MARKS } from './unicode-tables.ts';

/** A text, and whether its first character stems from the first of the whole text (see Metaspace). */
export interface Stretch {
  readonly text: string;
  readonly atStart: boolean;
}

export type Normalizer = (stretch: Stretch) => Stretch;

/**
 * The normalizer of a tokenizer.json; null gives one that changes nothing. Error, one line: a type or an
 * option that is not known, named.
 */
export function readNormalizer(json: unknown, where: string): Normalizer {
  if (json === null || json === undefined) return (stretch) => stretch;
  return new Part(json, where).make(NORMALIZERS);
}

/** The text as UTF-8 has it: half of a surrogate pair alone is U+FFFD. */
export function wellFormed(text: string): string {
  return LONE_SURROGATE.test(text) ? text.replace(LONE_SURROGATES, '\ufffd') : text;
}

const LONE_SURROGATE = /\p{Surrogate}/u;
const LONE_SURROGATES = /\p{Surrogate}/gu;

/** A change that keeps the first character at the start. */
const change =
  (alter: (text: string) => string): Normalizer =>
  ({ text, atStart }) => ({ text: alter(text), atStart });

/** Leaves out what `gone`, an expression with the flags g and u, finds. */
const without =
  (gone: RegExp): Normalizer =>
  ({ text, atStart }) => ({ text: text.replace(gone, ''), atStart: atStart && text.search(gone) !== 0 });

const chain =
  (steps: readonly Normalizer[]): Normalizer =>
  (stretch) =>
    steps.reduce((result, step) => step(result), stretch);

/** Letter by letter, so that no sigma becomes a final one. */
const lowercase = (text: string): string => text.replaceAll('Σ', 'σ').toLowerCase();

const NMT_GONE = /[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]/gu;
const NMT_SPACES = /[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/gu;

const NORMALIZERS: ReadonlyMap<string, (part: Part) => Normalizer> = new Map<string, (part: Part) => Normalizer>([
  ['Sequence', (part) => chain(part.list('normalizers').map((one) => one.make(NORMALIZERS)))],
  ['NFC', () => change((text) => text.normalize('NFC'))],
  ['NFD', () => change((text) => text.normalize('NFD'))],
  ['NFKC', () => change((text) => text.normalize('NFKC'))],
  ['NFKD', () => change((text) => text.normalize('NFKD'))],
  ['Lowercase', () => change(lowercase)],
  ['StripAccents', () => without(new RegExp(`[${MARKS}]`, 'gu'))],
  ['Nmt', () => chain([without(NMT_GONE), change((text) => text.replace(NMT_SPACES, ' '))])],
  ['ByteLevel', () => change(writeBytes)],
  ['Strip', strip],
  ['Prepend', prepend],
  ['Replace', replace],
  ['BertNormalizer', bert],
  ['Precompiled', (part) => change(precompiledNormalizer(part))],
]);

function strip(part: Part): Normalizer {
  const steps: Normalizer[] = [];
  if (part.flag('strip_left')) steps.push(without(/^\p{White_Space}+/gu));
  if (part.flag('strip_right')) steps.push(change(trimEnd));
  return chain(steps);
}

const WHITE_SPACE = /\p{White_Space}/u;

/** Not by an expression: `\s+$` reads every run of spaces as often as it has characters. */
function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && WHITE_SPACE.test(text[end - 1]!)) end--;
  return text.slice(0, end);
}

function prepend(part: Part): Normalizer {
  const before = part.text('prepend');
  return change((text) => (text === '' ? text : before + text));
}

function replace(part: Part): Normalizer {
  const pattern = part.pattern();
  const content = part.text('content');
  // Rust `tokenizers` leaves out what is put in at the very beginning when it normalises on.
  if (pattern.canBeEmpty) throw part.refuse('its pattern may match nothing');
  return ({ text, atStart }) => {
    const replaced = replaceMatches(text, pattern, content);
    return { text: replaced, atStart: atStart && (replaced === text || keepsStart(text, pattern, content)) };
  };
}

/** What is put in stems from the last character that it replaces. */
function keepsStart(text: string, pattern: Pattern, content: string): boolean {
  for (const [start, end] of pattern.matches(text)) {
    if (start > 0) return true;
    return content !== '' && Array.from(text.slice(0, end)).length === 1;
  }
  return true;
}

function bert(part: Part): Normalizer {
  const lowers = part.flag('lowercase');
  const options = {
    cleanText: part.flag('clean_text'),
    handleChineseChars: part.flag('handle_chinese_chars'),
    // Left open, accents go where case goes.
    stripAccents: part.flag('strip_accents', lowers),
    lowercase: lowers,
  };
  return ({ text, atStart }) => {
    const normalized = normalizeBert(alignOriginal(text), options);
    return { text: normalized.text, atStart: atStart && normalized.starts[0] === 0 };
  };
}
