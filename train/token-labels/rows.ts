import { BertTokenizer } from '../../models/index.ts';
import type { AnyTokenizer } from '../../models/index.ts';
import type { TokenRow } from '../../models/pipelines/rows.ts';
import { ignoredLabel } from '../../models/nn/token-loss.ts';
import type { EncodedArrays } from '../../models/tokenizer/encode.ts';
import type { TaggedText } from './data.ts';
import type { Place } from './read.ts';

/** A text, or a part of it, as a model reads it; the arrays have one element for each token. */
export interface LabelledRow extends TokenRow {
  /** Number of its text. */
  readonly text: number;
  /** Number of the word whose label is on this token, -1 where there is none. */
  readonly words: Int32Array;
  /** Its label's number; -100 for a token that does not count. */
  readonly labels: Int32Array;
}

export interface RowLengths {
  /** Tokens of a row, special ones included. */
  readonly maxLength: number;
  /** Tokens that the parts of a longer text share. */
  readonly stride: number;
}

export interface LabelledRows {
  readonly rows: readonly LabelledRow[];
  /** Words of which the tokenizer leaves nothing, such as a zero-width space: no token has their label. */
  readonly vanished: number;
}

/**
 * Texts as rows of tokens. A word's first piece has its label and the others none, as in Transformers'
 * run_ner; of the parts of a long text that share a word, it is the one where most stands around it.
 */
export function labelledRows(
  tokenizer: AnyTokenizer,
  texts: readonly Pick<TaggedText, 'text' | 'words' | 'tags'>[],
  labels: readonly string[],
  { maxLength, stride }: RowLengths,
): LabelledRows {
  const numberOf = new Map(labels.map((label, i) => [label, i]));
  let vanished = 0;
  const rows = texts.flatMap(({ text, words, tags }, number): LabelledRow[] => {
    const options = {
      ...{ truncation: true, maxLength, stride, returnOverflowingTokens: true, padding: true },
      ...{ returnOffsets: true, returnWordIds: true, returnSequenceIds: true },
    };
    // Others than BERT's tokenizer see what stands before a word, such as a space.
    const isWhole = !(tokenizer instanceof BertTokenizer);
    const encoded = isWhole
      ? tokenizer.encodeToArrays([text], options)
      : tokenizer.encodeToArrays([words.map(({ start, end }) => text.slice(start, end))], {
          ...options,
          isSplitIntoWords: true,
        });
    const wordIds = isWhole ? wordsAt(encoded, text, words) : encoded.wordIds!;
    const width = encoded.shape[1];
    const parts = Array.from({ length: encoded.shape[0] }, (_, part) => {
      const from = part * width;
      const length = encoded.attentionMask.subarray(from, from + width).reduce((sum, each) => sum + each, 0);
      return {
        inputIds: encoded.inputIds.slice(from, from + length),
        tokenTypeIds: encoded.tokenTypeIds.slice(from, from + length),
        wordIds: wordIds.subarray(from, from + length),
      };
    });
    const places = placesOfWords(parts.map(({ wordIds }) => wordIds));
    vanished += words.length - places.size;
    const made = parts.map(({ inputIds, tokenTypeIds }) => ({
      text: number,
      inputIds,
      tokenTypeIds,
      words: new Int32Array(inputIds.length).fill(-1),
      labels: new Int32Array(inputIds.length).fill(ignoredLabel),
    }));
    for (const [word, { part, token }] of places) {
      made[part]!.words[token] = word;
      made[part]!.labels[token] = numberOf.get(tags[word]!)!;
    }
    return made;
  });
  return { rows, vanished };
}

/**
 * For each token of a whole text the word that its first character belongs to, spaces left out; -1 for none.
 */
function wordsAt({ offsets, sequenceIds }: EncodedArrays, text: string, words: readonly Place[]): Int32Array {
  return sequenceIds!.map((sequence, i) => {
    if (sequence < 0) return -1;
    let start = offsets![2 * i]!;
    const end = offsets![2 * i + 1]!;
    while (start < end && /\s/u.test(text[start]!)) start++;
    const word = words.findIndex((place) => place.end > start);
    return word >= 0 && words[word]!.start < end && start < end ? word : -1;
  });
}

/**
 * Where the first piece of each word stands: of several parts, in the one where it is farthest from an end.
 */
function placesOfWords(parts: readonly Int32Array[]): Map<number, { readonly part: number; readonly token: number }> {
  const places = new Map<number, { part: number; token: number; around: number }>();
  parts.forEach((wordIds, part) =>
    wordIds.forEach((word, token) => {
      if (word === -1 || word === wordIds[token - 1]) return;
      const around = Math.min(token, wordIds.length - 1 - token);
      const known = places.get(word);
      // What a part begins with may be the rest of a word whose first piece the part before has.
      if (known && (token === 1 || known.around >= around)) return;
      places.set(word, { part, token, around });
    }),
  );
  return places;
}
