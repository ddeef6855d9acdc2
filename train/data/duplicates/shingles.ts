import { mix } from '../text-hash.ts';

/** Words to a shingle. */
const SHINGLE = 3;
const OFFSET = 0x811c9dc5;
const PRIME = 0x01000193;

/**
 * The words of a text, lower-cased, with every run of digits as "0"; characters alone where it has no word.
 */
export function normalizedWords(text: string): string[] {
  const words = text
    .normalize('NFKC')
    .toLowerCase()
    .match(/\p{N}+|[\p{L}\p{M}]+/gu);
  if (!words) return [text.trim()];
  return words.map((word) => (/^\p{N}/u.test(word) ? '0' : word));
}

/**
 * A hash (FNV-1a, mixed) of each run of three words of a text, in order and with repetitions; of all its
 * words where it has fewer than four.
 */
export function shingleHashes(text: string): Uint32Array {
  const words = normalizedWords(text);
  const size = Math.min(SHINGLE, words.length);
  const hashes = new Uint32Array(words.length - size + 1);
  for (let i = 0; i < hashes.length; i++) {
    let value = OFFSET;
    for (let k = 0; k < size; k++) {
      const word = words[i + k]!;
      if (k > 0) value = Math.imul(value ^ 32, PRIME);
      for (let c = 0; c < word.length; c++) value = Math.imul(value ^ word.charCodeAt(c), PRIME);
    }
    hashes[i] = mix(value);
  }
  return hashes;
}

/** Jaccard similarity of two sets: what they share of what they have together. */
export function jaccard(a: ReadonlySet<number>, b: ReadonlySet<number>): number {
  const [small, large] = a.size < b.size ? [a, b] : [b, a];
  let shared = 0;
  for (const item of small) if (large.has(item)) shared++;
  return shared / (a.size + b.size - shared);
}
