import { nearestNeighbours, VectorIndex } from '../../models/index.ts';
import type { SentenceTransformer } from '../../models/index.ts';
import { ndcg, rankByScore, recallAtK, reciprocalRank } from '../metrics/rankings.ts';
import { spearman } from '../metrics/regression.ts';
import type { EmbeddingPair } from './data.ts';

/** How well pairs are found, or scores met, by name. */
export type EmbeddingScore = Readonly<Record<string, number>>;

const depth = 10;

/** The document numbers of each query, the best first. */
type Retrieve = (queries: readonly string[], documents: readonly string[]) => Promise<ArrayLike<number>[]>;

/**
 * For each anchor its positives are to be found among all documents: those of the pairs, and others. Recall,
 * MRR and nDCG of the first ten.
 */
async function scoreRetrieval(
  pairs: readonly EmbeddingPair[],
  others: readonly string[],
  retrieve: Retrieve,
): Promise<EmbeddingScore> {
  const documents = [...new Set([...pairs.map(({ target }) => target), ...others])];
  const numberOf = new Map(documents.map((document, i) => [document, i]));
  const relevant = new Map<string, Set<number>>();
  for (const { source, target } of pairs)
    relevant.set(source, (relevant.get(source) ?? new Set()).add(numberOf.get(target)!));
  const rankings = await retrieve([...relevant.keys()], documents);
  const queries = [...relevant.values()].map((relevance, i) => ({ ranking: rankings[i]!, relevance }));
  return {
    'recall@1': recallAtK(queries, { k: 1 }).mean,
    'recall@10': recallAtK(queries, { k: depth }).mean,
    'MRR@10': reciprocalRank(queries, { k: depth }).mean,
    'nDCG@10': ndcg(queries, { k: depth }).mean,
  };
}

/** Whether pairs have scores: then these are to be met, else the positives are to be found. */
export const haveScores = (pairs: readonly EmbeddingPair[]): boolean => pairs[0]?.score !== undefined;

/** The number by which a model is judged to be better. */
export const bestOf = (pairs: readonly EmbeddingPair[]): string => (haveScores(pairs) ? 'Spearman' : 'MRR@10');

/** Searches with a model's vectors, or correlates their cosines with the scores. */
export async function scoreModel(
  model: SentenceTransformer,
  pairs: readonly EmbeddingPair[],
  others: readonly string[] = [],
): Promise<EmbeddingScore> {
  const options = { batchSize: 32, normalize: true };
  if (haveScores(pairs)) {
    const [a, b] = await encodeSides(model, pairs);
    return spearmanOf(pairs, (i) => a[i]!.reduce((sum, x, d) => sum + x * b[i]![d]!, 0));
  }
  return scoreRetrieval(pairs, others, async (queries, documents) => {
    const index = new VectorIndex(await model.encode(documents, options));
    try {
      const found = await nearestNeighbours(index, await model.encode(queries, options), depth);
      return found.map((list) => list.map(({ index }) => index));
    } finally {
      index.dispose();
    }
  });
}

async function encodeSides(model: SentenceTransformer, pairs: readonly EmbeddingPair[]) {
  const options = { batchSize: 32, normalize: true };
  const sides = [pairs.map(({ source }) => source), pairs.map(({ target }) => target)] as const;
  return [await model.encode(sides[0], options), await model.encode(sides[1], options)] as const;
}

const spearmanOf = (pairs: readonly EmbeddingPair[], similarity: (pair: number) => number): EmbeddingScore => ({
  Spearman: spearman(
    pairs.map((_, i) => similarity(i)),
    pairs.map(({ score }) => score!),
  ),
});

const wordsOf = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];

/**
 * What a model has to be better than: BM25, or with scores the share of words that two texts have in common.
 */
export async function scoreBaseline(
  pairs: readonly EmbeddingPair[],
  others: readonly string[] = [],
): Promise<EmbeddingScore> {
  if (!haveScores(pairs))
    return scoreRetrieval(pairs, others, async (queries, documents) => {
      const scores = bm25(documents);
      return queries.map((query) => rankByScore(scores(query), depth));
    });
  return spearmanOf(pairs, (i) => {
    const [a, b] = [new Set(wordsOf(pairs[i]!.source)), new Set(wordsOf(pairs[i]!.target))];
    const shared = [...a].filter((word) => b.has(word)).length;
    return shared / Math.max(a.size + b.size - shared, 1);
  });
}

/**
 * BM25 (Robertson and Walker 1994; k1 1.5, b 0.75): the score of each document for a query, from the words
 * that they share, each weighed by how rare it is, with the idf of Lucene.
 */
export function bm25(
  documents: readonly string[],
  { k1 = 1.5, b = 0.75 }: { readonly k1?: number; readonly b?: number } = {},
): (query: string) => Float64Array {
  /** Documents that have a word, and how often. */
  const postings = new Map<string, Map<number, number>>();
  const lengths = documents.map((document, i) => {
    const words = wordsOf(document);
    for (const word of words) {
      const counts = postings.get(word) ?? new Map<number, number>();
      postings.set(word, counts.set(i, (counts.get(i) ?? 0) + 1));
    }
    return words.length;
  });
  const meanLength = lengths.reduce((sum, length) => sum + length, 0) / documents.length || 1;
  return (query) => {
    const scores = new Float64Array(documents.length);
    for (const word of wordsOf(query)) {
      const counts = postings.get(word) ?? new Map<number, number>();
      const idf = Math.log(1 + (documents.length - counts.size + 0.5) / (counts.size + 0.5));
      for (const [i, count] of counts)
        scores[i]! += (idf * count * (k1 + 1)) / (count + k1 * (1 - b + (b * lengths[i]!) / meanLength));
    }
    return scores;
  };
}
