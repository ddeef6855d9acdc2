import { fixed } from '../../common/printable.ts';
import { bleuTokenizers } from './bleu-tokenizers.ts';
import type { BleuTokenizer } from './bleu-tokenizers.ts';
import { countNgrams, largestCounts, overlapOf, totalOf } from './ngrams.ts';
import { signatureOf, yesNo } from './sacrebleu.ts';
import { checkReferences, checkWhole, trimEnd } from './text.ts';
import type { References } from './text.ts';

/** How a precision of 0 is replaced (Chen and Cherry 2014): not, by method 1, 2 or 3. */
export type BleuSmoothing = 'none' | 'floor' | 'add-k' | 'exp';

export interface BleuOptions {
  /** Default `13a`. */
  readonly tokenize?: BleuTokenizer;
  /** Default false. */
  readonly lowercase?: boolean;
  /** Default `exp`. */
  readonly smoothing?: BleuSmoothing;
  /** What `floor` (default 0.1) and `add-k` (default 1) add. */
  readonly smoothingValue?: number;
  /**
   * Only orders that the hypotheses are long enough for count. Default: false for a corpus, true for a
   * sentence.
   */
  readonly effectiveOrder?: boolean;
  /** Default 4. */
  readonly maxOrder?: number;
}

export interface BleuScore {
  /** 0 to 100. */
  readonly score: number;
  /** Of each order from 1: how many n-grams are in a reference too, with what `add-k` adds. */
  readonly counts: readonly number[];
  /** Of each order from 1: how many n-grams the hypotheses have, with what `add-k` adds. */
  readonly totals: readonly number[];
  /** 100 counts / totals, smoothed. */
  readonly precisions: readonly number[];
  readonly brevityPenalty: number;
  /** Tokens of the hypotheses. */
  readonly hypothesisLength: number;
  /** Tokens of each row's reference that is nearest in length. */
  readonly referenceLength: number;
  /** As sacrebleu writes it: `nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0`. */
  readonly signature: string;
}

/**
 * BLEU of a corpus (Papineni et al. 2002), equal to sacrebleu's `BLEU(...).corpus_score`. `references[i]` is
 * the reference of `hypotheses[i]`, or a list of them: by row, not one list for each reference file as
 * sacrebleu has it. An empty reference counts as a reference of no words.
 *
 * @example
 * corpusBleu(['the cat sat on the mat'], ['the cat sat on a mat']).score; // 53.7285
 */
export function corpusBleu(
  hypotheses: readonly string[],
  references: readonly References[],
  options: BleuOptions = {},
): BleuScore {
  return scoreCorpus('corpusBleu', hypotheses, references, options);
}

/**
 * BLEU of one sentence, equal to sacrebleu's `sentence_bleu`: as of a corpus of one, with effective order.
 *
 * @example
 * sentenceBleu('the cat sat on the mat', 'the cat sat on the mat').score; // 100
 */
export function sentenceBleu(hypothesis: string, references: References, options: BleuOptions = {}): BleuScore {
  return scoreCorpus('sentenceBleu', [hypothesis], [references], { effectiveOrder: true, ...options });
}

const defaultValues: Readonly<Record<BleuSmoothing, number | undefined>> = {
  none: undefined,
  floor: 0.1,
  'add-k': 1,
  exp: undefined,
};

