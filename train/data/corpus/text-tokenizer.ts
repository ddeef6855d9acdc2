import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import type { FileToWrite } from '../../../common/atomic-files.ts';

/** The part of a tokenizer that makes a token corpus; those of `loadTokenizer` have it. */
export interface TextTokenizer {
  /** Ids are below this. */
  readonly vocabSize: number;
  /** The ids of one text, without special tokens around it. */
  idsOf(text: string): ArrayLike<number>;
  /** The tokenizer's files for `folder`. */
  filesToSave(folder: string): FileToWrite[];
}

/** Hash by which a tokenizer is known: of its tokenizer.json, or, where it has none, of all its files. */
export function tokenizerFingerprint(tokenizer: Pick<TextTokenizer, 'filesToSave'>): string {
  const files = tokenizer.filesToSave('').filter(({ data }) => typeof data !== 'function');
  const main = files.filter(({ path }) => basename(path) === 'tokenizer.json');
  const hash = createHash('sha256');
  for (const { data } of main.length > 0 ? main : files) hash.update(data as string | Uint8Array);
  return hash.digest('hex');
}

/** Characters that are tokenised at once. */
const LONGEST = 1 << 20;

/**
 * The ids of a text of any length in bounded memory: more than a million characters are cut between a letter
 * and a space before another letter, where no token lies across (BERT's pre-tokeniser drops the space,
 * GPT-2's begins the next word with it).
 */
export function* idsInPieces(tokenizer: TextTokenizer, text: string): Generator<ArrayLike<number>> {
  let start = 0;
  while (text.length - start > LONGEST) {
    const end = cutBefore(text, start + LONGEST, start);
    yield tokenizer.idsOf(text.slice(start, end));
    start = end;
  }
  yield tokenizer.idsOf(text.slice(start));
}

/** All ids of a text of any length. */
export function encodeDocument(tokenizer: TextTokenizer, text: string): ArrayLike<number> {
  const pieces = [...idsInPieces(tokenizer, text)];
  if (pieces.length === 1) return pieces[0]!;
  const ids = new Int32Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    ids.set(piece, at);
    at += piece.length;
  }
  return ids;
}

/** The last place up to `limit`, after `start`, before a space between two letters; else `limit`. */
function cutBefore(text: string, limit: number, start: number): number {
  const letter = /^\p{L}$/u;
  for (let at = limit; at > start + 1; at--) {
    if (text[at] === ' ' && letter.test(text[at - 1]!) && letter.test(text[at + 1]!)) return at;
  }
  const low = text.charCodeAt(limit);
  return low >= 0xdc00 && low <= 0xdfff ? limit - 1 : limit;
}
