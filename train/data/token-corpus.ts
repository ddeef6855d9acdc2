import { toHex } from '../../common/bytes.ts';
import { sha256 } from '../../common/sha256.ts';

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

/**
 * A corpus in memory.
 *
 * @example
 * const corpus = corpusOf([[5, 6], [7]], 10);
 * corpus.offsets; // [0, 2, 3]
 * corpus.read(1, 3); // [6, 7]
 */
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
    hash: toHex(sha256([new Uint8Array(ids.buffer)])),
    read: (start, end) => ids.slice(start, end),
  };
}

/** The document that holds token `position`: the last that begins at or before it and is not empty. */
export function documentAt(offsets: Float64Array, position: number): number {
  let [low, high] = [0, offsets.length - 1]; // offsets[low] <= position < offsets[high]
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (offsets[middle]! <= position) low = middle;
    else high = middle;
  }
  return low;
}

/**
 * The corpus with one more token, such as `<|endoftext|>`, at the end of each document: windows over it may
 * hold parts of several, and the model learns where one ends.
 *
 * @example
 * withSeparators(corpusOf([[5, 6], [7]], 10), 0).read(0, 5); // [5, 6, 0, 7, 0]
 */
export function withSeparators(corpus: TokenCorpus, separatorId: number): TokenCorpus {
  if (!Number.isInteger(separatorId) || separatorId < 0 || separatorId >= corpus.vocabSize)
    throw new Error(
      `withSeparators: id ${separatorId} is outside of the vocabulary, 0 to ${corpus.vocabSize - 1}; ` +
        'add the token to the vocabulary first',
    );
  const offsets = corpus.offsets.map((offset, i) => offset + i);
  return {
    tokens: corpus.tokens + offsets.length - 1,
    offsets,
    vocabSize: corpus.vocabSize,
    hash: toHex(sha256([`${corpus.hash} separated by ${separatorId}`])),
    read(start, end) {
      const ids = new Int32Array(Math.max(end - start, 0)).fill(separatorId);
      for (let at = start; at < end;) {
        const document = documentAt(offsets, at);
        const stop = Math.min(offsets[document + 1]! - 1, end); // where its separator stands
        if (stop > at) ids.set(corpus.read(at - document, stop - document), at - start);
        at = stop + 1;
      }
      return ids;
    },
  };
}
