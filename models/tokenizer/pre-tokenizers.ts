// The pre-tokenizers of tokenizer.json, as Rust `tokenizers` has them (pre_tokenizers/*.rs).
import { byteChanges, writeBytes } from './byte-level.ts';
import { Part } from './part.ts';
import type { Pattern } from './pattern.ts';
import { GPT2_PATTERN, expressionPattern, nativePattern, textPattern } from './pattern.ts';
import { BERT_WORD, PUNCTUATION } from './punctuation.ts';
import { applyChanges, prepend, replaceInStretch, sliceStretch } from './stretch.ts';
import type { Stretch } from './stretch.ts';

/** Cuts texts further. */
export type PreTokenizer = (texts: readonly Stretch[]) => readonly Stretch[];

const BEHAVIORS = ['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'] as const;
type Behavior = (typeof BEHAVIORS)[number];

/**
 * The pre-tokenizer of a tokenizer.json; null gives one that leaves texts whole. Error, one line: a type or
 * an option that is not known, named.
 */
export function readPreTokenizer(json: unknown, where: string): PreTokenizer {
  if (json === null || json === undefined) return (texts) => texts;
  return new Part(json, where).make(PRE_TOKENIZERS);
}

// The word characters of Rust's regex crate.
const WORD = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}';
const WORDS = nativePattern(new RegExp(`[${WORD}]+|[^${WORD}\\p{White_Space}]+`, 'gu'));
const SPACE = nativePattern(/\p{White_Space}/gu);
const DIGIT = nativePattern(/\p{N}/gu);

const PRE_TOKENIZERS: ReadonlyMap<string, (part: Part) => PreTokenizer> = new Map<string, (part: Part) => PreTokenizer>(
  [
    ['Sequence', sequence],
    ['BertPreTokenizer', () => splitter(nativePattern(BERT_WORD), 'Removed', true)],
    ['ByteLevel', byteLevel],
    ['CharDelimiterSplit', (part) => splitter(textPattern(part.character('delimiter')), 'Removed')],
    ['Digits', (part) => splitter(DIGIT, part.flag('individual_digits') ? 'Isolated' : 'Contiguous')],
    ['FixedLength', fixedLength],
    ['Metaspace', metaspace],
    ['Punctuation', (part) => splitter(nativePattern(PUNCTUATION), part.oneOf('behavior', BEHAVIORS, 'Isolated'))],
    ['Split', (part) => splitter(part.pattern(), part.oneOf('behavior', BEHAVIORS), part.flag('invert'))],
    ['Whitespace', () => splitter(WORDS, 'Removed', true)],
    ['WhitespaceSplit', () => splitter(SPACE, 'Removed')],
  ],
);

function sequence(part: Part): PreTokenizer {
  const parts = part.list('pretokenizers');
  // Rust `tokenizers` counts every piece in whose place the first character stood as the first.
  const late = parts.find((one, i) => i > 0 && one.type === 'Metaspace' && one.json['prepend_scheme'] === 'first');
  if (late) throw late.refuse('its prepend_scheme "first" is only possible where it is the first of its Sequence');
  const steps = parts.map((one) => one.make(PRE_TOKENIZERS));
  return (texts) => steps.reduce((result, step) => step(result), texts);
}

/** Does something to each text; `alter` appends what it is cut into. */
function each(alter: (stretch: Stretch, pieces: Stretch[]) => void): PreTokenizer {
  return (texts) => {
    const pieces: Stretch[] = [];
    for (const text of texts) alter(text, pieces);
    return pieces;
  };
}

/** Cuts at the matches of a pattern, or with `invert` at what lies between them. */
function splitter(pattern: Pattern, behavior: Behavior, invert = false): PreTokenizer {
  return each((stretch, pieces) => split(stretch, pattern, behavior, invert, pieces));
}

