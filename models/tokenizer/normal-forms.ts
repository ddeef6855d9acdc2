// Unicode's normal forms with what became of each character, as Rust's unicode-normalization-alignments has
// them; the tables are those of the JavaScript engine, which gives them away for pairs of characters.
import type { Change } from './stretch.ts';

export type NormalForm = 'NFC' | 'NFD' | 'NFKC' | 'NFKD';

/** The changes that bring a text into a normal form. */
export function normalFormChanges(text: string, form: NormalForm): Iterable<Change> {
  if (text.normalize(form) === text) return Array.from(text, (char): Change => [char, 0]);
  const decomposed = decompose(text, form === 'NFC' || form === 'NFD' ? 'NFD' : 'NFKD');
  return form === 'NFD' || form === 'NFKD' ? decomposed : compose(decomposed);
}

/** Marks that follow each other are sorted by their class, and keep what they say of the text. */
function* decompose(text: string, form: 'NFD' | 'NFKD'): Generator<Change> {
  let marks: Change[] = [];
  for (const char of text) {
    let change = 0;
    for (const piece of char.normalize(form)) {
      if (isStarter(piece)) {
        yield* marks.sort(byClass);
        marks = [];
        yield [piece, change];
      } else marks.push([piece, change]);
      change = 1;
    }
  }
  yield* marks.sort(byClass);
}

/** Joins marks and vowels with the starter before them (Unicode, section 3.11, D117). */
function* compose(decomposed: Iterable<Change>): Generator<Change> {
  let starter: Change | undefined;
  let marks: Change[] = [];
  for (const [char, change] of decomposed) {
    if (!starter) {
      if (isStarter(char)) starter = [char, change];
      else yield [char, change];
      continue;
    }
    const last = marks.at(-1);
    const isBlocked = last && (isStarter(char) || byClass(last, [char, change]) === 0);
    const joined = isBlocked ? undefined : join(starter[0], char);
    if (joined !== undefined) starter = [joined, starter[1] + change - 1];
    else if (isStarter(char)) {
      yield starter;
      yield* marks;
      starter = [char, change];
      marks = [];
    } else marks.push([char, change]);
  }
  if (starter) yield starter;
  yield* marks;
}

const MARK = /^\p{M}/u;
/** What joins with a character before it: marks, and vowels and finals of Hangul. */
const JOINS = /^[\p{M}\u1161-\u1175\u11a8-\u11c2]/u;
/** The mark of the highest class, behind which every other is sorted before it. */
const HIGHEST = '\u0345';

const known = new Map<string, boolean>();

/** Whether a character has no class among marks: it is none, or one that is not sorted. */
function isStarter(char: string): boolean {
  if (!MARK.test(char)) return true;
  let starts = known.get(char);
  if (starts === undefined) {
    starts = char !== HIGHEST && (HIGHEST + char).normalize('NFD').startsWith(HIGHEST);
    known.set(char, starts);
  }
  return starts;
}

/** The order of two marks: of equal classes 0. */
function byClass([a]: Change, [b]: Change): number {
  if ((b + a).normalize('NFD') !== b + a) return -1;
  return (a + b).normalize('NFD') !== a + b ? 1 : 0;
}

function join(starter: string, char: string): string | undefined {
  if (!JOINS.test(char)) return undefined;
  const joined = (starter + char).normalize('NFC');
  return joined !== starter + char && Array.from(joined).length === 1 ? joined : undefined;
}
