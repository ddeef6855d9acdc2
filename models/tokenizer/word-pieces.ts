import type { AddedToken } from './added-tokens.ts';
import { AddedTokenMatcher } from './added-tokens.ts';
import type { AlignedText } from './aligned-text.ts';
import { alignOriginal } from './aligned-text.ts';
import type { BertNormalizerOptions } from './bert-normalizer.ts';
import { normalizeBert } from './bert-normalizer.ts';
import { BoundedCache } from './bounded-cache.ts';
import { IdList } from './id-list.ts';

/** The tokens of one text, without special tokens added around it; all lists have one element for each token. */
export interface Pieces {
  ids: number[];
  /** [start, end) in UTF-16 units of the original text. */
  starts: number[];
  ends: number[];
  /** Which word of the text the token belongs to, counted from 0. */
  words: number[];
}

/** What is used of the WordPiece model of @huggingface/tokenizers (its own types do not resolve under NodeNext). */
export interface WordPieceModel {
  encode(words: string[]): string[];
  tokens_to_ids: Map<string, number>;
  /** The token of each id. */
  vocab: string[];
  unk_token: string;
}

// A word is a run without white space and punctuation; every punctuation character is a word of its own (BERT's
// pre-tokeniser). All ASCII symbols count as punctuation, also those Unicode calls symbols ($ + < = > ^ ` | ~).
export const BERT_WORD = /[^\p{White_Space}\p{P}$+<=>^`|~]+|[\p{P}$+<=>^`|~]/gu;

/** Texts may be cut into these, for no rule of BERT's reaches across the white space between them. */
export const WHITE_SPACE_PART = /[^ \t\r\n]+/g;

// Words seen before are not looked up again.
const MAX_CACHED_WORDS = 50_000;
const MAX_CACHED_LENGTH = 100;

interface WordEncoding {
  ids: number[];
  /** UTF-16 units of the normalised word each token covers. */
  lengths: number[];
}

/** Text to WordPiece tokens with their places in the original; the WordPiece model is that of @huggingface/tokenizers. */
export class WordPieceEncoder {
  private readonly model: WordPieceModel;
  private readonly prefix: string;
  private readonly normalizer: BertNormalizerOptions | null;
  private readonly rawMatcher: AddedTokenMatcher;
  private readonly normalizedMatcher: AddedTokenMatcher;
  private readonly cache = new BoundedCache<WordEncoding>(MAX_CACHED_WORDS);
  private readonly idsCache = new BoundedCache<readonly number[]>(MAX_CACHED_WORDS);
  private readonly splitsAtSpaces: boolean;

  /** `normalizer` null leaves texts as they are; `prefix` marks tokens that continue a word ("##"). */
  constructor(
    model: WordPieceModel,
    prefix: string,
    normalizer: BertNormalizerOptions | null,
    addedTokens: readonly AddedToken[],
  ) {
    this.model = model;
    this.prefix = prefix;
    this.normalizer = normalizer;
    this.rawMatcher = new AddedTokenMatcher(addedTokens.filter((token) => !token.normalized));
    // An added token may reach over white space or look at what stands beside it.
    this.splitsAtSpaces = !addedTokens.some(
      ({ content, single_word, lstrip, rstrip }) => /\s/.test(content) || single_word || lstrip || rstrip,
    );
    const normalized = addedTokens.filter((token) => token.normalized);
    const contents = normalized.map(({ content }) => this.normalize(alignOriginal(content)).text);
    this.normalizedMatcher = new AddedTokenMatcher(normalized, contents);
  }

  encode(text: string): Pieces {
    const pieces: Pieces = { ids: [], starts: [], ends: [], words: [] };
    let word = 0;
    const push = (id: number, { starts, ends }: AlignedText, start: number, stop: number): void => {
      pieces.ids.push(id);
      pieces.starts.push(starts[start]!);
      pieces.ends.push(ends[stop - 1]!);
      pieces.words.push(word);
    };
    for (const raw of this.rawMatcher.split(alignOriginal(text))) {
      const segments = raw.token ? [raw] : this.normalizedMatcher.split(this.normalize(raw.aligned));
      for (const { aligned, token } of segments) {
        if (token) {
          push(token.id, aligned, 0, aligned.text.length);
          word++;
          continue;
        }
        for (const match of aligned.text.matchAll(BERT_WORD)) {
          const { ids, lengths } = this.encodeWord(match[0]);
          let position = match.index;
          for (const [index, id] of ids.entries()) {
            push(id, aligned, position, position + lengths[index]!);
            position += lengths[index]!;
          }
          word++;
        }
      }
    }
    return pieces;
  }

  /** The ids alone. Texts are cut at white space, and parts seen before are not encoded again. */
  ids(text: string): Int32Array {
    if (!this.splitsAtSpaces) return Int32Array.from(this.encode(text).ids);
    const ids = new IdList();
    for (const part of text.match(WHITE_SPACE_PART) ?? []) {
      let known = this.idsCache.get(part);
      if (!known) {
        known = this.encode(part).ids;
        if (part.length <= MAX_CACHED_LENGTH) this.idsCache.set(part, known);
      }
      ids.pushAll(known);
    }
    return ids.toArray();
  }

  private normalize(aligned: AlignedText): AlignedText {
    return this.normalizer ? normalizeBert(aligned, this.normalizer) : aligned;
  }

  private encodeWord(word: string): WordEncoding {
    const known = this.cache.get(word);
    if (known) return known;
    const tokens = this.model.encode([word]);
    const lengths = tokens.map((token, index) => token.length - (index > 0 ? this.prefix.length : 0));
    const covered = lengths.reduce((sum, length) => sum + length, 0);
    const ids = tokens.map((token) => this.model.tokens_to_ids.get(token)!);
    // The unknown token stands for the whole word, whatever its own length.
    const isUnknown = tokens.length === 1 && tokens[0] === this.model.unk_token;
    if (!isUnknown && covered !== word.length) throw new Error(`WordPiece covered ${covered} units of "${word}"`);
    const encoding = { ids, lengths: isUnknown ? [word.length] : lengths };
    if (word.length <= MAX_CACHED_LENGTH) this.cache.set(word, encoding);
    return encoding;
  }
}
