// The normalizers of tokenizer.json, as Rust `tokenizers` has them (normalizers/*.rs).
import { alignOriginal, normalizeBert } from './bert-normalizer.ts';
import { byteChanges, writeBytes } from './byte-level.ts';
import { normalFormChanges } from './normal-forms.ts';
import type { NormalForm } from './normal-forms.ts';
import { Part } from './part.ts';
import type { Pattern } from './pattern.ts';
import { precompiledNormalizer } from './precompiled.ts';
import { applyChanges, prepend, removeMatches, replaceInStretch, sliceStretch, withPlaces } from './stretch.ts';
import type { Change, Stretch } from './stretch.ts';
import { MARKS } from './unicode-tables.ts';

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

/**
 * A change that keeps the first character at the start: `alter` gives the text, and `changes` the same one
 * with what became of each character.
 */
const change =
  (alter: (text: string) => string, changes: (text: string) => Iterable<Change>): Normalizer =>
  (stretch) =>
    stretch.places
      ? applyChanges(stretch, changes(stretch.text))
      : { text: alter(stretch.text), atStart: stretch.atStart };

const normalForm = (form: NormalForm): Normalizer =>
  change(
    (text) => text.normalize(form),
    (text) => normalFormChanges(text, form),
  );

/** Leaves out what `gone`, an expression with the flags g and u, finds. */
const without =
  (gone: RegExp): Normalizer =>
  (stretch) =>
    removeMatches(stretch, gone);

const chain =
  (steps: readonly Normalizer[]): Normalizer =>
  (stretch) =>
    steps.reduce((result, step) => step(result), stretch);

/** Letter by letter, so that no sigma becomes a final one. */
const lowercase = (text: string): string => text.replaceAll('Σ', 'σ').toLowerCase();

const lowercaseChanges = (text: string): Change[] =>
  Array.from(text).flatMap((char) => Array.from(lowercase(char), (lower, i): Change => [lower, i === 0 ? 0 : 1]));

const NMT_GONE = /[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]/gu;
const NMT_SPACES = /[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/gu;

const NORMALIZERS: ReadonlyMap<string, (part: Part) => Normalizer> = new Map<string, (part: Part) => Normalizer>([
  ['Sequence', (part) => chain(part.list('normalizers').map((one) => one.make(NORMALIZERS)))],
  ['NFC', () => normalForm('NFC')],
  ['NFD', () => normalForm('NFD')],
  ['NFKC', () => normalForm('NFKC')],
  ['NFKD', () => normalForm('NFKD')],
  ['Lowercase', () => change(lowercase, lowercaseChanges)],
  ['StripAccents', () => without(new RegExp(`[${MARKS}]`, 'gu'))],
  ['Nmt', () => chain([without(NMT_GONE), (stretch) => ({ ...stretch, text: stretch.text.replace(NMT_SPACES, ' ') })])],
  ['ByteLevel', () => change(writeBytes, byteChanges)],
  ['Strip', strip],
  ['Prepend', prepends],
  ['Replace', replace],
  ['BertNormalizer', bert],
  ['Precompiled', precompiled],
]);

function strip(part: Part): Normalizer {
  const steps: Normalizer[] = [];
  if (part.flag('strip_left')) steps.push(without(/^\p{White_Space}+/gu));
  if (part.flag('strip_right')) steps.push((stretch) => sliceStretch(stretch, 0, lengthWithoutSpaces(stretch.text)));
  return chain(steps);
}

const WHITE_SPACE = /\p{White_Space}/u;

/** Not by an expression: `\s+$` reads every run of spaces as often as it has characters. */
function lengthWithoutSpaces(text: string): number {
  let end = text.length;
  while (end > 0 && WHITE_SPACE.test(text[end - 1]!)) end--;
  return end;
}

function prepends(part: Part): Normalizer {
  const before = part.text('prepend');
  return (stretch) => prepend(stretch, before);
}

function precompiled(part: Part): Normalizer {
  const { text, changes } = precompiledNormalizer(part);
  return change(text, changes);
}

function replace(part: Part): Normalizer {
  const pattern = part.pattern();
  const content = part.text('content');
  // Rust `tokenizers` leaves out what is put in at the very beginning when it normalises on.
  if (pattern.canBeEmpty) throw part.refuse('its pattern may match nothing');
  return (stretch) => {
    const replaced = replaceInStretch(stretch, pattern, content);
    const { text, atStart } = stretch;
    return { ...replaced, atStart: atStart && (replaced.text === text || keepsStart(text, pattern, content)) };
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
  return ({ text, atStart, places }) => {
    const normalized = normalizeBert(places ? { text, ...places } : alignOriginal(text), options);
    const first = places?.starts[0] ?? 0;
    const staysAtStart = atStart && normalized.starts[0] === first;
    return places ? withPlaces(normalized, staysAtStart) : { text: normalized.text, atStart: staysAtStart };
  };
}
