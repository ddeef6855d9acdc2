import { brief } from '../../common/printable.ts';
import { checkFiniteRows, checkLengths, checkWeights, eachRow, orderOf, pairwiseSum, weightedMean } from './rows.ts';
import type { Matrix, WeightOptions } from './rows.ts';

/** The answer to a query: what was found, best first, and what should have been. */
export interface RankedQuery<Id extends string | number = string | number> {
  /** Documents by any names, none twice; `rankByScore` makes it of scores. */
  readonly ranking: ArrayLike<Id>;
  /** The grade of each judged document, or the relevant documents, of grade 1. Others have grade 0. */
  readonly relevance: ReadonlyMap<Id, number> | ReadonlySet<Id>;
}

export interface RankingScore {
  /** The mean over the queries. */
  readonly mean: number;
  readonly perQuery: Float64Array;
}

export interface RankingOptions {
  /** Looks at the first k documents only; default all. */
  readonly k?: number;
  /** From which grade a document is relevant; default 1, as trec_eval's -l. */
  readonly relevanceLevel?: number;
}

type AtK = RankingOptions & { readonly k: number };

/**
 * 1 / the place of the first relevant document, 0 where there is none; the mean is MRR. trec_eval's
 * recip_rank. Errors, of all measures of rankings: no queries; a document twice; a grade that is NaN; k below
 * 1.
 *
 * @example
 * reciprocalRank([{ ranking: ['b', 'a', 'c'], relevance: new Set(['a']) }]).mean; // 0.5
 */
export function reciprocalRank(queries: readonly RankedQuery[], options: RankingOptions = {}): RankingScore {
  return perQuery('reciprocalRank', queries, options, ({ hits }) => {
    const first = hits.indexOf(1);
    return first === -1 ? 0 : 1 / (first + 1);
  });
}

/**
 * Share of the first k places that hold a relevant document, k also where fewer were found; trec_eval's P.
 *
 * @example
 * precisionAtK([{ ranking: ['b', 'a', 'c'], relevance: new Set(['a']) }], { k: 2 }).mean; // 0.5
 */
export function precisionAtK(queries: readonly RankedQuery[], options: AtK): RankingScore {
  return perQuery('precisionAtK', queries, options, ({ hits }) => countOf(hits) / options.k);
}

/**
 * Share of the relevant documents that are among the first k; 0 of none. trec_eval's recall.
 *
 * @example
 * recallAtK([{ ranking: ['b', 'a', 'c'], relevance: new Set(['a', 'd']) }], { k: 2 }).mean; // 0.5
 */
export function recallAtK(queries: readonly RankedQuery[], options: AtK): RankingScore {
  return perQuery('recallAtK', queries, options, ({ hits, relevant }) => (relevant ? countOf(hits) / relevant : 0));
}

/**
 * 1 where a relevant document is among the first k, else 0; trec_eval's success.
 *
 * @example
 * hitRateAtK([{ ranking: ['b', 'a', 'c'], relevance: new Set(['a']) }], { k: 1 }).mean; // 0
 */
export function hitRateAtK(queries: readonly RankedQuery[], options: AtK): RankingScore {
  return perQuery('hitRateAtK', queries, options, ({ hits }) => Number(countOf(hits) > 0));
}

/**
 * The sum of the precision at each relevant document found, divided by how many there are to find; the mean
 * is MAP. trec_eval's map, with k its map_cut.
 *
 * @example
 * rankedAveragePrecision([{ ranking: ['a', 'b', 'c'], relevance: new Set(['a', 'c']) }]).mean; // 0.8333
 */
export function rankedAveragePrecision(queries: readonly RankedQuery[], options: RankingOptions = {}): RankingScore {
  return perQuery('rankedAveragePrecision', queries, options, ({ hits, relevant }) => {
    let [found, sum] = [0, 0];
    hits.forEach((hit, i) => {
      found += hit;
      if (hit) sum += found / (i + 1);
    });
    return relevant ? sum / relevant : 0;
  });
}

