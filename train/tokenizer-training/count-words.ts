import { ownCopy } from '../../common/collections.ts';
import type { TrainingProgress } from './train-bpe.ts';

/** Texts to train on, read once. */
export type Texts = AsyncIterable<string> | Iterable<string>;

/** A list is faster than an iterator, and for a book in one text too long. */
const LONGEST_LISTED = 1 << 22;

function* iterate(text: string, pattern: RegExp): Generator<string> {
  for (const [match] of text.matchAll(pattern)) yield match;
}

const matchesIn = (text: string, pattern: RegExp): Iterable<string> =>
  text.length > LONGEST_LISTED ? iterate(text, pattern) : (text.match(pattern) ?? []);

/** How often each match of `pattern` is there. Memory grows with the different matches only. */
export async function countMatches(
  texts: Texts,
  pattern: RegExp,
  onProgress?: (progress: TrainingProgress) => void,
): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  let done = 0;
  for await (const text of texts) {
    for (const match of matchesIn(text, pattern)) {
      done++;
      const count = counts.get(match);
      if (count === undefined) counts.set(ownCopy(match), 1);
      else counts.set(match, count + 1);
    }
    onProgress?.({ stage: 'count', done });
  }
  return counts;
}

/** The counts of what each key stands for: a key that stands for several words counts for each. */
export function recount(
  counts: ReadonlyMap<string, number>,
  wordsOf: (key: string) => Iterable<string>,
): Map<string, number> {
  const result = new Map<string, number>();
  for (const [key, count] of counts) for (const word of wordsOf(key)) result.set(word, (result.get(word) ?? 0) + count);
  return result;
}
