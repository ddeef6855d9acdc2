// A text on its way through normalizers and pre-tokenizers, with the place in the original of every unit
// where that is asked for: the NormalizedString of Rust `tokenizers` (tokenizer/normalizer.rs).
import { alignOriginal } from './bert-normalizer.ts';
import type { AlignedText } from './bert-normalizer.ts';
import type { Pattern } from './pattern.ts';
import type { PieceTokens } from './word-piece.ts';

export interface Stretch {
  readonly text: string;
  /** Whether its first character stems from the first of the whole text (see Metaspace). */
  readonly atStart: boolean;
  /** Where its units come from; undefined where nobody asks. */
  readonly places?: Places | undefined;
}

/** Unit i of a text stems from [starts[i], ends[i]) of the original. */
export interface Places {
  readonly starts: Int32Array;
  readonly ends: Int32Array;
}

/** A word, or whatever else a pre-tokenizer makes, with its tokens. */
export interface PlacedPiece {
  readonly stretch: Stretch;
  readonly tokens: PieceTokens;
}

/** The whole text itself, each unit at the place of its character. */
export function placed(text: string): Stretch {
  const stretch = withPlaces(alignOriginal(text), true);
  const { starts, ends } = stretch.places;
  for (let i = 1; i < text.length; i++)
    if (text.codePointAt(i - 1)! > 0xffff) {
      ends[i - 1]!++;
      starts[i]!--;
    }
  return stretch;
}

export function withPlaces(
  { text, starts, ends }: AlignedText,
  atStart: boolean,
): Stretch & { readonly places: Places } {
  return { text, atStart, places: { starts: Int32Array.from(starts), ends: Int32Array.from(ends) } };
}

/** Units [start, end) of a stretch. */
export function sliceStretch({ text, atStart, places }: Stretch, start: number, end: number): Stretch {
  return {
    text: text.slice(start, end),
    atStart: atStart && start === 0,
    places: places && { starts: places.starts.subarray(start, end), ends: places.ends.subarray(start, end) },
  };
}

/**
 * A character of a changed text. Its `change` says how many characters of the text before it stands for: 0
 * for one, -n for one and the n after it, 1 for none: then it stands where the character before it does.
 */
export type Change = readonly [char: string, change: number];

/**
 * The text that changes make of another. As in Rust, of several characters that one stands for it has the
 * place of the first.
 */
export function applyChanges({ text, atStart, places }: Stretch, changes: Iterable<Change>): Stretch {
  let changed = '';
  const starts: number[] = [];
  const ends: number[] = [];
  let at = 0;
  const pass = (): void => {
    if (at < text.length) at += text.codePointAt(at)! > 0xffff ? 2 : 1;
  };
  for (const [char, change] of changes) {
    changed += char;
    const from = Math.min(change > 0 ? at - 1 : at, text.length - 1);
    // Before the first character there is no place but its beginning.
    const start = places?.starts[Math.max(from, 0)] ?? 0;
    const end = from < 0 ? start : (places?.ends[from] ?? 0);
    for (let unit = 0; unit < char.length; unit++) {
      starts.push(start);
      ends.push(end);
    }
    for (let passed = change; passed <= 0; passed++) pass();
  }
  return { text: changed, atStart, places: places && { starts: Int32Array.from(starts), ends: Int32Array.from(ends) } };
}

/** Puts a text before another, at the place of its first character; before nothing it puts nothing. */
export function prepend({ text, atStart, places }: Stretch, before: string): Stretch {
  if (text === '') return { text, atStart, places };
  const repeat = (values: Int32Array): Int32Array => {
    const longer = new Int32Array(before.length + values.length).fill(values[0]!, 0, before.length);
    longer.set(values, before.length);
    return longer;
  };
  return {
    text: before + text,
    atStart,
    places: places && { starts: repeat(places.starts), ends: repeat(places.ends) },
  };
}

/** The text with `content` in the place of every match, where its last character stood. */
export function replaceInStretch(stretch: Stretch, pattern: Pattern, content: string): Stretch {
  const { text, atStart, places } = stretch;
  let result = '';
  let done = 0;
  const starts: number[] = [];
  const ends: number[] = [];
  const keep = (until: number): void => {
    result += text.slice(done, until);
    if (places)
      for (let i = done; i < until; i++) {
        starts.push(places.starts[i]!);
        ends.push(places.ends[i]!);
      }
  };
  for (const [start, end] of text === '' ? [] : pattern.matches(text)) {
    keep(start);
    result += content;
    if (places)
      for (let i = 0; i < content.length; i++) {
        starts.push(places.starts[end - 1]!);
        ends.push(places.ends[end - 1]!);
      }
    done = end;
  }
  if (done === 0 && result === '') return stretch;
  keep(text.length);
  return { text: result, atStart, places: places && { starts: Int32Array.from(starts), ends: Int32Array.from(ends) } };
}

/** The units that no match covers; `gone` is an expression with the flags g and u. */
export function removeMatches({ text, atStart, places }: Stretch, gone: RegExp): Stretch {
  const kept = text.replace(gone, '');
  if (kept.length === text.length) return { text, atStart, places };
  const staysAtStart = atStart && text.search(gone) !== 0;
  if (!places) return { text: kept, atStart: staysAtStart };
  const [starts, ends] = [new Int32Array(kept.length), new Int32Array(kept.length)];
  let length = 0;
  let done = 0;
  const keep = (until: number): void => {
    starts.set(places.starts.subarray(done, until), length);
    ends.set(places.ends.subarray(done, until), length);
    length += until - done;
  };
  for (const { 0: match, index } of text.matchAll(gone)) {
    keep(index);
    done = index + match.length;
  }
  keep(text.length);
  return { text: kept, atStart: staysAtStart, places: { starts, ends } };
}