/**
 * Normalised discounted cumulative gain: the sum of gain / log2(place + 1), divided by that of the best
 * ranking of all judged documents. The gain is the grade, as in trec_eval's ndcg and ndcg_cut (Jarvelin and
 * Kekalainen 2002), or 2^grade - 1 with `gain: 'exponential'` (Burges et al. 2005). Grades below 0 gain
 * nothing.
 *
 * @example
 * ndcg([{ ranking: ['b', 'a'], relevance: new Map([['a', 1]]) }]).mean; // 0.6309
 */
export function ndcg(
  queries: readonly RankedQuery[],
  options: Pick<RankingOptions, 'k'> & { readonly gain?: 'linear' | 'exponential' } = {},
): RankingScore {
  const { gain = 'linear' } = options;
  if (gain !== 'linear' && gain !== 'exponential')
    throw new Error(`ndcg: unknown gain "${String(gain)}"; use linear or exponential`);
  const gainOf = (grade: number): number => (gain === 'linear' ? Math.max(0, grade) : 2 ** Math.max(0, grade) - 1);
  const sum = (grades: readonly number[]): number =>
    grades.reduce((total, grade, i) => total + gainOf(grade) / Math.log2(i + 2), 0);
  return perQuery('ndcg', queries, options, ({ grades, judged }) => {
    const best = judged.toSorted((a, b) => b - a).slice(0, options.k);
    return sum(grades) / sum(best) || 0;
  });
}

/**
 * The indices of scores from the highest down, at most k; of equal scores the lower index comes first.
 *
 * @example
 * rankByScore([0.1, 0.9, 0.5], 2); // [1, 2]
 */
export function rankByScore(scores: ArrayLike<number>, k = scores.length): Uint32Array {
  return orderOf(
    eachRow(scores.length, (i) => {
      if (Number.isNaN(scores[i])) throw new Error(`rankByScore: scores[${i}] is NaN`);
      return -scores[i]!;
    }),
  ).slice(0, k);
}

export interface DcgOptions extends WeightOptions {
  /** Looks at the k highest scores only; default all. */
  readonly k?: number;
  /** Ranks equal scores by column, the last one first, and does not average over their orders; faster. */
  readonly ignoreTies?: boolean;
}

/**
 * Discounted cumulative gain from scores; scikit-learn's `dcg_score`. yTrue: grades [queries, documents];
 * yScore: any numbers [queries, documents]. Equal scores share the mean of their grades.
 *
 * @example
 * dcgScore([[0, 1]], [[0.9, 0.1]]); // 0.6309
 */
export function dcgScore(yTrue: Matrix, yScore: Matrix, options: DcgOptions = {}): number {
  checkGrades('dcgScore', yTrue, yScore, options);
  return weightedMean(
    eachRow(yTrue.length, (i) => gainOf(yTrue[i]!, yScore[i]!, options)),
    options.sampleWeight,
  );
}

/**
 * `dcgScore`, each query divided by that of the best order; scikit-learn's `ndcg_score`. 0 where all grades
 * are 0. Differs from `ndcg` in equal scores only. Errors: grades below 0; a single document.
 *
 * @example
 * ndcgScore([[0, 1]], [[0.9, 0.1]]); // 0.6309
 */
export function ndcgScore(yTrue: Matrix, yScore: Matrix, options: DcgOptions = {}): number {
  const documents = checkGrades('ndcgScore', yTrue, yScore, options);
  if (documents < 2) throw new Error('ndcgScore: yTrue has 1 document a query; ranking needs two at least');
  const scores = eachRow(yTrue.length, (i) => {
    const grades = yTrue[i]!;
    for (let j = 0; j < documents; j++) {
      if (grades[j]! < 0) throw new Error(`ndcgScore: yTrue[${i}][${j}] is ${grades[j]}; grades are 0 or more`);
    }
    const best = gainOf(grades, grades, { ...options, ignoreTies: true });
    return best === 0 ? 0 : gainOf(grades, yScore[i]!, options) / best;
  });
  return weightedMean(scores, options.sampleWeight);
}

