import type { AnyTokenizer } from '../../models/index.ts';

/** How a tokenizer does on texts. */
export interface TokenizerFacts {
  readonly bytes: number;
  /** Runs without white space. */
  readonly words: number;
  readonly tokens: number;
  readonly tokensPerWord: number;
  readonly bytesPerToken: number;
  /** Share of the tokens that stand for what is unknown. */
  readonly unknown: number;
  /** Share of the vocabulary that occurs. */
  readonly used: number;
}

export function tokenizerFacts(tokenizer: AnyTokenizer, texts: readonly string[]): TokenizerFacts {
  let [bytes, words, tokens, unknown] = [0, 0, 0, 0];
  const used = new Set<number>();
  for (const text of texts) {
    const ids = tokenizer.idsOf(text);
    bytes += Buffer.byteLength(text);
    words += text.match(/\S+/g)?.length ?? 0;
    tokens += ids.length;
    for (const id of ids) {
      used.add(id);
      if (id === tokenizer.unkTokenId) unknown++;
    }
  }
  return {
    bytes,
    words,
    tokens,
    tokensPerWord: tokens / words,
    bytesPerToken: bytes / tokens,
    unknown: unknown / tokens,
    used: used.size / tokenizer.vocabSize,
  };
}

/**
 * The longest pieces as they are written in text, the longest first; of equal ones the earlier made. Special
 * tokens are left out.
 */
export function longestPieces(tokenizer: AnyTokenizer, count: number): string[] {
  const pieces: string[] = [];
  for (let id = 0; id < tokenizer.vocabSize; id++) {
    if (tokenizer.idToToken(id) === undefined || tokenizer.specialTokenIds.has(id)) continue;
    pieces.push(tokenizer.decode([id]));
  }
  const length = new Map(pieces.map((piece) => [piece, [...piece].length]));
  return [...length.keys()].sort((a, b) => length.get(b)! - length.get(a)!).slice(0, count);
}
