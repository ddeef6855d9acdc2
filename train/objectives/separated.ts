import { createHash } from 'node:crypto';
import type { TokenCorpus } from '../data/token-corpus.ts';

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
 */
export function withSeparators(corpus: TokenCorpus, separatorId: number): TokenCorpus {
  if (!Number.isInteger(separatorId) || separatorId < 0 || separatorId >= corpus.vocabSize)
    throw new Error(
      `withSeparators: id ${separatorId} is outside of the vocabulary, 0 to ${corpus.vocabSize - 1}; add the token to the vocabulary first`,
    );
  const offsets = corpus.offsets.map((offset, i) => offset + i);
  return {
    tokens: corpus.tokens + offsets.length - 1,
    offsets,
    vocabSize: corpus.vocabSize,
    hash: createHash('sha256').update(`${corpus.hash} separated by ${separatorId}`).digest('hex'),
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
