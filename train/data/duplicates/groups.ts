import { bandKeys, BANDS, jaccard, shingleHashes } from './signature.ts';

/** Disjoint sets of 0..n-1, each named by its least member. */
export class DisjointSets {
  private readonly parent: Int32Array;

  constructor(size: number) {
    this.parent = new Int32Array(size).map((_, i) => i);
  }

  find(i: number): number {
    const { parent } = this;
    while (parent[i] !== i) i = parent[i] = parent[parent[i]!]!;
    return i;
  }

  join(i: number, j: number): void {
    const [a, b] = [this.find(i), this.find(j)];
    this.parent[Math.max(a, b)] = Math.min(a, b);
  }

  /** The name of each one's set. */
  names(): Int32Array {
    return this.parent.map((_, i) => this.find(i));
  }
}

/** Members of a bucket that a further one is compared with, at most. */
const MOST_COMPARED = 256;

/**
 * Joins what is similar among those that share a key: `keyOf(i)` is the key of one band. Of each bucket only
 * members of different sets are compared, so that a thousand copies cost a thousand comparisons, and with no
 * more than 256 of them.
 */
export function joinBand(
  sets: DisjointSets,
  size: number,
  keyOf: (i: number) => number,
  isSimilar: (i: number, j: number) => boolean,
): void {
  // Key above, index below: sorted as numbers, equal keys lie side by side in the order of their indices.
  const order = new BigUint64Array(size);
  const halves = new Uint32Array(order.buffer);
  for (let i = 0; i < size; i++) {
    halves[2 * i] = i;
    halves[2 * i + 1] = keyOf(i);
  }
  order.sort();
  let apart: number[] = [];
  for (let at = 0; at < size; at++) {
    const i = halves[2 * at]!;
    if (at === 0 || halves[2 * at + 1] !== halves[2 * at - 1]) {
      apart = [i];
      continue;
    }
    let joined = false;
    for (const j of apart) {
      if (sets.find(i) === sets.find(j)) joined = true;
      else if (isSimilar(i, j)) {
        joined = true;
        sets.join(i, j);
      }
    }
    if (!joined && apart.length < MOST_COMPARED) apart.push(i);
  }
}

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
 *
 * @example
 * duplicateGroups(['Hello, world', 'something else', 'hello world']); // [0, 1, 0]
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
