import * as assert from 'uvu/assert';
import { corpusOf } from '../../train/data/token-corpus.ts';
import type { TokenCorpus } from '../../train/data/token-corpus.ts';
import { cutBatch } from '../../train/objectives/cut-batch.ts';
import type { HostBatch, TrainingTask } from '../../train/objectives/task.ts';

/** Ids below this are special in the corpora of these tests: [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4. */
export const special = { pad: 0, cls: 2, sep: 3, mask: 4, all: [0, 1, 2, 3, 4] };

/**
 * Documents of given lengths, their tokens counted up from 5 through all of them: each position of the corpus
 * is known by its token.
 */
export function countingCorpus(
  lengths: readonly number[],
  vocabSize = 5 + lengths.reduce((a, b) => a + b),
): TokenCorpus {
  let next = 5;
  return corpusOf(
    lengths.map((length) => Array.from({ length }, () => next++)),
    vocabSize,
  );
}

/** Row i of an array of a batch. */
export function rowsOf({ arrays }: HostBatch, name: string): number[][] {
  const { data, shape } = arrays[name]!;
  const width = shape[1] ?? 1;
  return Array.from({ length: shape[0]! }, (_, i) => Array.from(data.slice(i * width, (i + 1) * width)));
}

/**
 * The same batch twice, in any order of asking, from a second task made alike; and counts that are those of
 * the labels.
 */
export async function checkTask(
  make: () => TrainingTask,
  labelsOf: Readonly<Record<string, string>>,
): Promise<HostBatch[]> {
  const [task, again] = [make(), make()];
  const indices = [0, 1, 2, 7, task.batchesPerEpoch, 1000];
  const batches = await Promise.all(indices.map(async (index) => task.batch(index)));
  for (const i of [...indices.keys()].reverse()) {
    assert.equal(await again.batch(indices[i]!), batches[i], `batch ${indices[i]}`);
    checkCut(batches[i]!, task);
    for (const [part, name] of Object.entries(labelsOf)) {
      const labels = batches[i]!.arrays[name]!.data;
      assert.is(batches[i]!.counts[part], [...labels].filter((label) => label !== -100).length, `labels of ${part}`);
    }
  }
  assert.equal(await task.batch(indices[1]!), batches[1], 'a batch asked for again');
  return batches;
}

/** Parts of a batch, for several processes, have all labels between them, each as many as it says. */
function checkCut(batch: HostBatch, { examples }: TrainingTask): void {
  for (const parts of examples ? [2, 3] : []) {
    const cut = cutBatch(batch, examples!, parts).flatMap((part) => part ?? []);
    for (const [name, count] of Object.entries(batch.counts)) {
      const sum = cut.reduce((sum, part) => sum + (part.batch.counts[name] ?? 0), 0);
      assert.ok(Math.abs(sum - count) < 1e-9 * count, `${name}: ${sum} of ${count} labels in ${parts} parts`);
    }
    const labels = Object.values(examples!.labels)[0]!;
    const rows = cut.flatMap((part) => rowsOf(part.batch, labels));
    if (!examples!.sets) assert.equal(rows, rowsOf(batch, labels), 'the rows in their order');
  }
}

/** Throws unless `count` of `n` trials lies within four standard deviations of the share p. */
export function checkShare(count: number, n: number, p: number, what: string): void {
  const off = Math.abs(count - n * p);
  assert.ok(off <= 4 * Math.sqrt(n * p * (1 - p)), `${what}: ${count} of ${n}, expected ${n * p}`);
}

export function refuses(run: () => unknown, says: RegExp): void {
  assert.throws(run, (error: Error) => {
    assert.match(error.message, says);
    assert.not.match(error.message, /\n/);
    return true;
  });
}
