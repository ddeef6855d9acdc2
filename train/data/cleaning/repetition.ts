import { hashText, mix } from '../text-hash.ts';

/** Share of lines that stood in the text before. */
export function repeatedLineShare(lines: readonly string[]): number {
  return lines.length === 0 ? 0 : 1 - new Set(lines).size / lines.length;
}

/** Share of the words' characters that the most frequent run of n words covers, if it occurs more than once (Gopher, table A1). */
export function topNgramShare(words: readonly string[], n: number): number {
  const counts = new Map<number, number>();
  let [best, bestAt] = [1, -1];
  ngramHashes(words, n).forEach((hash, i) => {
    const count = (counts.get(hash) ?? 0) + 1;
    counts.set(hash, count);
    if (count > best) [best, bestAt] = [count, i];
  });
  if (bestAt < 0) return 0;
  return (best * characters(words.slice(bestAt, bestAt + n))) / characters(words);
}

/** Share of the words' characters that lie in runs of n words which stood in the text before; each character counts once (Gopher, table A1). */
export function duplicateNgramShare(words: readonly string[], n: number): number {
  const seen = new Set<number>();
  let covered = 0;
  let end = 0;
  ngramHashes(words, n).forEach((hash, i) => {
    if (seen.has(hash)) {
      covered += characters(words.slice(Math.max(i, end), i + n));
      end = i + n;
    } else seen.add(hash);
  });
  return covered / Math.max(1, characters(words));
}

/** A hash of each run of n words. */
function ngramHashes(words: readonly string[], n: number): Uint32Array {
  const hashes = Uint32Array.from(words, hashText);
  const runs = new Uint32Array(Math.max(0, words.length - n + 1));
  for (let i = 0; i < runs.length; i++) {
    let hash = 0;
    for (let k = 0; k < n; k++) hash = mix(Math.imul(hash, 31) ^ hashes[i + k]!);
    runs[i] = hash;
  }
  return runs;
}

function characters(words: readonly string[]): number {
  let total = 0;
  for (const word of words) total += word.length;
  return total;
}
