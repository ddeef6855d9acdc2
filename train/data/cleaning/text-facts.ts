import { hashText, mix } from '../text-hash.ts';

/** Scripts written without spaces between words. */
const UNSPACED = (() => {
  const scripts = ['Han', 'Hiragana', 'Katakana', 'Thai', 'Lao', 'Khmer', 'Myanmar'];
  return new RegExp(`[${scripts.map((script) => `\\p{Script=${script}}`).join('')}]`, 'gu');
})();

/** Where those lie, and little else: a quick first look. */
const MAY_BE_UNSPACED = /[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u9fff\ua9e0-\uaa7f\uf900-\ufaff\ud800-\udbff]/;

/** Facts of a text that rules ask for; each is computed once, when it is first asked for. */
export class TextFacts {
  readonly text: string;
  private knownLines?: readonly string[];
  private knownWords?: readonly string[];
  private knownNumbers?: WordNumbers;
  private knownUnspaced?: number;

  constructor(text: string) {
    this.text = text;
  }

  /** Lines that are not blank, trimmed. */
  get lines(): readonly string[] {
    return (this.knownLines ??= this.text
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== ''));
  }

  /** Runs between white space. */
  get words(): readonly string[] {
    return (this.knownWords ??= this.text.match(/\S+/g) ?? []);
  }

  /** The words as numbers, for repetitions. */
  get numbers(): WordNumbers {
    return (this.knownNumbers ??= wordNumbers(this.words));
  }

  /** Letters of scripts written without spaces. */
  get unspacedLetters(): number {
    return (this.knownUnspaced ??= MAY_BE_UNSPACED.test(this.text) ? (this.text.match(UNSPACED)?.length ?? 0) : 0);
  }

  /** Whether words are what stands between spaces: rules about words mean nothing elsewhere. */
  get hasSpacedWords(): boolean {
    return this.unspacedLetters * 5 < this.text.length;
  }

  /** Words, with each letter of a script without spaces as one. */
  get wordCount(): number {
    return this.words.length + this.unspacedLetters;
  }
}

/** The words of a text as numbers. */
export interface WordNumbers {
  readonly hashes: Uint32Array;
  /** Characters of the first i words, words + 1 numbers. */
  readonly ends: Uint32Array;
}

export function wordNumbers(words: readonly string[]): WordNumbers {
  const ends = new Uint32Array(words.length + 1);
  words.forEach(({ length }, i) => (ends[i + 1] = ends[i]! + length));
  return { hashes: Uint32Array.from(words, hashText), ends };
}

/** Share of lines that stood in the text before. */
export function repeatedLineShare(lines: readonly string[]): number {
  return lines.length === 0 ? 0 : 1 - new Set(lines).size / lines.length;
}

/**
 * Share of the words' characters that the most frequent run of n words covers, if it occurs more than once
 * (Gopher, table A1).
 */
export function topNgramShare({ hashes, ends }: WordNumbers, n: number): number {
  const table = tableFor(hashes.length);
  let [best, bestAt] = [1, -1];
  for (let i = 0; i + n <= hashes.length; i++) {
    const count = ++table.counts[table.placeOf(runHash(hashes, i, n))]!;
    if (count > best) [best, bestAt] = [count, i];
  }
  return bestAt < 0 ? 0 : (best * (ends[bestAt + n]! - ends[bestAt]!)) / ends.at(-1)!;
}

/**
 * Share of the words' characters that lie in runs of n words which stood in the text before; each character
 * counts once (Gopher, table A1).
 */
export function duplicateNgramShare({ hashes, ends }: WordNumbers, n: number): number {
  const table = tableFor(hashes.length);
  let covered = 0;
  let end = 0;
  for (let i = 0; i + n <= hashes.length; i++) {
    if (++table.counts[table.placeOf(runHash(hashes, i, n))]! === 1) continue;
    covered += ends[i + n]! - ends[Math.max(i, end)]!;
    end = i + n;
  }
  return covered / Math.max(1, ends.at(-1)!);
}

function runHash(hashes: Uint32Array, start: number, n: number): number {
  let hash = 0;
  for (let k = 0; k < n; k++) hash = mix(Math.imul(hash, 31) ^ hashes[start + k]!);
  return hash;
}

/** An open-addressing table of u32 keys with a count each; Map is five times slower here. */
class CountTable {
  private readonly keys: Uint32Array;
  readonly counts: Uint32Array;

  constructor(size: number) {
    this.keys = new Uint32Array(size);
    this.counts = new Uint32Array(size);
  }

  clear(): void {
    this.counts.fill(0);
  }

  /** The place of a key, or the free one it takes. */
  placeOf(key: number): number {
    const mask = this.keys.length - 1;
    let place = key & mask;
    while (this.counts[place] !== 0 && this.keys[place] !== key) place = (place + 1) & mask;
    this.keys[place] = key;
    return place;
  }
}

/** One table a size, up to a million places, is used again and again. */
const tables = new Map<number, CountTable>();

function tableFor(entries: number): CountTable {
  let size = 256;
  while (size < 2 * entries) size *= 2;
  const table = tables.get(size) ?? new CountTable(size);
  if (size <= 1 << 20) tables.set(size, table);
  table.clear();
  return table;
}
