// Two encoders trained together, so that a text and its picture have like vectors (CLIP; Radford et al.
// 2021).
import type { Tensor } from '../../autograd/index.ts';
import { evalMode } from '../../models/index.ts';
import type { AnyTokenizer, CLIPModel } from '../../models/index.ts';
import { chunks, compiledFor } from '../../models/pipelines/rows.ts';
import type { TrainingTask } from '../objectives/task.ts';
import type { Evaluation } from '../trainer/evaluate.ts';
import { picturedBatches, rowsOnDevice } from './batch.ts';
import type { BatchSizes, PicturedBatchOptions, PicturedInputs } from './batch.ts';
import type { PicturedText } from './data.ts';

/** The right picture for each text of a batch, and the right text for each picture, as a training task. */
export function contrastiveTask(
  model: CLIPModel,
  tokenizer: AnyTokenizer,
  rows: readonly PicturedText[],
  options: PicturedBatchOptions,
): TrainingTask {
  return {
    name: 'texts and pictures',
    lossLabel: 'contrastive loss, nats',
    // In a small batch the right ones are found by chance.
    ...picturedBatches(rows, tokenizer, { ...options, dropLast: true }),
    losses: ({ inputIds, attentionMask, pixelValues }) => ({
      loss: model.forward({
        inputIds: inputIds!,
        attentionMask: attentionMask!,
        pixelValues: pixelValues!,
        returnLoss: true,
      }).loss,
    }),
  };
}

const vectors = compiledFor('vectors of texts and pictures', (model: CLIPModel, batch: PicturedInputs) => {
  const { textEmbeds, imageEmbeds } = model.forward(batch);
  return { textEmbeds, imageEmbeds };
});

/** Vectors of length 1 of the texts and the pictures of all rows. */
async function embedRows(
  model: CLIPModel,
  tokenizer: AnyTokenizer,
  rows: readonly PicturedText[],
  sizes: BatchSizes,
): Promise<{ readonly texts: Float32Array[]; readonly pictures: Float32Array[] }> {
  const texts: Float32Array[] = [];
  const pictures: Float32Array[] = [];
  using _mode = evalMode(model);
  for (const part of chunks(rows, sizes.batchSize)) {
    const { textEmbeds, imageEmbeds } = vectors(model)(rowsOnDevice(part, tokenizer, sizes));
    const read = async (list: Float32Array[], made: Tensor): Promise<void> => {
      const data = (await made.data()) as Float32Array;
      const width = made.shape[1]!;
      for (let at = 0; at < data.length; at += width) list.push(data.slice(at, at + width));
    };
    await read(texts, textEmbeds);
    await read(pictures, imageEmbeds);
  }
  return { texts, pictures };
}

/** How many of the best answers are looked at. */
const depths = [1, 5, 10] as const;

/** What recall at each depth is by chance, of so many candidates. */
export const chanceRecall = (count: number): Evaluation => recalls(() => (depth) => Math.min(1, depth / count));

function recalls(of: (side: 'texts' | 'pictures') => (depth: number) => number): Evaluation {
  return Object.fromEntries(
    (['pictures', 'texts'] as const).flatMap((side) =>
      depths.map((depth) => [`${side} R@${depth}`, of(side)(depth)] as const),
    ),
  );
}

/**
 * Ranks of the right ones (0 the best) among all candidates, by the scores of row i for candidate k; one with
 * an equal score counts half as better, so that a model that knows nothing is no better than chance.
 */
export function ranksOf(count: number, score: (row: number, candidate: number) => number): number[] {
  return Array.from({ length: count }, (_, row) => {
    const own = score(row, row);
    let better = 0;
    for (let k = 0; k < count; k++) {
      const other = score(row, k);
      if (k !== row && !(other < own)) better += other > own ? 1 : 0.5;
    }
    return better;
  });
}

/**
 * Finds the picture of each text among those of all rows ("pictures R@1": share found at first, @5 among the
 * first five), and the text of each picture; `loss`-free, with the mean reciprocal rank of both as `MRR`.
 */
export async function scoreRetrieval(
  model: CLIPModel,
  tokenizer: AnyTokenizer,
  rows: readonly PicturedText[],
  sizes: BatchSizes,
): Promise<Evaluation> {
  const { texts, pictures } = await embedRows(model, tokenizer, rows, sizes);
  const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
  const ranks = {
    pictures: ranksOf(rows.length, (row, k) => dot(texts[row]!, pictures[k]!)),
    texts: ranksOf(rows.length, (row, k) => dot(pictures[row]!, texts[k]!)),
  };
  const all = [...ranks.pictures, ...ranks.texts];
  return {
    ...recalls((side) => (depth) => ranks[side].filter((rank) => rank < depth).length / rows.length),
    MRR: all.reduce((sum, rank) => sum + 1 / (1 + rank), 0) / all.length,
  };
}
