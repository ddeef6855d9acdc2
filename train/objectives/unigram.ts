import type { TokenCorpus } from '../data/token-corpus.ts';
import type { TrainingTask } from './task.ts';
import { ignoredLabel } from './rows.ts';

/**
 * Which array of a batch holds the labels of each part of a loss, and how many classes they have where it is
 * not the vocabulary.
 */
const LABELS: Readonly<Record<string, { readonly array: string; readonly classes?: number }>> = {
  lm: { array: 'labels' },
  mlm: { array: 'labels' },
  infill: { array: 'labels' },
  fill: { array: 'labels' },
  nsp: { array: 'nextSentenceLabel', classes: 2 },
  detect: { array: 'rotatedLabels', classes: 2 },
};

const CHUNK = 2 ** 20;

/**
 * How often each id is in a corpus, [vocabSize].
 *
 * @example
 * countTokens(corpusOf([[1, 2, 1]], 4)); // [0, 2, 1, 0]
 */
export function countTokens(corpus: TokenCorpus): Float64Array {
  const counts = new Float64Array(corpus.vocabSize);
  for (let start = 0; start < corpus.tokens; start += CHUNK)
    for (const id of corpus.read(start, Math.min(start + CHUNK, corpus.tokens))) counts[id]!++;
  return counts;
}

/**
 * Mean cross-entropy (nats) of guessing each label of held-out data by its frequency in the training data
 * alone: what a model must fall below to have learnt anything of context. Both are counts by class. Labels
 * unseen in training share as much probability as was seen once (Good 1953), with all others.
 *
 * @example
 * unigramLoss([1, 1], [1, 1]); // 0.6931
 */
export function unigramLoss(train: ArrayLike<number>, heldOut: ArrayLike<number>): number {
  if (train.length !== heldOut.length)
    throw new Error(`unigramLoss: ${train.length} and ${heldOut.length} classes; count both with one vocabulary`);
  const [total, wanted] = [sum(train), sum(heldOut)];
  if (total === 0 || wanted === 0)
    throw new Error(`unigramLoss: ${total} labels to count and ${wanted} to predict; both need one or more`);
  const once = Array.from(train).filter((count) => count === 1).length;
  const shared = Math.min(0.5, Math.max(once, 1) / total);
  let loss = 0;
  for (let id = 0; id < train.length; id++) {
    if (heldOut[id] === 0) continue;
    loss -= heldOut[id]! * Math.log((1 - shared) * (train[id]! / total) + shared / train.length);
  }
  return loss / wanted;
}

export interface UnigramOptions {
  readonly vocabSize: number;
  /** Training batches to count; default one pass, at most 1000. */
  readonly batches?: number;
}

/**
 * `unigramLoss` of each part of a task's loss: its labels in training batches against those of one pass over
 * a held-out task.
 *
 * @example
 * const model = GPT2LMHeadModel.fromConfig({ vocabSize: 10, nEmbd: 8, nLayer: 1, nHead: 2 });
 * const rows = blockWindows(corpusOf([[1, 2, 1, 2, 1, 2, 1, 2, 1]], 10), { length: 4, seed: 0 });
 * const task = causalLM({ model, rows, batchSize: 2 });
 * (await unigramLosses(task, task, { vocabSize: 10 })).lm < Math.log(10); // true
 */
export async function unigramLosses(
  train: TrainingTask,
  heldOut: TrainingTask,
  { vocabSize, batches = Math.min(train.batchesPerEpoch, 1000) }: UnigramOptions,
): Promise<Record<string, number>> {
  const [seen, wanted] = [
    await countLabels(train, batches, vocabSize),
    await countLabels(heldOut, heldOut.batchesPerEpoch, vocabSize),
  ];
  return Object.fromEntries(Object.keys(seen).map((part) => [part, unigramLoss(seen[part]!, wanted[part]!)]));
}

/** How often each label is in the first batches of a task, by part. */
async function countLabels(
  task: TrainingTask,
  batches: number,
  vocabSize: number,
): Promise<Record<string, Float64Array>> {
  const counts: Record<string, Float64Array> = {};
  for (let index = 0; index < batches; index++) {
    const batch = await task.batch(index);
    for (const part of Object.keys(batch.counts)) {
      const labels = LABELS[part];
      if (!labels)
        throw new Error(`unigramLosses: no baseline is known for part "${part}" of ${task.name}; use unigramLoss`);
      counts[part] ??= new Float64Array(labels.classes ?? vocabSize);
      for (const label of batch.arrays[labels.array]!.data) if (label !== ignoredLabel) counts[part][label]!++;
    }
  }
  return counts;
}

function sum(counts: ArrayLike<number>): number {
  return Array.from(counts).reduce((a, b) => a + b, 0);
}
