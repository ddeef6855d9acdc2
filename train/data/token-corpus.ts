import { createHash } from 'node:crypto';

/**
 * Tokenised documents one after the other, without separators between them. Any part can be read at any time,
 * so a position is one number.
 */
export interface TokenCorpus {
  /** Tokens in all. */
  readonly tokens: number;
  /** Where each document begins, and, last, where all end: documents + 1 numbers. */
  readonly offsets: Float64Array;
  /** Ids are below this. */
  readonly vocabSize: number;
  /** SHA-256 of the ids as little-endian i32, by which a resumed run knows its data. */
  readonly hash: string;
  /** Ids `start` up to, not including, `end`. */
  read(start: number, end: number): Int32Array;
}

/** A corpus in memory. */
export function corpusOf(documents: readonly ArrayLike<number>[], vocabSize: number): TokenCorpus {
  const offsets = new Float64Array(documents.length + 1);
  documents.forEach(({ length }, i) => (offsets[i + 1] = offsets[i]! + length));
  const ids = new Int32Array(offsets.at(-1)!);
  documents.forEach((document, i) => ids.set(document, offsets[i]!));
  const wrong = ids.find((id) => id < 0 || id >= vocabSize);
  if (wrong !== undefined)
    throw new Error(
      `corpusOf: id ${wrong} is outside of the vocabulary, 0 to ${vocabSize - 1}; use one tokenizer for both`,
    );
  return {
    tokens: ids.length,
    offsets,
    vocabSize,
    hash: createHash('sha256').update(new Uint8Array(ids.buffer)).digest('hex'),
    read: (start, end) => ids.slice(start, end),
  };
}
