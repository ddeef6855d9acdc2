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

/** Of so many documents, or of the characters of a long one, one part is held out. */
const PART = 20;
/** Documents from this length on, in characters, give their end instead of every twentieth document. */
const LONG = 200_000;
/** Held-out texts are kept in memory: no more characters than this. */
const LIMIT = 4_000_000;

/** Texts that a tokenizer is not trained on, to measure it by. */
export class HeldOut {
  readonly texts: string[] = [];
  private characters = 0;
  private documents = 0;

  /**
   * Passes on what to train on, and keeps the rest: every twentieth document, of long ones the last
   * twentieth.
   */
  async *training(texts: AsyncIterable<string>): AsyncGenerator<string> {
    for await (const text of texts) {
      if (this.characters >= LIMIT) yield text;
      else if (text.length >= LONG) {
        const end = text.lastIndexOf('\n', text.length - text.length / PART) + 1 || text.length;
        this.keep(text.slice(end));
        yield text.slice(0, end);
      } else if (this.documents++ % PART === PART - 1) this.keep(text);
      else yield text;
    }
  }

  private keep(text: string): void {
    const kept = text.slice(0, LIMIT - this.characters);
    if (kept === '') return;
    this.texts.push(kept);
    this.characters += kept.length;
  }
}
