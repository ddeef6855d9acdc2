import type { TokenCorpus } from '../data/token-corpus.ts';
import { Random } from '../../common/random.ts';
import { cutDocuments } from './document-windows.ts';
import type { Rows } from './rows.ts';
import { purposeSeed } from './random-order.ts';
import { checkLength, shuffledPasses } from './windows.ts';

export interface SentencePairOptions {
  /** Tokens of a row: [CLS] A [SEP] B [SEP]. */
  readonly length: number;
  readonly clsTokenId: number;
  readonly sepTokenId: number;
  /** Ids that end a sentence, see `sentenceEnds`. */
  readonly sentenceEnds: ReadonlySet<number>;
  readonly seed: number;
  /** Share of pairs cut to a random length, so that the model also meets short texts; default 0.1. */
  readonly shortProbability?: number;
  /** One pass in order, for evaluation. */
  readonly ordered?: boolean;
}

export interface SentencePair {
  /** [CLS] A [SEP] B [SEP]. */
  readonly ids: Int32Array;
  /** 0 for [CLS] A [SEP], 1 for B [SEP]. */
  readonly types: Int32Array;
  /** 0 where B follows A, 1 where it is of another document; -100 where a batch has no pair. */
  readonly label: number;
}

/** Pairs by number, as `Rows`. */
export interface SentencePairs extends Omit<Rows, 'row'> {
  pair(index: number): SentencePair;
}

/** [CLS] and two [SEP]. */
const BORDERS = 3;

/**
 * Pairs of texts A and B for next-sentence prediction (Devlin et al. 2019, A.2). Pieces of documents that fit
 * a row are cut in two at the end of a sentence, drawn evenly among those in the piece; in half of the pairs
 * B is replaced by as many tokens of another document, drawn evenly, from the beginning of a sentence on. A
 * piece without a sentence's end inside is cut in its middle, and its other B begins anywhere: where B begins
 * does not tell the answer. One in ten pairs is cut short.
 *
 * Unlike BERT's own code this makes each pair from its number alone. Errors: fewer than two documents; a row
 * too short for two texts.
 *
 * @example
 * const ends = sentenceEnds(['[CLS]', '[SEP]', '.', 'a', 'b']);
 * const corpus = corpusOf([[3, 2, 4, 2], [4, 2, 3, 2]], 5);
 * const ids = { clsTokenId: 0, sepTokenId: 1, sentenceEnds: ends };
 * sentencePairs(corpus, { ...ids, length: 16, seed: 0 }).count; // 2
 */
export function sentencePairs(corpus: TokenCorpus, options: SentencePairOptions): SentencePairs {
  const { length, clsTokenId, sepTokenId, sentenceEnds: ends, shortProbability = 0.1, ordered = false } = options;
  checkLength('sentencePairs', corpus, length, 1);
  const body = length - BORDERS;
  if (body < 2)
    throw new Error(`sentencePairs: rows of ${length} tokens have no room for two texts; length must be 5 or more`);
  const others = otherDocuments(corpus);
  const { count, piece } = cutDocuments(corpus, body, 2);
  const order = ordered ? (i: number) => i : shuffledPasses(count, purposeSeed(options.seed, 'pair order'));
  const pairSeed = purposeSeed(options.seed, 'pairs');

  return {
    count,
    length,
    full: false,
    ordered,
    vocabSize: corpus.vocabSize,
    pair(index) {
      const random = new Random(pairSeed, index);
      const { document, start, end } = piece(order(index));
      const room = random.uniform() < shortProbability ? 2 + random.int(body - 1) : body;
      const text = corpus.read(start, Math.min(end, start + room));
      // A piece may begin with the end of a sentence that the piece before it holds: that alone is no text.
      const borders = sentenceStarts(text, ends).filter((at) => text.subarray(0, at).some((id) => !ends.has(id)));
      const border = borders.length > 0 ? borders[random.int(borders.length)]! : text.length >> 1;
      const [a, next] = [text.subarray(0, border), text.subarray(border)];
      const label = random.uniform() < 0.5 ? 0 : 1;
      const b = label === 0 ? next : others(document, next.length, borders.length > 0 ? ends : null, random);
      return {
        ids: Int32Array.of(clsTokenId, ...a, sepTokenId, ...b, sepTokenId),
        types: Int32Array.from({ length: a.length + b.length + BORDERS }, (_, i) => (i < a.length + 2 ? 0 : 1)),
        label,
      };
    },
  };
}

/**
 * Places but the first where a sentence begins: after an ending token and before one that is none ("..." is
 * one end).
 */
function sentenceStarts(text: Int32Array, ends: ReadonlySet<number>): number[] {
  const starts: number[] = [];
  for (let i = 1; i < text.length; i++) if (ends.has(text[i - 1]!) && !ends.has(text[i]!)) starts.push(i);
  return starts;
}

type Draw = (not: number, tokens: number, ends: ReadonlySet<number> | null, random: Random) => Int32Array;

/**
 * Draws tokens of any document but `not`, each as likely: `tokens` of them, or all of a shorter one, from the
 * beginning of a sentence on (the next one after a random place, the document's own where there is none) or,
 * without `ends`, from anywhere.
 */
function otherDocuments(corpus: TokenCorpus): Draw {
  const { offsets } = corpus;
  const sizeOf = (i: number): number => offsets[i + 1]! - offsets[i]!;
  const filled = Int32Array.from(offsets.slice(1).keys()).filter((i) => sizeOf(i) > 0);
  if (filled.length < 2)
    throw new Error(
      `sentencePairs: whether B follows A needs two documents or more, this corpus has ${filled.length}; ` +
        'split the text (chapters, articles, mails), or train on masked tokens alone',
    );
  return (not, tokens, ends, random) => {
    let document = not;
    while (document === not) document = filled[random.int(filled.length)]!;
    const [first, last] = [offsets[document]!, offsets[document]! + Math.max(0, sizeOf(document) - tokens)];
    let start = first + random.int(last - first + 1);
    if (ends && start > first) {
      const next = sentenceStarts(corpus.read(start - 1, Math.min(last + 1, start + 8 * tokens)), ends)[0];
      start = next === undefined ? first : start - 1 + next;
    }
    return corpus.read(start, Math.min(start + tokens, offsets[document + 1]!));
  };
}

/**
 * Ids of tokens that end a sentence, from all tokens in the order of their ids: full stop, exclamation and
 * question mark of several scripts, alone or with closing quotes and brackets. Of byte-level BPE, the ASCII
 * ones. Error: there is none.
 *
 * @example
 * sentenceEnds(['hello', '.', '!']); // [1, 2]
 */
export function sentenceEnds(tokens: readonly string[]): ReadonlySet<number> {
  const ending = /^(##|Ġ)?[.!?。！？｡．…؟۔।॥]+["'’”»)\]」』]*$/u;
  const ends = new Set([...tokens.keys()].filter((id) => ending.test(tokens[id]!)));
  if (ends.size === 0)
    throw new Error(`sentenceEnds: none of the ${tokens.length} tokens ends a sentence; name such ids yourself`);
  return ends;
}
