import type { AddedToken } from './added-tokens.ts';
import { AddedTokenMatcher, normalizedContents } from './added-tokens.ts';
import type { AlignedText, BertNormalizerOptions } from './bert-normalizer.ts';
import { alignOriginal, normalizeBert } from './bert-normalizer.ts';
import { BoundedCache, IdList } from '../../common/collections.ts';
import { wellFormed } from './normalizers.ts';
import { BERT_WORD } from './punctuation.ts';
import type { WordEncoding, WordPiece } from './word-piece.ts';

/** How many spaces a token begins and ends with. */
export interface Margins {
  readonly before: number;
  readonly after: number;
  /** The text that it stands in. */
  readonly text: string;
}

// The space of byte-level vocabularies counts as one.
const MARGIN = /^[Ġ\p{White_Space}]/u;

export function marginsOf(token: string, text: string): Margins {
  const chars = Array.from(token);
  const first = chars.findIndex((char) => !MARGIN.test(char));
  if (first < 0) return { before: chars.length, after: chars.length, text };
  return { before: first, after: chars.length - 1 - chars.findLastIndex((char) => !MARGIN.test(char)), text };
}

/**
 * The tokens of one text, without special tokens added around it; all lists have one element for each token.
 */
export interface Pieces {
  ids: number[];
  /** [start, end) in UTF-16 units of the original text. */
  starts: number[];
  ends: number[];
  /** Which word of the text the token belongs to, counted from 0. */
  words: number[];
  /** The spaces of each token, where the post-processor cuts them off its place. */
  margins?: Margins[];
}

/**
 * Texts may be cut into these, for no rule of BERT's reaches across the white space between them or across
 * ASCII punctuation: each such character is a word of its own, and decomposing joins nothing.
 */
export const BERT_PART = /[^ \t\r\n!-/:-@[-`{-~]+|[!-/:-@[-`{-~]/g;

// Words seen before are not looked up again.
const MAX_CACHED_WORDS = 100_000;
const MAX_CACHED_LENGTH = 100;

/** Text to WordPiece tokens with their places in the original. */
export class WordPieceEncoder {
  private readonly model: WordPiece;
  private readonly normalizer: BertNormalizerOptions | null;
  /** What the normalised among the added tokens are looked for as. */
  readonly normalizedTokens: ReadonlyMap<AddedToken, string>;
  private readonly rawMatcher: AddedTokenMatcher;
  private readonly normalizedMatcher: AddedTokenMatcher;
  private readonly cache = new BoundedCache<WordEncoding>(MAX_CACHED_WORDS);
  private readonly idsCache = new BoundedCache<readonly number[]>(MAX_CACHED_WORDS);

  /** `normalizer` null leaves texts as they are; `where` names the file in errors. */
  constructor(
    model: WordPiece,
    normalizer: BertNormalizerOptions | null,
    addedTokens: readonly AddedToken[],
    where: string,
  ) {
    this.model = model;
    this.normalizer = normalizer;
    this.rawMatcher = new AddedTokenMatcher(addedTokens.filter((token) => !token.normalized));
    this.normalizedTokens = normalizedContents(addedTokens, (text) => this.normalize(alignOriginal(text)).text, where);
    const { normalizedTokens } = this;
    this.normalizedMatcher = new AddedTokenMatcher([...normalizedTokens.keys()], [...normalizedTokens.values()]);
  }

  /** `tokenOf`, where given, is the token of an id, and the margins of all are asked for. */
  encode(text: string, tokenOf?: (id: number) => string): Pieces {
    const margins: Margins[] = [];
    const pieces: Pieces = { ids: [], starts: [], ends: [], words: [], ...(tokenOf ? { margins } : {}) };
    let word = 0;
    const push = (id: number, { starts, ends }: AlignedText, start: number, stop: number): void => {
      pieces.ids.push(id);
      pieces.starts.push(starts[start]!);
      pieces.ends.push(ends[stop - 1]!);
      pieces.words.push(word);
    };
    for (const raw of this.rawMatcher.split(alignOriginal(wellFormed(text)))) {
      const segments = raw.token ? [raw] : this.normalizedMatcher.split(this.normalize(raw.aligned));
      for (const { aligned, token } of segments) {
        if (token) {
          push(token.id, aligned, 0, aligned.text.length);
          if (tokenOf) margins.push(marginsOf(aligned.text, text));
          word++;
          continue;
        }
        for (const match of aligned.text.matchAll(BERT_WORD)) {
          const { ids, lengths } = this.encodeWord(match[0]);
          let position = match.index;
          for (const [index, id] of ids.entries()) {
            push(id, aligned, position, position + lengths[index]!);
            position += lengths[index]!;
            if (tokenOf) margins.push(marginsOf(tokenOf(id), text));
          }
          word++;
        }
      }
    }
    return pieces;
  }

  /** The ids alone. Parts seen before are not encoded again. */
  ids(text: string): Int32Array {
    // A token that is looked for in normalised text may reach across parts.
    if (this.normalizedTokens.size > 0) return Int32Array.from(this.encode(text).ids);
    const ids = new IdList();
    const whole = wellFormed(text);
    for (const { start, stop, token } of this.rawMatcher.spans(whole)) {
      if (token) ids.push(token.id);
      else for (const part of whole.slice(start, stop).match(BERT_PART) ?? []) ids.pushAll(this.idsOfPart(part));
    }
    return ids.toArray();
  }

  private idsOfPart(part: string): readonly number[] {
    const known = this.idsCache.get(part);
    if (known) return known;
    // Added tokens are not looked for: whether one is a single word can only be seen in the whole text.
    const words = this.normalize(alignOriginal(part)).text.match(BERT_WORD) ?? [];
    const ids = words.flatMap((word) => this.encodeWord(word).ids);
    if (part.length <= MAX_CACHED_LENGTH) this.idsCache.set(part, ids);
    return ids;
  }

  private normalize(aligned: AlignedText): AlignedText {
    return this.normalizer ? normalizeBert(aligned, this.normalizer) : aligned;
  }

  private encodeWord(word: string): WordEncoding {
    const known = this.cache.get(word);
    if (known) return known;
    const encoding = this.model.encode(word);
    if (word.length <= MAX_CACHED_LENGTH) this.cache.set(word, encoding);
    return encoding;
  }
}
