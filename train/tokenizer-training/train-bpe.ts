// Byte-pair encoding (Sennrich et al. 2016, "Neural machine translation of rare words with subword units"),
// which both byte-level BPE and WordPiece are trained by.
import { PairMerger } from './pair-merger.ts';

export interface BpeOptions {
  /** Tokens wanted, special ones included. */
  readonly vocabSize: number;
  /** A pair that is there less often is not merged. */
  readonly minFrequency: number;
  /** Their ids come first, in this order. */
  readonly specialTokens: readonly string[];
  /**
   * At most this many characters are kept, the most frequent ones (of equally frequent ones the lower code
   * points); others are left out of words.
   */
  readonly limitAlphabet?: number;
  /** Characters that are kept whether they occur or not. */
  readonly initialAlphabet?: readonly string[];
  /** Written before symbols that continue a word: "##". */
  readonly continuingPrefix?: string;
  readonly onProgress?: (progress: TrainingProgress) => void;
}

export interface TrainingProgress {
  /** Reading texts ("count", in words so far) or making tokens ("merge", of `total`). */
  readonly stage: 'count' | 'merge';
  readonly done: number;
  readonly total?: number;
}

export interface BpeResult {
  /** Tokens in the order of their ids. */
  readonly vocab: string[];
  /** Pairs of tokens in the order in which they are to be merged. */
  readonly merges: [string, string][];
}

/**
 * Trains on words and how often each is there. Ids: special tokens; characters by code point; with a prefix,
 * prefixed characters by code point; merged tokens as they are made. The pair merged next is the most
 * frequent, of equal ones that of the lower ids.
 *
 * The result is that of Hugging Face's BpeTrainer and WordPieceTrainer, token for token, with two ties
 * settled that are left to the order of a hash map there, and so to chance: the ids of prefixed characters,
 * and the characters of equal frequency at the limit of the alphabet.
 *
 * Errors, each one line with its mend: no words, a special token twice, a vocabulary too small for special
 * tokens and characters.
 */
export function trainBpe(words: ReadonlyMap<string, number>, options: BpeOptions): BpeResult {
  const { vocabSize, minFrequency, specialTokens, continuingPrefix = '', onProgress } = options;
  if (!Number.isSafeInteger(vocabSize) || vocabSize < 1 || vocabSize > 2 ** 24)
    throw new Error(`vocabSize must be a whole number from 1 to ${2 ** 24}, got ${vocabSize}`);
  if (words.size === 0) throw new Error('the texts hold no words: a tokenizer needs some to be trained on');
  const twice = specialTokens.find((token, i) => specialTokens.indexOf(token) < i);
  if (twice !== undefined) throw new Error(`the special token "${twice}" is given twice: name each once`);
  if (specialTokens.includes('')) throw new Error('a special token is empty: give it a text');

  const vocab = [...specialTokens];
  const ids = new Map(vocab.map((token, id) => [token, id]));
  const idOf = (token: string): number => {
    const known = ids.get(token);
    if (known !== undefined) return known;
    ids.set(token, vocab.push(token) - 1);
    return vocab.length - 1;
  };
  for (const char of alphabetOf(words, options)) idOf(char);
  const rows = wordRows(words, ids, continuingPrefix, idOf);
  if (vocab.length > vocabSize) {
    const mend = options.initialAlphabet ? '' : ', or keep fewer characters (limitAlphabet)';
    throw new Error(
      `vocabSize ${vocabSize} is too small: ${specialTokens.length} special tokens and ` +
        `${vocab.length - specialTokens.length} characters need ${vocab.length}; ask for more${mend}`,
    );
  }
  const merger = new PairMerger(rows, [...words.values()]);
  const first = vocab.length;
  const merges: [string, string][] = [];
  while (vocab.length < vocabSize) {
    const pair = merger.next();
    if (!pair || pair.count < Math.max(1, minFrequency)) break;
    const [left, right] = [vocab[pair.left]!, vocab[pair.right]!];
    const isContinued = continuingPrefix !== '' && right.startsWith(continuingPrefix);
    const id = idOf(left + (isContinued ? right.slice(continuingPrefix.length) : right));
    merges.push([left, right]);
    merger.merge(pair.left, pair.right, id, pair.words);
    onProgress?.({ stage: 'merge', done: vocab.length - first, total: vocabSize - first });
  }
  return { vocab, merges };
}

const byCodePoint = (a: string, b: string): number => a.codePointAt(0)! - b.codePointAt(0)!;

function alphabetOf(words: ReadonlyMap<string, number>, options: BpeOptions): string[] {
  const counts = new Map<string, number>();
  for (const [word, count] of words) for (const char of word) counts.set(char, (counts.get(char) ?? 0) + count);
  for (const char of options.initialAlphabet ?? []) counts.set(char, Infinity);
  const byFrequency = [...counts.keys()].sort((a, b) => counts.get(b)! - counts.get(a)! || byCodePoint(a, b));
  return byFrequency.slice(0, options.limitAlphabet).sort(byCodePoint);
}

/** Each word as ids of its characters; characters that were not kept are left out. */
function wordRows(
  words: ReadonlyMap<string, number>,
  ids: ReadonlyMap<string, number>,
  prefix: string,
  idOf: (token: string) => number,
): number[][] {
  const keep = (word: string): string[] =>
    [...word].flatMap((char, i) => (ids.has(char) ? [i > 0 ? prefix + char : char] : []));
  if (prefix !== '') {
    const continued = new Set<string>();
    for (const word of words.keys()) for (const symbol of keep(word)) if (!ids.has(symbol)) continued.add(symbol);
    const char = (symbol: string): string => symbol.slice(prefix.length);
    for (const symbol of [...continued].sort((a, b) => byCodePoint(char(a), char(b)))) idOf(symbol);
  }
  return [...words.keys()].map((word) => keep(word).map((symbol) => ids.get(symbol)!));
}
