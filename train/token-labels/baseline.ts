import { entitiesOf } from '../metrics/sequence-labels.ts';
import type { TagOptions } from '../metrics/sequence-labels.ts';
import { iob2 } from './data.ts';
import type { TaggedText } from './data.ts';

type Tagged = Pick<TaggedText, 'text' | 'words' | 'tags'>;

export interface DictionaryOptions extends TagOptions {
  /**
   * Leaves out words that stand outside of entities more often than they are one: "Page" is a label's once
   * and no label's ten times. Default false.
   */
  readonly pruned?: boolean;
}

/**
 * What a model has to be better than: a dictionary of the entities of texts, case and all, as tags in IOB2.
 * From left to right the longest entry counts, with the label that it has most often.
 */
export function entityDictionary(
  texts: readonly Tagged[],
  { pruned = false, ...options }: DictionaryOptions = {},
): (text: Pick<Tagged, 'text' | 'words'>) => string[] {
  const read = texts.map((text) => ({ words: wordsIn(text), entities: entitiesOf(text.tags, options) }));
  const counts = new Map<string, Map<string, number>>();
  for (const { words, entities } of read)
    for (const { type, start, end } of entities) {
      const labels = counts.get(keyOf(words, start, end)) ?? new Map<string, number>();
      counts.set(keyOf(words, start, end), labels.set(type, (labels.get(type) ?? 0) + 1));
    }
  const longest = Math.max(0, ...read.flatMap(({ entities }) => entities.map(({ start, end }) => end - start)));
  for (const { words, entities } of pruned ? read : []) {
    const inside = new Set(entities.flatMap(({ start, end }) => range(start, end)));
    for (let start = 0; start < words.length; start++)
      for (let end = start + 1; end <= Math.min(words.length, start + longest) && !inside.has(end - 1); end++) {
        const labels = counts.get(keyOf(words, start, end));
        labels?.set('O', (labels.get('O') ?? 0) + 1);
      }
  }
  const labelOf = new Map<string, string>();
  for (const [key, labels] of counts) {
    const [[best]] = [...labels].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)) as [[string, number]];
    if (best !== 'O') labelOf.set(key, best);
  }
  return (text) => {
    const words = wordsIn(text);
    const found: { type: string; start: number; end: number }[] = [];
    for (let start = 0; start < words.length;) {
      let end = Math.min(words.length, start + longest);
      while (end > start && !labelOf.has(keyOf(words, start, end))) end--;
      if (end > start) found.push({ type: labelOf.get(keyOf(words, start, end))!, start, end });
      start = Math.max(end, start + 1);
    }
    return iob2(words.length, found);
  };
}

const wordsIn = ({ text, words }: Pick<Tagged, 'text' | 'words'>): string[] =>
  words.map(({ start, end }) => text.slice(start, end));
const keyOf = (words: readonly string[], start: number, end: number): string => words.slice(start, end).join('\n');
const range = (start: number, end: number): number[] => Array.from({ length: end - start }, (_, i) => start + i);
