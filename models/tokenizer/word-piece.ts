/** Tokens of a piece of text: token i stands at [starts[i], ends[i]) of it, in UTF-16 units. */
export interface PieceTokens {
  readonly ids: readonly number[];
  readonly starts: readonly number[];
  readonly ends: readonly number[];
  /** The texts that tokens stand for, where the vocabulary does not say them. */
  readonly texts?: readonly (string | undefined)[];
}

/** A word as tokens. */
export interface WordEncoding {
  readonly ids: readonly number[];
  /** UTF-16 units of the word that each token covers. */
  readonly lengths: readonly number[];
}

/**
 * WordPiece (Schuster and Nakajima 2012, "Japanese and Korean voice search"): from left to right, the longest
 * token that fits.
 */
export class WordPiece {
  private readonly vocab: ReadonlyMap<string, number>;
  private readonly unknown: string;
  private readonly prefix: string;
  private readonly longest: number;

  /**
   * Tokens that continue a word begin with `prefix`; words of more than `longest` characters, and those that
   * cannot be covered, are the token `unknown`.
   */
  constructor(vocab: ReadonlyMap<string, number>, unknown: string, prefix: string, longest: number) {
    this.vocab = vocab;
    this.unknown = unknown;
    this.prefix = prefix;
    this.longest = longest;
  }

  /** Error, one line: the word is unknown, and there is no token for that. */
  encode(word: string): WordEncoding {
    const ids: number[] = [];
    const lengths: number[] = [];
    const unknown = (): WordEncoding => ({
      ids: [unknownId(this.vocab, this.unknown, word)],
      lengths: [word.length],
    });
    if (word.length > this.longest && Array.from(word).length > this.longest) return unknown();
    for (let start = 0; start < word.length;) {
      let end = word.length;
      let id: number | undefined;
      while (end > start && id === undefined) {
        const piece = word.slice(start, end);
        id = this.vocab.get(start > 0 ? this.prefix + piece : piece);
        if (id === undefined) end -= isLow(word.charCodeAt(end - 1)) ? 2 : 1;
      }
      if (id === undefined) return unknown();
      ids.push(id);
      lengths.push(end - start);
      start = end;
    }
    return { ids, lengths };
  }
}

const isLow = (unit: number): boolean => unit >= 0xdc00 && unit <= 0xdfff;

/** The id of the token for what is unknown. Error, one line: there is none. */
export function unknownId(vocab: ReadonlyMap<string, number>, unknown: string | null, word: string): number {
  const id = unknown === null ? undefined : vocab.get(unknown);
  if (id === undefined)
    throw new Error(
      `${JSON.stringify(word.slice(0, 40))} is not in the vocabulary, and there is no token for unknown ones` +
        (unknown === null ? '' : ` ("${unknown}")`),
    );
  return id;
}
