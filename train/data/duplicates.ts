import { hashText, mix } from './text-hash.ts';

/** Words to a shingle, and signature layout: BANDS x ROWS hashes. */
const SHINGLE = 3;
const ROWS = 4;
const BANDS = 16;

export interface DuplicateOptions {
  /**
   * Texts whose sets of three-word shingles overlap by at least this share (Jaccard) count as duplicates; default 0.8. 1 asks for
   * equal sets: the same words, whatever their case, digits, punctuation and spacing.
   */
  readonly threshold?: number;
}

/**
 * Finds texts that say the same: group of each text, as the index of the group's first text; a text without duplicates is its own
 * group. Words are compared in lower case with all numbers alike. Pairs to compare are found by MinHash signatures in bands
 * (Broder, 1997; Leskovec et al., Mining of Massive Datasets, 3.4), then compared exactly: with 16 bands of 4 rows a pair that
 * overlaps by 0.8 is seen with probability 0.9997, one by 0.5 with 0.64.
 */
export function duplicateGroups(texts: readonly string[], options: DuplicateOptions = {}): Int32Array {
  const { threshold = 0.8 } = options;
  if (!(threshold > 0 && threshold <= 1))
    throw new Error(`duplicateGroups: threshold must be above 0 and at most 1, got ${threshold}`);
  const parent = Int32Array.from(texts, (_, i) => i);
  const find = (i: number): number => {
    while (parent[i] !== i) i = parent[i] = parent[parent[i]!]!;
    return i;
  };
  const shingles = texts.map(shinglesOf);
  const buckets = new Map<string, number[]>();
  shingles.forEach((set, i) => {
    const signature = minHash(set);
    for (let band = 0; band < BANDS; band++) {
      const key = `${band}:${signature.subarray(band * ROWS, (band + 1) * ROWS).join(',')}`;
      const members = buckets.get(key);
      if (!members) {
        buckets.set(key, [i]);
        continue;
      }
      let joined = false;
      for (const j of members) {
        const [a, b] = [find(i), find(j)];
        if (a === b) joined = true;
        else if (jaccard(set, shingles[j]!) >= threshold) {
          joined = true;
          // The smaller index is the group's name: its first text.
          parent[Math.max(a, b)] = Math.min(a, b);
        }
      }
      // One member stands for its whole group, so that a bucket of a thousand copies is compared once.
      if (!joined) members.push(i);
    }
  });
  return parent.map((_, i) => find(i));
}

/** The words of a text, lower-cased, with every run of digits as "0"; characters alone where it has no word. */
export function normalizedWords(text: string): string[] {
  const words = text
    .normalize('NFKC')
    .toLowerCase()
    .match(/\p{N}+|[\p{L}\p{M}]+/gu);
  if (!words) return [text.trim()];
  return words.map((word) => (/^\p{N}/u.test(word) ? '0' : word));
}

function shinglesOf(text: string): Set<number> {
  const words = normalizedWords(text);
  if (words.length <= SHINGLE) return new Set([hashText(words.join(' '))]);
  const set = new Set<number>();
  for (let i = 0; i + SHINGLE <= words.length; i++) set.add(hashText(words.slice(i, i + SHINGLE).join(' ')));
  return set;
}

function minHash(set: ReadonlySet<number>): Uint32Array {
  const signature = new Uint32Array(BANDS * ROWS).fill(0xffffffff);
  for (const shingle of set) {
    for (let k = 0; k < signature.length; k++) {
      const value = mix(shingle ^ Math.imul(k + 1, 0x9e3779b9));
      if (value < signature[k]!) signature[k] = value;
    }
  }
  return signature;
}

function jaccard(a: ReadonlySet<number>, b: ReadonlySet<number>): number {
  const [small, large] = a.size < b.size ? [a, b] : [b, a];
  let shared = 0;
  for (const shingle of small) if (large.has(shingle)) shared++;
  return shared / (a.size + b.size - shared);
}
