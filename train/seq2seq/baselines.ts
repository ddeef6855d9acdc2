import type { TextPair } from './pairs.ts';

/** Words and signs of a text in lower case. */
const wordsOf = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}]+|[^\p{L}\p{N}\s]/gu) ?? [];

/**
 * What a translator's memory would offer: for each source the target of the pair whose source shares most
 * with it, by the cosine of the two sources' words, each weighed by how rare it is (tf-idf). Of equally near
 * pairs the first one is taken.
 */
export function translationMemory(pairs: readonly TextPair[]): (source: string) => string {
  const documents = pairs.map(({ source }) => wordsOf(source));
  const frequency = new Map<string, number>();
  for (const words of documents) for (const word of new Set(words)) frequency.set(word, (frequency.get(word) ?? 0) + 1);
  const weigh = (words: readonly string[]): Map<string, number> => {
    const weights = new Map<string, number>();
    for (const word of words) {
      const idf = Math.log((1 + pairs.length) / (1 + (frequency.get(word) ?? 0))) + 1;
      weights.set(word, (weights.get(word) ?? 0) + idf);
    }
    const norm = Math.hypot(...weights.values()) || 1;
    for (const [word, weight] of weights) weights.set(word, weight / norm);
    return weights;
  };
  /** Pairs that have a word, and its weight in each. */
  const postings = new Map<string, { readonly pair: number; readonly weight: number }[]>();
  documents.forEach((words, pair) => {
    for (const [word, weight] of weigh(words)) {
      const list = postings.get(word);
      if (list) list.push({ pair, weight });
      else postings.set(word, [{ pair, weight }]);
    }
  });
  return (source) => {
    const scores = new Float64Array(pairs.length);
    for (const [word, weight] of weigh(wordsOf(source)))
      for (const { pair, weight: other } of postings.get(word) ?? []) scores[pair]! += weight * other;
    let best = 0;
    for (let i = 1; i < scores.length; i++) if (scores[i]! > scores[best]!) best = i;
    return pairs[best]!.target;
  };
}

/**
 * The first sentence of a text, or its first line where that ends before: lead-1, hard to beat for news and
 * help.
 */
export function firstSentence(text: string): string {
  const [line = ''] = text.trim().split('\n');
  const [first] = new Intl.Segmenter('en', { granularity: 'sentence' }).segment(line);
  return (first?.segment ?? line).trim();
}
