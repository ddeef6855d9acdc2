import { nearestNeighbours, VectorIndex } from '../../models/index.ts';
import type { SentenceTransformer } from '../../models/index.ts';
import type { TextPair } from '../seq2seq/pairs.ts';

export interface MiningOptions {
  /** Negatives of each pair. */
  readonly count: number;
  /** Nearest documents that are looked at; default 50. */
  readonly rangeMax?: number;
  /** The nearest ones that are passed over, which may be true in truth; default 0. */
  readonly rangeMin?: number;
  /** How much less like the anchor than its positive a negative must be, by the cosine; default none. */
  readonly margin?: number;
  /** The same as a share of the positive's cosine: 0.05 asks for at most 95% of it; default none. */
  readonly relativeMargin?: number;
  /** The highest cosine of a negative; default any. */
  readonly maxScore?: number;
  readonly batchSize?: number;
}

/**
 * Hard negatives: for each pair the documents nearest to its anchor by a model's own vectors that are not
 * true of it, the nearest first, as sentence-transformers' `mine_hard_negatives` takes them; fewer than
 * `count` where margins leave fewer. Documents are those of the pairs; every document that any pair has for
 * the same anchor is left out. Error: a range that holds nothing.
 *
 * @example
 * const model = await SentenceTransformer.fromPretrained('models/pretrained/help-search-small');
 * const pairs = [
 *   { source: 'save a file', target: 'Choose File - Save.' },
 *   { source: 'print a file', target: 'Choose File - Print.' },
 * ];
 * const negatives = await mineHardNegatives(model, pairs, { count: 1 });
 */
export async function mineHardNegatives(
  model: SentenceTransformer,
  pairs: readonly TextPair[],
  options: MiningOptions,
): Promise<string[][]> {
  const { count, rangeMax = 50, rangeMin = 0, margin, relativeMargin, maxScore = Infinity, batchSize = 32 } = options;
  if (!(Number.isInteger(count) && count > 0 && Number.isInteger(rangeMin) && rangeMin >= 0 && rangeMax > rangeMin))
    throw new Error(
      `mineHardNegatives: count ${count} must be 1 or more, and rangeMin ${rangeMin} from 0 up to below rangeMax ` +
        `${rangeMax}`,
    );
  const documents = [...new Set(pairs.map(({ target }) => target))];
  const anchors = [...new Set(pairs.map(({ source }) => source))];
  const numberOf = new Map(documents.map((document, i) => [document, i]));
  const placeOf = new Map(anchors.map((anchor, i) => [anchor, i]));
  const positives = anchors.map(() => new Set<number>());
  for (const { source, target } of pairs) positives[placeOf.get(source)!]!.add(numberOf.get(target)!);

  const encoding = { batchSize, normalize: true };
  const vectors = await model.encode(documents, encoding);
  const queries = await model.encode(anchors, encoding);
  const index = new VectorIndex(vectors);
  const most = Math.max(...positives.map(({ size }) => size));
  const found = await nearestNeighbours(index, queries, rangeMax + most).finally(() => index.dispose());
  return pairs.map(({ source, target }) => {
    const anchor = placeOf.get(source)!;
    const own = queries[anchor]!.reduce((sum, x, d) => sum + x * vectors[numberOf.get(target)!]![d]!, 0);
    const limit = Math.min(
      maxScore,
      margin === undefined ? Infinity : own - margin,
      relativeMargin === undefined ? Infinity : own - Math.abs(own) * relativeMargin,
    );
    return found[anchor]!.filter(({ index }) => !positives[anchor]!.has(index))
      .slice(rangeMin, rangeMax)
      .filter(({ score }) => score <= limit)
      .slice(0, count)
      .map(({ index }) => documents[index]!);
  });
}
