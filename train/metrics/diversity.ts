import { nearestLength } from './bleu.ts';
import { countNgrams, totalOf } from './ngrams.ts';
import { checkTexts, checkWhole, splitWords } from './text.ts';

export interface DiversityOptions {
  /** The tokens of a text; default its words between white space. */
  readonly tokenize?: (text: string) => readonly string[];
}

/**
 * distinct-n (Li et al. 2016): different n-grams of all the texts / all their n-grams; 0 where there are
 * none. It falls with the texts' number and length: compare corpora of the same size only.
 *
 * @example
 * distinctN(['a b a b'], 1); // 0.5
 */
export function distinctN(texts: readonly string[], n: number, options: DiversityOptions = {}): number {
  checkTexts('distinctN', texts, 'texts');
  checkWhole('distinctN', 'n', n, 1);
  const counts = countNgrams(texts.map(options.tokenize ?? splitWords), n).map((orders) => orders[n - 1]!);
  const different = new Set(counts.flatMap((count) => [...count.keys()]));
  const total = counts.reduce((sum, count) => sum + totalOf(count), 0);
  return total === 0 ? 0 : different.size / total;
}

export interface SelfBleuOptions extends DiversityOptions {
  /** The largest order; all weigh the same. Default 4. */
  readonly maxOrder?: number;
  /** What a count of 0 is replaced by (NLTK's `method1`); 0 for no smoothing (`method0`). Default 0.1. */
  readonly epsilon?: number;
}

/**
 * self-BLEU (Zhu et al. 2018, "Texygen"): the mean of each text's BLEU, 0 to 1, against all other texts as
 * its references, as NLTK's `sentence_bleu` computes it. Lower is more diverse. Linear in the texts' length.
 *
 * @example
 * selfBleu(['the cat sat on the mat', 'the cat sat on the mat']); // 1
 */
export function selfBleu(texts: readonly string[], options: SelfBleuOptions = {}): number {
  const { maxOrder = 4, epsilon = 0.1, tokenize = splitWords } = options;
  checkTexts('selfBleu', texts, 'texts');
  checkWhole('selfBleu', 'maxOrder', maxOrder, 1);
  if (texts.length < 2)
    throw new Error('selfBleu: there is one text; give at least two, to compare each with the others');
  const tokens = texts.map(tokenize);
  const counts = countNgrams(tokens, maxOrder);
  const largest = Array.from({ length: maxOrder }, (_, n) => twoLargest(counts.map((orders) => orders[n]!)));
  const lengths = tokens.map((own) => own.length).sort((a, b) => a - b);
  const scores = tokens.map((own, text) => {
    const precisions = counts[text]!.map((count, n) => {
      let matched = 0;
      for (const [ngram, times] of count) {
        const { text: first, count: most, second } = largest[n]!.get(ngram)!;
        matched += Math.min(times, first === text ? second : most);
      }
      return { matched, total: Math.max(1, totalOf(count)) };
    });
    if (precisions[0]!.matched === 0) return 0;
    const logs = precisions.map(({ matched, total }) =>
      // Without smoothing, NLTK takes the smallest normal number of a double for 0.
      Math.log(matched > 0 ? matched / total : epsilon > 0 ? epsilon / total : 2 ** -1022),
    );
    const reference = nearestOther(own.length, lengths);
    const brevityPenalty = own.length > reference ? 1 : Math.exp(1 - reference / own.length);
    return brevityPenalty * Math.exp(logs.reduce((sum, log) => sum + log, 0) / maxOrder);
  });
  return scores.reduce((sum, score) => sum + score, 0) / scores.length;
}

/** Of each n-gram the text that has it oftenest, how often, and how often the next one has it. */
function twoLargest(counts: readonly ReadonlyMap<number, number>[]) {
  const largest = new Map<number, { text: number; count: number; second: number }>();
  counts.forEach((own, text) => {
    for (const [ngram, count] of own) {
      const known = largest.get(ngram);
      if (known === undefined) largest.set(ngram, { text, count, second: 0 });
      else if (count > known.count) largest.set(ngram, { text, count, second: known.count });
      else known.second = Math.max(known.second, count);
    }
  });
  return largest;
}

/** The length nearest to `length`, one of that length itself left out. `sorted`: all lengths, ascending. */
function nearestOther(length: number, sorted: readonly number[]): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < length) low = middle + 1;
    else high = middle;
  }
  const others = [sorted[low - 1], sorted[low + 1]].filter((other) => other !== undefined);
  return nearestLength(length, others);
}
