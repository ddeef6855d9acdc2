import { countNgrams, overlapOf, totalOf } from './ngrams.ts';
import type { NgramCounts } from './ngrams.ts';
import { signatureOf, yesNo } from './sacrebleu.ts';
import { checkReferences, checkWhole, splitWords } from './text.ts';
import type { References } from './text.ts';

export interface ChrfOptions {
  /** The largest order of character n-grams; default 6. */
  readonly charOrder?: number;
  /** The largest order of word n-grams: 0 (default) for chrF, 1 for chrF+, 2 for chrF++. */
  readonly wordOrder?: number;
  /** How often recall weighs as much as precision; default 2. */
  readonly beta?: number;
  /** Default false. */
  readonly lowercase?: boolean;
  /** Whether white space is part of character n-grams; default false. */
  readonly whitespace?: boolean;
  /**
   * Averages F over all orders, with 1e-16 for what is 0 (chrF++.py, NLTK, Moses); default false: over those
   * that occur.
   */
  readonly epsSmoothing?: boolean;
}

export interface ChrfScore {
  /** 0 to 100. */
  readonly score: number;
  /** `chrF2`, `chrF2++`, ... */
  readonly name: string;
  /** As sacrebleu writes it: `nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.6.0`. */
  readonly signature: string;
}

/**
 * chrF (Popović 2015) and chrF++ (2017) of a corpus, equal to sacrebleu's `CHRF(...).corpus_score`: the
 * F-score of character n-grams, and of word n-grams, summed over rows. Of several references the one of the
 * best score counts. `references[i]` is the reference of `hypotheses[i]`, or a list of them.
 *
 * @example
 * corpusChrf(['the cat'], ['the cat']).score; // 100
 */
export function corpusChrf(
  hypotheses: readonly string[],
  references: readonly References[],
  options: ChrfOptions = {},
): ChrfScore {
  return scoreCorpus('corpusChrf', hypotheses, references, options);
}

/**
 * chrF of one sentence, equal to sacrebleu's `sentence_chrf`: as of a corpus of one.
 *
 * @example
 * sentenceChrf('the cat', 'the hat').score; // 28.0556
 */
export function sentenceChrf(hypothesis: string, references: References, options: ChrfOptions = {}): ChrfScore {
  return scoreCorpus('sentenceChrf', [hypothesis], [references], options);
}

/** Of one order: n-grams of the hypothesis, of the reference, and those that are in both. */
type Matches = readonly [hypothesis: number, reference: number, both: number];

function scoreCorpus(
  op: string,
  hypotheses: readonly string[],
  references: readonly References[],
  options: ChrfOptions,
): ChrfScore {
  const {
    charOrder = 6,
    wordOrder = 0,
    beta = 2,
    lowercase = false,
    whitespace = false,
    epsSmoothing = false,
  } = options;
  const rows = checkReferences(op, hypotheses, references);
  checkWhole(op, 'charOrder', charOrder, 0);
  checkWhole(op, 'wordOrder', wordOrder, 0);
  checkWhole(op, 'beta', beta, 0);
  if (charOrder + wordOrder === 0) throw new Error(`${op}: charOrder and wordOrder are 0; one must be at least 1`);
  const scoreOf = (matches: readonly Matches[]): number => fScore(matches, beta, epsSmoothing);
  const cased = (text: string): string => (lowercase ? text.toLowerCase() : text);

  let sums: readonly Matches[] | undefined;
  hypotheses.forEach((hypothesis, row) => {
    const texts = [hypothesis, ...rows[row]!].map(cased);
    const characters = texts.map((text) => Array.from(whitespace ? text : splitWords(text).join('')));
    const orders = countNgrams(characters, charOrder);
    if (wordOrder > 0) countNgrams(texts.map(splitEdges), wordOrder).forEach((words, i) => orders[i]!.push(...words));
    const [own, ...others] = orders as [NgramCounts[], ...NgramCounts[][]];
    const candidates = others.map((other) => other.map((counts, n) => matchesOf(own[n]!, counts)));
    const best = candidates.reduce((a, b) => (scoreOf(b) > scoreOf(a) ? b : a));
    sums = sums === undefined ? best : sums.map(([h, r, m], n) => [h + best[n]![0], r + best[n]![1], m + best[n]![2]]);
  });
  return {
    score: scoreOf(sums!),
    name: `chrF${beta}${'+'.repeat(wordOrder)}`,
    signature: signatureOf(rows, {
      case: lowercase ? 'lc' : 'mixed',
      eff: yesNo(!epsSmoothing),
      nc: String(charOrder),
      nw: String(wordOrder),
      space: yesNo(whitespace),
    }),
  };
}

/** An order that the reference is too short for does not count against the hypothesis. */
function matchesOf(hypothesis: NgramCounts, reference: NgramCounts): Matches {
  return [reference.size > 0 ? totalOf(hypothesis) : 0, totalOf(reference), overlapOf(hypothesis, reference)];
}

/** F-beta of each order's counts, times 100. */
function fScore(matches: readonly Matches[], beta: number, epsSmoothing: boolean): number {
  const epsilon = 1e-16;
  const factor = beta ** 2;
  let [sum, precisions, recalls, orders] = [0, 0, 0, 0];
  for (const [hypothesis, reference, both] of matches) {
    const precision = hypothesis > 0 ? both / hypothesis : epsilon;
    const recall = reference > 0 ? both / reference : epsilon;
    const denominator = factor * precision + recall;
    sum += denominator > 0 ? ((1 + factor) * precision * recall) / denominator : epsilon;
    if (hypothesis === 0 || reference === 0) continue;
    precisions += precision;
    recalls += recall;
    orders++;
  }
  if (epsSmoothing) return (100 * sum) / matches.length;
  if (precisions + recalls === 0) return 0;
  const [precision, recall] = [precisions / orders, recalls / orders];
  return (100 * ((1 + factor) * precision * recall)) / (factor * precision + recall);
}

const punctuation = /[!-/:-@[-`{-~]/;

/** Words, the punctuation mark at their end, else at their start, apart: `(hi)` gives `(hi` and `)`. */
function splitEdges(text: string): string[] {
  return splitWords(text).flatMap((word) => {
    const first = String.fromCodePoint(word.codePointAt(0)!);
    if (word.length === first.length) return [word];
    if (punctuation.test(word.at(-1)!)) return [word.slice(0, -1), word.slice(-1)];
    return punctuation.test(first) ? [first, word.slice(1)] : [word];
  });
}
