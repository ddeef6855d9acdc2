import { DisjointSets, joinBand } from './join.ts';
import { jaccard, shingleHashes } from './shingles.ts';
import { bandKeys, BANDS } from './signature.ts';

export interface DuplicateOptions {
  /**
   * Texts whose sets of three-word shingles overlap by at least this share (Jaccard) count as duplicates;
   * default 0.8. 1 asks for equal sets: the same words, whatever their case, digits, punctuation and spacing.
   */
  readonly threshold?: number;
}

/**
 * Finds texts that say the same: group of each text, as the index of the group's first text; a text without
 * duplicates is its own group. Words are compared in lower case with all numbers alike. Pairs to compare are
 * found by MinHash signatures in bands, see `bandKeys`, then compared exactly, for which the shingles of all
 * texts are in memory; `NearDuplicates` is for corpora that are larger than that.
 */
export function duplicateGroups(texts: readonly string[], options: DuplicateOptions = {}): Int32Array {
  const { threshold = 0.8 } = options;
  checkThreshold('duplicateGroups', threshold);
  const keys = new Uint32Array(texts.length * BANDS);
  const shingles = texts.map((text, i) => {
    const set = new Set(shingleHashes(text));
    bandKeys([...set], keys.subarray(i * BANDS, (i + 1) * BANDS));
    return set;
  });
  const sets = new DisjointSets(texts.length);
  for (let band = 0; band < BANDS; band++) {
    const keyOf = (i: number): number => keys[i * BANDS + band]!;
    joinBand(sets, texts.length, keyOf, (i, j) => jaccard(shingles[i]!, shingles[j]!) >= threshold);
  }
  return sets.names();
}

export function checkThreshold(where: string, threshold: number): void {
  if (!(threshold > 0 && threshold <= 1))
    throw new Error(`${where}: threshold must be above 0 and at most 1, got ${threshold}`);
}
