import type { TokenCorpus } from '../data/token-corpus.ts';
import { Random } from '../../common/random.ts';
import { permutation, purposeSeed } from './random-order.ts';
import type { Rows } from './rows.ts';

export interface WindowOptions {
  /** Tokens of a window. */
  readonly length: number;
  /**
   * Windows in random order, another one each pass, without end. Without a seed: one pass in order, nothing
   * left out, for evaluation.
   */
  readonly seed?: number;
}

/**
 * Windows that begin anywhere, drawn with replacement, as nanoGPT draws them: row i is a pure function of
 * (seed, i). Documents run into one another: see `withSeparators`. Error: a corpus shorter than one window.
 *
 * @example
 * randomWindows(corpusOf([[1, 2, 3, 4, 5, 6]], 10), { length: 2, seed: 0 }).row(0).length; // 2
 */
export function randomWindows(corpus: TokenCorpus, { length, seed }: Required<WindowOptions>): Rows {
  checkLength('randomWindows', corpus, length, length);
  const starts = corpus.tokens - length + 1;
  const windowSeed = purposeSeed(seed, 'random windows');
  return {
    count: Math.max(1, Math.floor(corpus.tokens / length)),
    length,
    full: true,
    ordered: false,
    vocabSize: corpus.vocabSize,
    row(index) {
      // 48 random bits: a corpus may have more tokens than one word can number.
      const random = new Random(windowSeed, index);
      const start = Math.floor(((random.nextU32() * 2 ** 16 + (random.nextU32() >>> 16)) / 2 ** 48) * starts);
      return corpus.read(start, start + length);
    },
  };
}

/**
 * The corpus cut into windows that lie side by side, each once a pass, in an order and from a beginning that
 * differ from pass to pass (the tokens that fill no window are left out at the one end or the other).
 * `overlap` tokens of each are those that the one before ended with: with 1, each token but the first is once
 * the next token to predict. Without a seed the last window may be shorter. Errors: a corpus shorter than one
 * window; an overlap as long as a window.
 *
 * @example
 * blockWindows(corpusOf([[1, 2, 3, 4, 5, 6]], 10), { length: 2 }).row(0); // [1, 2]
 */
export function blockWindows(
  corpus: TokenCorpus,
  { length, seed, overlap = 0 }: WindowOptions & { readonly overlap?: number },
): Rows {
  if (!Number.isInteger(overlap) || overlap < 0 || overlap >= length)
    throw new Error(`blockWindows: overlap must be a whole number below the window's ${length} tokens, got ${overlap}`);
  const stride = length - overlap;
  const common = { length, vocabSize: corpus.vocabSize };
  if (seed === undefined) {
    checkLength('blockWindows', corpus, length, overlap + 1);
    return {
      ...common,
      count: Math.ceil((corpus.tokens - overlap) / stride),
      full: false,
      ordered: true,
      row: (index) => corpus.read(index * stride, Math.min(index * stride + length, corpus.tokens)),
    };
  }
  checkLength('blockWindows', corpus, length, length);
  const count = Math.floor((corpus.tokens - overlap) / stride);
  const slack = corpus.tokens - overlap - count * stride;
  const order = shuffledPasses(count, purposeSeed(seed, 'window order'));
  const shiftSeed = purposeSeed(seed, 'window shift');
  return {
    ...common,
    count,
    full: true,
    ordered: false,
    row(index) {
      const shift = new Random(shiftSeed, Math.floor(index / count)).int(slack + 1);
      const start = order(index) * stride + shift;
      return corpus.read(start, start + length);
    },
  };
}

/** Item number `index` of endless passes over `count` items, each pass in a random order of its own. */
export function shuffledPasses(count: number, seed: number): (index: number) => number {
  // Rows are mostly asked for in order; which pass was last asked for changes no answer.
  let [pass, order] = [0, permutation(count, seed, 0)];
  return (index) => {
    const asked = Math.floor(index / count);
    if (asked !== pass) [pass, order] = [asked, permutation(count, seed, asked)];
    return order(index % count);
  };
}

export function checkLength(where: string, { tokens }: TokenCorpus, length: number, least: number): void {
  if (!Number.isInteger(length) || length < 2)
    throw new Error(`${where}: length must be a whole number from 2 up, got ${length}`);
  if (tokens >= least) return;
  throw new Error(
    `${where}: the corpus has ${tokens} tokens, but ${least} are needed for windows of ${length}; ` +
      'give more text or a smaller length',
  );
}