/** Appends the pieces of a text; empty ones are left out. */
function split(stretch: Stretch, pattern: Pattern, behavior: Behavior, invert: boolean, pieces: Stretch[]): void {
  const { text } = stretch;
  const give = (start: number, end: number): void => {
    if (start < end) pieces.push(sliceStretch(stretch, start, end));
  };
  if (behavior === 'Removed' || behavior === 'Isolated') {
    visit(text, pattern, (start, end, isMatch) => {
      if (behavior === 'Isolated' || isMatch === invert) give(start, end);
    });
    return;
  }
  const ranges: [start: number, end: number][] = [];
  let previous = false;
  const events: [number, number, boolean][] = [];
  visit(text, pattern, (start, end, isMatch) => events.push([start, end, isMatch !== invert]));
  if (behavior === 'MergedWithNext') events.reverse();
  for (const [start, end, isMatch] of events) {
    const joins = behavior === 'Contiguous' ? isMatch === previous : isMatch && !previous;
    const last = ranges.at(-1);
    if (!joins || !last) ranges.push([start, end]);
    else if (behavior === 'MergedWithNext') last[0] = start;
    else last[1] = end;
    previous = isMatch;
  }
  if (behavior === 'MergedWithNext') ranges.reverse();
  for (const [start, end] of ranges) give(start, end);
}

/** Calls back for the matches and for what lies between them, in order. */
function visit(text: string, pattern: Pattern, call: (start: number, end: number, isMatch: boolean) => void): void {
  let done = 0;
  for (const [start, end] of pattern.matches(text)) {
    if (start > done) call(done, start, false);
    call(start, end, true);
    done = end;
  }
  if (done < text.length) call(done, text.length, false);
}

function byteLevel(part: Part): PreTokenizer {
  const prefix = part.flag('add_prefix_space', true);
  const pattern = part.flag('use_regex', true) ? expressionPattern(GPT2_PATTERN) : null;
  return each((stretch, pieces) => {
    const spaced = prefix && !stretch.text.startsWith(' ') ? prepend(stretch, ' ') : stretch;
    const from = pieces.length;
    if (pattern) split(spaced, pattern, 'Isolated', false, pieces);
    else pieces.push(spaced);
    for (let i = from; i < pieces.length; i++) pieces[i] = asBytes(pieces[i]!);
  });
}

function asBytes(stretch: Stretch): Stretch {
  if (stretch.places) return applyChanges(stretch, byteChanges(stretch.text));
  return { text: writeBytes(stretch.text), atStart: stretch.atStart };
}

function fixedLength(part: Part): PreTokenizer {
  const length = part.whole('length', 5);
  if (length === 0) throw part.refuse('its length is 0');
  return each((stretch, pieces) => {
    const chars = Array.from(stretch.text);
    let start = 0;
    for (let i = 0; i < chars.length; i += length) {
      const end = chars.slice(i, i + length).reduce((at, char) => at + char.length, start);
      pieces.push(sliceStretch(stretch, start, end));
      start = end;
    }
  });
}

const ONE_SPACE = textPattern(' ');
const SCHEMES = ['always', 'first', 'never'] as const;

function metaspace(part: Part): PreTokenizer {
  const replacement = part.character('replacement');
  const scheme = part.oneOf('prepend_scheme', SCHEMES, 'always');
  if (!part.flag('add_prefix_space', true) && scheme !== 'never')
    throw part.refuse('its add_prefix_space is false, where its prepend_scheme is not "never"');
  const pattern = part.flag('split', true) ? textPattern(replacement) : null;
  return each((stretch, pieces) => {
    const replaced = stretch.places
      ? replaceInStretch(stretch, ONE_SPACE, replacement)
      : { ...stretch, text: stretch.text.replaceAll(' ', replacement) };
    const wants = scheme === 'always' || (scheme === 'first' && stretch.atStart);
    const marked = wants && !replaced.text.startsWith(replacement) ? prepend(replaced, replacement) : replaced;
    if (pattern) split(marked, pattern, 'MergedWithNext', false, pieces);
    else pieces.push(marked);
  });
}