function checkGrades(op: string, yTrue: Matrix, yScore: Matrix, { k, sampleWeight }: DcgOptions): number {
  checkK(op, k);
  checkWeights(op, sampleWeight, checkLengths(op, { yTrue, yScore }));
  const [documents, scored] = [checkFiniteRows(op, 'yTrue', yTrue), checkFiniteRows(op, 'yScore', yScore)];
  if (documents !== scored) throw new Error(`${op}: yTrue has ${documents} documents a query but yScore has ${scored}`);
  return documents;
}

/** Discounted gain of the grades in the order of the scores. */
function gainOf(grades: ArrayLike<number>, scores: ArrayLike<number>, { k, ignoreTies }: DcgOptions): number {
  const order = orderOf(Float64Array.from(scores)).reverse();
  const discount = (place: number): number => (place < (k ?? Infinity) ? 1 / Math.log2(place + 2) : 0);
  const gains: number[] = [];
  for (let start = 0; start < order.length;) {
    let [end, grade, weight] = [start, 0, 0];
    do {
      grade += grades[order[end]!]!;
      weight += discount(end++);
    } while (!ignoreTies && end < order.length && scores[order[end]!] === scores[order[start]!]);
    gains.push((grade / (end - start)) * weight);
    start = end;
  }
  return pairwiseSum(gains);
}

interface GradedRanking {
  /** Grades of the places that count. */
  readonly grades: readonly number[];
  /** 1 at the places of relevant documents, else 0. */
  readonly hits: readonly number[];
  /** The grades of all judged documents. */
  readonly judged: readonly number[];
  /** How many documents are relevant, found or not. */
  readonly relevant: number;
}

function perQuery(
  op: string,
  queries: readonly RankedQuery[],
  { k, relevanceLevel = 1 }: RankingOptions,
  score: (ranking: GradedRanking) => number,
): RankingScore {
  checkLengths(op, { queries });
  checkK(op, k);
  const isRelevant = (grade: number): number => Number(grade >= relevanceLevel);
  const scores = eachRow(queries.length, (i) => {
    const { ranking, relevance } = queries[i]!;
    const gradeOf = gradesOf(op, i, relevance);
    const judged = Array.from(relevance.keys(), gradeOf);
    checkDistinct(op, i, ranking);
    const grades = Array.from({ length: Math.min(k ?? Infinity, ranking.length) }, (_, at) => gradeOf(ranking[at]!));
    return score({ grades, hits: grades.map(isRelevant), judged, relevant: countOf(judged.map(isRelevant)) });
  });
  return { mean: weightedMean(scores), perQuery: scores };
}

function gradesOf(op: string, query: number, relevance: RankedQuery['relevance']): (id: string | number) => number {
  if (!('get' in relevance)) return (id) => Number(relevance.has(id));
  for (const [id, grade] of relevance) {
    if (!Number.isFinite(grade))
      throw new Error(`${op}: queries[${query}] grades ${brief(id)} with ${grade}; grades are finite numbers`);
  }
  return (id) => relevance.get(id) ?? 0;
}

function checkDistinct(op: string, query: number, ranking: ArrayLike<string | number>): void {
  const seen = new Set<string | number>();
  for (let at = 0; at < ranking.length; at++) {
    if (seen.has(ranking[at]!))
      throw new Error(`${op}: queries[${query}].ranking[${at}] is ${brief(ranking[at])} again; rank a document once`);
    seen.add(ranking[at]!);
  }
}

function checkK(op: string, k: number | undefined): void {
  if (k !== undefined && (!Number.isInteger(k) || k < 1))
    throw new Error(`${op}: k must be a positive integer, got ${k}`);
}

const countOf = (hits: readonly number[]): number => hits.reduce((sum, hit) => sum + hit, 0);