function scoreCorpus(
  op: string,
  hypotheses: readonly string[],
  references: readonly References[],
  options: BleuOptions,
): BleuScore {
  const { tokenize = '13a', lowercase = false, smoothing = 'exp', effectiveOrder = false, maxOrder = 4 } = options;
  const rows = checkReferences(op, hypotheses, references);
  checkWhole(op, 'maxOrder', maxOrder, 1);
  checkName(op, 'tokenize', tokenize, bleuTokenizers);
  checkName(op, 'smoothing', smoothing, defaultValues);
  const value = options.smoothingValue ?? defaultValues[smoothing];
  const toTokens = (text: string): string[] => bleuTokenizers[tokenize](trimEnd(lowercase ? text.toLowerCase() : text));

  const counts = new Array<number>(maxOrder).fill(0);
  const totals = counts.slice();
  let hypothesisLength = 0;
  let referenceLength = 0;
  hypotheses.forEach((hypothesis, row) => {
    const sequences = [hypothesis, ...rows[row]!].map(toTokens);
    const [own, ...others] = countNgrams(sequences, maxOrder);
    for (let n = 0; n < maxOrder; n++) {
      counts[n]! += overlapOf(own![n]!, largestCounts(others.map((orders) => orders[n]!)));
      totals[n]! += totalOf(own![n]!);
    }
    const [length, ...lengths] = sequences.map((tokens) => tokens.length) as [number, ...number[]];
    hypothesisLength += length;
    referenceLength += nearestLength(length, lengths);
  });

  const shown = value === undefined || defaultValues[smoothing] === undefined ? '' : `[${fixed(value, 2)}]`;
  return {
    ...smoothedScore({ counts, totals, hypothesisLength, referenceLength }, { smoothing, value, effectiveOrder }),
    hypothesisLength,
    referenceLength,
    signature: signatureOf(rows, {
      case: lowercase ? 'lc' : 'mixed',
      eff: yesNo(effectiveOrder),
      tok: tokenize,
      smooth: `${smoothing}${shown}`,
    }),
  };
}

interface BleuStatistics {
  readonly counts: readonly number[];
  readonly totals: readonly number[];
  readonly hypothesisLength: number;
  readonly referenceLength: number;
}

function smoothedScore(
  { counts, totals, hypothesisLength, referenceLength }: BleuStatistics,
  { smoothing, value = 0, effectiveOrder }: { smoothing: BleuSmoothing; value?: number; effectiveOrder: boolean },
): Pick<BleuScore, 'score' | 'counts' | 'totals' | 'precisions' | 'brevityPenalty'> {
  const brevityPenalty = brevity(hypothesisLength, referenceLength);
  const precisions = new Array<number>(counts.length).fill(0);
  if (counts.every((count) => count === 0)) return { score: 0, counts, totals, precisions, brevityPenalty };
  const [matched, total] = [counts.slice(), totals.slice()];
  let order = counts.length;
  let halved = 1;
  for (let n = 0; n < counts.length; n++) {
    if (smoothing === 'add-k' && n > 0) {
      matched[n]! += value;
      total[n]! += value;
    }
    if (total[n] === 0) break;
    if (effectiveOrder) order = n + 1;
    if (matched[n] !== 0) precisions[n] = (100 * matched[n]!) / total[n]!;
    else if (smoothing === 'exp') precisions[n] = 100 / ((halved *= 2) * total[n]!);
    else if (smoothing === 'floor') precisions[n] = (100 * value) / total[n]!;
  }
  // sacrebleu's logarithm of 0; its exponential is 0.
  const logs = precisions.slice(0, order).map((p) => (p === 0 ? -9999999999 : Math.log(p)));
  const score = brevityPenalty * Math.exp(logs.reduce((sum, log) => sum + log, 0) / order);
  return { score, counts: matched, totals: total, precisions, brevityPenalty };
}

/** exp(1 - r / h) where hypotheses of h tokens are shorter than references of r; 1 elsewhere. */
function brevity(hypothesisLength: number, referenceLength: number): number {
  if (hypothesisLength >= referenceLength) return 1;
  return hypothesisLength > 0 ? Math.exp(1 - referenceLength / hypothesisLength) : 0;
}

/** The length that is nearest to `length`; of two as near the shorter. */
export function nearestLength(length: number, lengths: readonly number[]): number {
  const distance = (other: number): number => Math.abs(other - length);
  return lengths.reduce((best, other) =>
    distance(other) < distance(best) || (distance(other) === distance(best) && other < best) ? other : best,
  );
}

function checkName(op: string, name: string, value: string, known: Readonly<Record<string, unknown>>): void {
  if (!Object.hasOwn(known, value))
    throw new Error(`${op}: unknown ${name} "${value}"; use ${Object.keys(known).join(', ')}`);
}
