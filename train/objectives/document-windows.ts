import type { TokenCorpus } from '../data/token-corpus.ts';
import { documentAt } from '../data/token-corpus.ts';
import type { Rows } from './rows.ts';
import { purposeSeed } from './random-order.ts';
import { checkLength, shuffledPasses } from './windows.ts';
import type { WindowOptions } from './windows.ts';

/** A part of one document: tokens `start` up to `end` of the corpus. */
export interface Piece {
  readonly document: number;
  readonly start: number;
  readonly end: number;
}

/**
 * The documents cut into pieces of at most `length` tokens, as few as can be and of equal length in each (to
 * one token), so that none is a scrap.
 */
export interface Pieces {
  readonly count: number;
  piece(number: number): Piece;
}

/** Documents shorter than `least` tokens are left out. Error: nothing is left. */
export function cutDocuments({ offsets }: TokenCorpus, length: number, least = 1): Pieces {
  const documents = offsets.length - 1;
  const firsts = new Float64Array(documents + 1); // pieces before each document
  for (let i = 0; i < documents; i++) {
    const tokens = offsets[i + 1]! - offsets[i]!;
    firsts[i + 1] = firsts[i]! + (tokens < least ? 0 : Math.ceil(tokens / length));
  }
  const count = firsts[documents]!;
  if (count === 0)
    throw new Error(
      `documentWindows: none of the ${documents} documents has ${least} tokens or more; ` +
        'give longer text or pack documents together',
    );
  return {
    count,
    piece(number) {
      const document = documentAt(firsts, number);
      const [start, tokens] = [offsets[document]!, offsets[document + 1]! - offsets[document]!];
      const pieces = firsts[document + 1]! - firsts[document]!;
      const part = number - firsts[document]!;
      const border = (i: number): number => start + Math.floor((i * tokens) / pieces);
      return { document, start: border(part), end: border(part + 1) };
    },
  };
}

/**
 * Windows within documents: no row has tokens of two. Each document is cut into pieces of at most `length`
 * tokens and equal among themselves, each once a pass, shuffled where a seed is given. Short ones are padded
 * in batches: for many short documents `blockWindows` over `withSeparators` wastes nothing.
 *
 * @example
 * documentWindows(corpusOf([[1, 2, 3], [4]], 10), { length: 2 }).count; // 3
 */
export function documentWindows(corpus: TokenCorpus, { length, seed }: WindowOptions): Rows {
  checkLength('documentWindows', corpus, length, 1);
  const { count, piece } = cutDocuments(corpus, length);
  const order =
    seed === undefined ? (index: number) => index : shuffledPasses(count, purposeSeed(seed, 'document order'));
  return {
    count,
    length,
    full: false,
    ordered: seed === undefined,
    vocabSize: corpus.vocabSize,
    row(index) {
      const { start, end } = piece(order(index));
      return corpus.read(start, end);
    },
  };
}

/**
 * Rows with further tokens around them, which make them longer: [CLS] before, [SEP] after.
 *
 * @example
 * const rows = documentWindows(corpusOf([[1, 2]], 10), { length: 2 });
 * wrapRows(rows, { before: [8], after: [9] }).row(0); // [8, 1, 2, 9]
 */
export function wrapRows(
  rows: Rows,
  { before = [], after = [] }: { readonly before?: readonly number[]; readonly after?: readonly number[] },
): Rows {
  return {
    ...rows,
    length: rows.length + before.length + after.length,
    row: (index) => Int32Array.of(...before, ...rows.row(index), ...after),
  };
}
