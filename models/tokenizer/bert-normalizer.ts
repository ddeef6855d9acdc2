// The normaliser of BERT, as in Hugging Face's Rust `tokenizers` (normalizers/bert.rs), with the place in the
// original kept for every unit.
import { ACCENTS, CONTROL } from './unicode-tables.ts';

/**
 * A text and where each of its UTF-16 units comes from: unit i stems from [starts[i], ends[i]) of the
 * original string.
 */
export interface AlignedText {
  text: string;
  starts: ArrayLike<number>;
  ends: ArrayLike<number>;
}

/** The original itself: every unit stems from itself. */
export function alignOriginal(text: string): AlignedText {
  const starts = Int32Array.from({ length: text.length }, (_, index) => index);
  return { text, starts, ends: starts.map((index) => index + 1) };
}

/** Units [start, stop) of an aligned text. */
export function sliceAligned({ text, starts, ends }: AlignedText, start: number, stop: number): AlignedText {
  const part = (values: ArrayLike<number>): ArrayLike<number> => Array.prototype.slice.call(values, start, stop);
  return { text: text.slice(start, stop), starts: part(starts), ends: part(ends) };
}

export interface BertNormalizerOptions {
  /** Removes control characters and turns every white space into ' '. */
  cleanText: boolean;
  /** Puts spaces around CJK ideographs, so that each becomes a word. */
  handleChineseChars: boolean;
  /** Decomposes (NFD) and removes combining marks. */
  stripAccents: boolean;
  lowercase: boolean;
}

const IS_CONTROL = new RegExp(`^[${CONTROL}\\p{Cs}]$`, 'u');
const WHITE_SPACE = /^\p{White_Space}$/u;
const IS_ACCENT = new RegExp(`^[${ACCENTS}]$`, 'u');

// [first, last] of the blocks BERT calls Chinese. 0x2b920 (for 0x2b820) is the Rust reference's, kept to
// agree with it.
const CHINESE: readonly (readonly [number, number])[] = [
  [0x3400, 0x4dbf],
  [0x4e00, 0x9fff],
  [0xf900, 0xfaff],
  [0x20000, 0x2a6df],
  [0x2a700, 0x2b73f],
  [0x2b740, 0x2b81f],
  [0x2b920, 0x2ceaf],
  [0x2f800, 0x2fa1f],
];

const isChinese = (code: number): boolean =>
  code >= 0x3400 && CHINESE.some(([first, last]) => code >= first && code <= last);

/** Collects characters with their places. */
class Output {
  readonly chars: string[] = [];
  readonly starts: number[] = [];
  readonly ends: number[] = [];

  push(char: string, start: number, end: number): void {
    this.chars.push(char);
    this.starts.push(start);
    this.ends.push(end);
  }

  /** One place for each UTF-16 unit instead of one for each character. */
  aligned(): AlignedText {
    const text = this.chars.join('');
    if (text.length === this.chars.length) return { text, starts: this.starts, ends: this.ends };
    const repeat = (values: number[]): number[] =>
      values.flatMap((value, index) => (this.chars[index]!.length === 2 ? [value, value] : [value]));
    return { text, starts: repeat(this.starts), ends: repeat(this.ends) };
  }
}

/** Normalises `source`, carrying the places along. Lone surrogates count as control characters. */
export function normalizeBert(source: AlignedText, options: BertNormalizerOptions): AlignedText {
  const output = new Output();
  let position = 0;
  for (const char of source.text) {
    const start = source.starts[position]!;
    position += char.length;
    normalizeChar(char, start, source.ends[position - 1]!, options, output);
  }
  return options.stripAccents ? inCanonicalOrder(output).aligned() : output.aligned();
}

function normalizeChar(
  original: string,
  start: number,
  end: number,
  options: BertNormalizerOptions,
  out: Output,
): void {
  const code = original.codePointAt(0)!;
  let char = original;
  if (options.cleanText) {
    if (code === 9 || code === 10 || code === 13) char = ' ';
    else if (code < 32 || code === 127 || code === 0xfffd) return;
    else if (code > 127) {
      if (IS_CONTROL.test(char)) return;
      if (WHITE_SPACE.test(char)) char = ' ';
    }
  }
  const chinese = options.handleChineseChars && isChinese(code);
  if (chinese) out.push(' ', start, end);
  if (code < 128) out.push(options.lowercase ? char.toLowerCase() : char, start, end);
  else {
    for (const piece of options.stripAccents ? char.normalize('NFD') : char) {
      if (options.stripAccents && IS_ACCENT.test(piece)) continue;
      // Lower case of one character may be two ('İ'); both stem from it. Letter by letter, so 'Σ' is never
      // 'ς'.
      for (const lower of options.lowercase ? piece.toLowerCase() : piece) out.push(lower, start, end);
    }
  }
  if (chinese) out.push(' ', start, end);
}

/**
 * NFD also sorts combining characters that follow each other, across the characters they came from. Removing
 * the non-spacing ones leaves hardly any to sort (Hangul tone marks, musical stems), but those are put in
 * order here, each with its own place (the Rust reference gives it the place of the character it changed
 * places with).
 */
function inCanonicalOrder(output: Output): Output {
  const joined = output.chars.join('');
  const ordered = joined.normalize('NFD');
  if (ordered === joined || ordered.length !== joined.length) return output;
  const sorted = new Output();
  const used = new Set<number>();
  let first = 0;
  for (const char of ordered) {
    let index = first;
    while (used.has(index) || output.chars[index] !== char) index++;
    used.add(index);
    while (used.has(first)) first++;
    sorted.push(char, output.starts[index]!, output.ends[index]!);
  }
  return sorted;
}
