import {
  add,
  arange,
  concat,
  cosineSimilarity,
  crossEntropy,
  logsumexp,
  lt,
  matmul,
  mean,
  mul,
  narrow,
  norm,
  normalize,
  relu,
  reshape,
  sub,
  transpose,
  where,
  zeros,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';

/**
 * A loss of a batch's vectors: one tensor (B, D) for each column of texts, and for `coSent` the score (B) of
 * each pair. Returns a scalar.
 */
export type EmbeddingLoss = (columns: readonly Tensor[], scores?: Tensor) => Tensor;

export interface RankingOptions {
  /** What cosines are multiplied by, 1 / temperature; default 20. */
  readonly scale?: number;
  /** Also each positive must find its anchor among all anchors, as often; default false. */
  readonly symmetric?: boolean;
}

/**
 * MultipleNegativesRankingLoss (Henderson et al. 2017; InfoNCE, van den Oord et al. 2018): each anchor must
 * find its positive among the positives of the batch and further columns of hard negatives, by the
 * cross-entropy of scale x cosine. Columns: anchors, positives, any number of negatives.
 *
 * @example
 * multipleNegativesRanking()([eye(2), eye(2)]); // 0.000
 */
export function multipleNegativesRanking({ scale = 20, symmetric = false }: RankingOptions = {}): EmbeddingLoss {
  if (!(scale > 0)) throw new Error(`multipleNegativesRanking: scale must be above 0, got ${scale}`);
  return (columns) => {
    checkColumns('multipleNegativesRanking', columns, 2, Infinity);
    const [anchors, ...documents] = columns.map((column) => normalize(column)) as [Tensor, ...Tensor[]];
    const count = anchors.shape[0]!;
    const labels = arange(0, count, 1, { dtype: 'i32' });
    const scores = mul(matmul(anchors, transpose(concat(documents, 0))), scale); // (B, documents x B)
    const forward = crossEntropy(scores, labels);
    if (!symmetric) return forward;
    const back = transpose(narrow(scores, 1, 0, count)); // (B positives, B anchors)
    return mul(add(forward, crossEntropy(back, labels)), 0.5);
  };
}

/**
 * CoSENTLoss (Su 2022): log(1 + sum of exp(scale (cos_i - cos_j))) over all pairs i that have a lower score
 * than j: cosines need not be the scores, only in their order. Columns: the two sides.
 *
 * @example
 * const [a, b] = [tensor([[1, 0], [1, 0]]), tensor([[1, 0], [0, 1]])];
 * coSent()([a, b], tensor([1, 0])); // 0.000
 */
export function coSent({ scale = 20 }: Pick<RankingOptions, 'scale'> = {}): EmbeddingLoss {
  if (!(scale > 0)) throw new Error(`coSent: scale must be above 0, got ${scale}`);
  return (columns, scores) => {
    checkColumns('coSent', columns, 2, 2);
    const count = columns[0]!.shape[0]!;
    if (scores?.shape.join() !== String(count)) {
      const given = scores ? `[${scores.shape.join(', ')}]` : 'none';
      throw new Error(`coSent: ${count} pairs need as many scores [${count}], got ${given}`);
    }
    const cosines = mul(cosineSimilarity(columns[0]!, columns[1]!), scale);
    const against = (x: Tensor): [Tensor, Tensor] => [reshape(x, [count, 1]), reshape(x, [1, count])];
    const wrong = where(lt(...against(scores)), sub(...against(cosines)), -1e12); // (B, B)
    return logsumexp(concat([zeros([1]), reshape(wrong, [count * count])], 0));
  };
}

const distances = {
  euclidean: (a: Tensor, b: Tensor) => norm(sub(a, b), 2, 1),
  manhattan: (a: Tensor, b: Tensor) => norm(sub(a, b), 1, 1),
  cosine: (a: Tensor, b: Tensor) => sub(1, cosineSimilarity(a, b)),
} as const;

export interface TripletOptions {
  readonly distance?: keyof typeof distances;
  /** How much farther from the anchor the negative should be than the positive; default 5. */
  readonly margin?: number;
}

/**
 * TripletLoss (Schroff et al. 2015): the mean of max(d(anchor, positive) - d(anchor, negative) + margin, 0).
 * Columns: anchors, positives, negatives.
 *
 * @example
 * triplet({ margin: 1 })([tensor([[0, 0]]), tensor([[0, 1]]), tensor([[0, 1]])]); // 1
 */
export function triplet({ distance = 'euclidean', margin = 5 }: TripletOptions = {}): EmbeddingLoss {
  if (!Object.hasOwn(distances, distance))
    throw new Error(`triplet: unknown distance "${distance}"; use ${Object.keys(distances).join(', ')}`);
  const between = distances[distance];
  return (columns) => {
    checkColumns('triplet', columns, 3, 3);
    const [anchor, positive, negative] = columns as [Tensor, Tensor, Tensor];
    return mean(relu(add(sub(between(anchor, positive), between(anchor, negative)), margin)));
  };
}

/**
 * MatryoshkaLoss (Kusupati et al. 2022): another loss of the first features of each vector, for each number
 * of features in `dims`, summed with the weights (default 1): vectors may then be cut to any of them. As in
 * sentence-transformers, the features that are cut off one length serve the next lower one, divided by their
 * length.
 *
 * @example
 * const columns = [eye(4), eye(4)];
 * matryoshka(multipleNegativesRanking(), [4, 2])(columns).shape; // []
 */
export function matryoshka(loss: EmbeddingLoss, dims: readonly number[], weights?: readonly number[]): EmbeddingLoss {
  if (dims.length === 0 || !dims.every((dim) => Number.isInteger(dim) && dim > 0))
    throw new Error(`matryoshka: dims must be whole numbers of at least 1, got [${dims.join(', ')}]`);
  if (weights && weights.length !== dims.length)
    throw new Error(`matryoshka: ${dims.length} dims need as many weights, got ${weights.length}`);
  const parts = dims.map((dim, i) => ({ dim, weight: weights?.[i] ?? 1 })).sort((a, b) => b.dim - a.dim);
  return (columns, scores) => {
    const width = columns[0]?.shape[1] ?? 0;
    if (parts[0]!.dim > width)
      throw new Error(`matryoshka: dims has ${parts[0]!.dim}, and the vectors have ${width} features`);
    const losses = parts.map(({ dim, weight }) =>
      mul(
        loss(
          columns.map((column) => normalize(narrow(column, 1, 0, dim))),
          scores,
        ),
        weight,
      ),
    );
    return losses.reduce((a, b) => add(a, b));
  };
}

function checkColumns(op: string, columns: readonly Tensor[], least: number, most: number): void {
  const shapes = columns.map(({ shape }) => `[${shape.join(', ')}]`);
  if (columns.length < least || columns.length > most || new Set(shapes).size > 1 || columns[0]!.ndim !== 2)
    throw new Error(
      `${op}: needs ${least}${most === least ? '' : ' or more'} columns of vectors [batch, features], all of one ` +
        `shape, got ${shapes.join(', ') || 'none'}`,
    );
}
