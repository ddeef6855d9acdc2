/**
 * How often each n-gram of one order occurs. Its key is a number, the same in all sequences counted together.
 */
export type NgramCounts = ReadonlyMap<number, number>;

/**
 * Counts the n-grams of several sequences: `[sequence][n - 1]` holds those of order n. An n-gram of order n
 * has as its key the number of (its first n - 1 tokens, its last token), so that time and memory stay linear
 * in the sequences' lengths.
 */
export function countNgrams(sequences: readonly (readonly string[])[], maxOrder: number): NgramCounts[][] {
  const vocabulary = new Map<string, number>();
  const numberOf = <Key>(numbers: Map<Key, number>, key: Key): number => {
    const known = numbers.get(key);
    if (known !== undefined) return known;
    numbers.set(key, numbers.size);
    return numbers.size - 1;
  };
  const tokens = sequences.map((sequence) => Int32Array.from(sequence, (token) => numberOf(vocabulary, token)));
  const counts = sequences.map((): NgramCounts[] => []);
  const ngrams = tokens.map((sequence) => sequence.slice()); // [i]: the n-gram that begins at i
  for (let n = 1; n <= maxOrder; n++) {
    const numbers = new Map<number, number>();
    ngrams.forEach((starts, s) => {
      const ends = tokens[s]!;
      const count = new Map<number, number>();
      for (let i = 0; i + n <= ends.length; i++) {
        if (n > 1) starts[i] = numberOf(numbers, starts[i]! * vocabulary.size + ends[i + n - 1]!);
        count.set(starts[i]!, (count.get(starts[i]!) ?? 0) + 1);
      }
      counts[s]!.push(count);
    });
  }
  return counts;
}

/** How many n-grams there are. */
export function totalOf(counts: NgramCounts): number {
  let total = 0;
  for (const count of counts.values()) total += count;
  return total;
}

/** How many n-grams are in both: each as often as in the one that has fewer of it. */
export function overlapOf(a: NgramCounts, b: NgramCounts): number {
  let overlap = 0;
  for (const [ngram, count] of a) overlap += Math.min(count, b.get(ngram) ?? 0);
  return overlap;
}

/** Of each n-gram the largest count that any of the sequences has. */
export function largestCounts(all: readonly NgramCounts[]): NgramCounts {
  if (all.length === 1) return all[0]!;
  const largest = new Map<number, number>();
  for (const counts of all)
    for (const [ngram, count] of counts) if (count > (largest.get(ngram) ?? 0)) largest.set(ngram, count);
  return largest;
}
