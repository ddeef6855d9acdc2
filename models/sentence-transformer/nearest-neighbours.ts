import {
  add,
  cast,
  div,
  floor,
  gather,
  max,
  matmul,
  mul,
  noGrad,
  normalize,
  pad,
  reshape,
  scope,
  sub,
  tensor,
  topk,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';

/** A vector of an index that is near a query. */
export interface Neighbour {
  /** Its number in the index. */
  readonly index: number;
  /** Its cosine with the query, or their product. */
  readonly score: number;
}

export interface IndexOptions {
  /** Compare by the cosine (default), or by the product. */
  readonly similarity?: 'cosine' | 'dot';
}

/** Vectors of one block: its scores for 64 queries are 4 MiB. */
const blockRows = 1 << 14;
const queryRows = 64;
/** Scores that are looked at together: only groups whose best one is among the best are opened. */
const groupSize = 64;

/**
 * Vectors on the device, in blocks, to search in.
 *
 * @example
 * const index = new VectorIndex([Float32Array.of(1, 0), Float32Array.of(0, 1)]);
 * await index.search([Float32Array.of(0, 2)], 1); // [[{ index: 1, score: 1 }]]
 * index.dispose();
 */
export class VectorIndex {
  readonly length: number;
  readonly width: number;
  readonly similarity: 'cosine' | 'dot';
  readonly #blocks: readonly Tensor[];

  /** Errors: no vectors; vectors of several widths; a number that is not finite. */
  constructor(vectors: readonly Float32Array[], { similarity = 'cosine' }: IndexOptions = {}) {
    if (similarity !== 'cosine' && similarity !== 'dot')
      throw new Error(`VectorIndex: unknown similarity "${String(similarity)}"; use cosine or dot`);
    if (vectors.length === 0) throw new Error('VectorIndex: there are no vectors');
    this.length = vectors.length;
    this.width = vectors[0]!.length;
    this.similarity = similarity;
    checkVectors('VectorIndex: vectors', vectors, this.width);
    this.#blocks = Array.from({ length: Math.ceil(vectors.length / blockRows) }, (_, i) =>
      this.#toDevice(vectors.slice(i * blockRows, (i + 1) * blockRows)),
    );
  }

  #toDevice(vectors: readonly Float32Array[]): Tensor {
    const data = new Float32Array(vectors.length * this.width);
    vectors.forEach((vector, i) => data.set(vector, i * this.width));
    const rows = tensor(data, { shape: [vectors.length, this.width] });
    return this.similarity === 'dot' ? rows : noGrad(() => normalize(rows));
  }

  /** Frees the memory of the device; the index is then not to be searched any more. */
  dispose(): void {
    for (const { storage } of this.#blocks) storage.free();
  }

  /** See `nearestNeighbours`. */
  async search(queries: readonly Float32Array[], k: number): Promise<Neighbour[][]> {
    if (!Number.isInteger(k) || k < 1)
      throw new Error(`nearestNeighbours: k must be a whole number of at least 1, got ${k}`);
    checkVectors('nearestNeighbours: queries', queries, this.width);
    const found: Neighbour[][] = [];
    for (let start = 0; start < queries.length; start += queryRows) {
      const part = queries.slice(start, start + queryRows);
      const lists: Neighbour[][] = part.map(() => []);
      for (const [b, block] of this.#blocks.entries()) {
        using _ = scope();
        const [scores, places] = noGrad(() => best(matmul(this.#toDevice(part), block.transpose()), k)); // (Q, k)
        const [values, indices] = await Promise.all([scores.data(), places.data()]);
        const count = scores.shape[1]!;
        lists.forEach((list, q) => {
          for (let i = q * count; i < (q + 1) * count; i++)
            list.push({ index: b * blockRows + indices[i]!, score: values[i]! });
          list.sort((x, y) => y.score - x.score || x.index - y.index).splice(k);
        });
      }
      found.push(...lists);
    }
    return found;
  }
}

/**
 * The k largest of each row of scores (Q, N), and where they stand, each (Q, min(k, N)). The k largest lie in
 * the k groups with the largest maxima, so only those are searched, which `topk` does in k passes.
 */
function best(scores: Tensor, k: number): [scores: Tensor, places: Tensor] {
  const [queries, length] = scores.shape as [number, number];
  const groups = Math.ceil(length / groupSize);
  if (k >= groups) return topk(scores, Math.min(k, length));
  const grouped = reshape(
    pad(
      scores,
      [
        [0, 0],
        [0, groups * groupSize - length],
      ],
      -3e38,
    ),
    [queries, groups, groupSize],
  );
  const [, chosen] = topk(max(grouped, 2), k); // (Q, k)
  const opened = gather(grouped, 1, chosen.reshape(queries, k, 1).expand([queries, k, groupSize])); // (Q, k, 64)
  const [values, at] = topk(reshape(opened, [queries, k * groupSize]), k);
  // Number `at` is in the chosen group at / 64.
  const group = cast(floor(div(cast(at, 'f32'), groupSize)), 'i32');
  return [values, add(mul(gather(chosen, 1, group), groupSize), sub(at, mul(group, groupSize)))];
}

function checkVectors(what: string, vectors: readonly Float32Array[], width: number): void {
  vectors.forEach((vector, i) => {
    if (vector.length !== width)
      throw new Error(`${what}[${i}] has ${vector.length} features, where ${width} are needed`);
    if (!vector.every(Number.isFinite)) throw new Error(`${what}[${i}] has a number that is not finite`);
  });
}

/**
 * For each query the k vectors of the index that are most like it, the best first; of equal ones mostly the
 * earlier. All where it has no more than k. The search is exact: every pair is compared, on the device, in
 * blocks, so that memory for scores does not grow with index or queries. Errors: k below 1; a query of
 * another width or with a number that is not finite.
 *
 *     const index = new VectorIndex(await model.encode(documents));
 *     const [[first]] = await nearestNeighbours(index, await model.encode(['How do I print?']), 10);
 *     documents[first.index];
 *
 * @example
 * const index = new VectorIndex([Float32Array.of(1, 0), Float32Array.of(0, 1)]);
 * const [[best]] = await nearestNeighbours(index, [Float32Array.of(0.1, 0.9)], 1);
 * best.index; // 1
 */
export const nearestNeighbours = (
  index: VectorIndex,
  queries: readonly Float32Array[],
  k: number,
): Promise<Neighbour[][]> => index.search(queries, k);
