import { Random } from '../../common/random.ts';

export interface BatchOptions {
  readonly batchSize: number;
  readonly seed: number;
}

/** Where a run stands: batch `index` of `epoch`, both from 0. */
export interface BatchPosition {
  readonly epoch: number;
  readonly index: number;
}

export interface Batch extends BatchPosition {
  /** Examples of the batch. */
  readonly indices: readonly number[];
}

/**
 * Batches' worth of shuffled examples that are sorted by length together, as in Transformers'
 * LengthGroupedSampler.
 */
const POOL = 50;
/** The streams from here on belong to the epochs; those below to splits and other single uses of a seed. */
const EPOCH_STREAM = 2 ** 32;

/**
 * All batches of one epoch: every example once, in random order, examples of like length (in tokens) together
 * so that little is padded; a last smaller batch is kept. A function of (lengths, batchSize, seed, epoch)
 * alone: an interrupted epoch goes on by taking the rest of the same list.
 */
export function epochBatches(
  lengths: ArrayLike<number>,
  options: BatchOptions & { readonly epoch: number },
): number[][] {
  const { batchSize, seed, epoch } = options;
  check(lengths, batchSize);
  const random = new Random(seed, EPOCH_STREAM + epoch);
  const order = random.permutation(lengths.length);
  // At least four pools, else a small set would be sorted as a whole and its batches be the same in every
  // epoch.
  const pool = batchSize * Math.max(1, Math.min(POOL, Math.floor(lengths.length / (batchSize * 4))));
  const batches: number[][] = [];
  for (let start = 0; start < order.length; start += pool) {
    const sorted = order.slice(start, start + pool).sort((a, b) => lengths[b]! - lengths[a]!);
    batches.push(...chunks(sorted, batchSize));
  }
  return random.shuffle(batches);
}

/** The batches of `epochs` epochs one after another, from `start` on. */
export function* batches(
  lengths: ArrayLike<number>,
  options: BatchOptions & { readonly epochs: number; readonly start?: BatchPosition },
): Generator<Batch> {
  const { epochs, start = { epoch: 0, index: 0 } } = options;
  for (let epoch = start.epoch; epoch < epochs; epoch++) {
    const list = epochBatches(lengths, { ...options, epoch });
    const first = epoch === start.epoch ? start.index : 0;
    if (!Number.isInteger(first) || first < 0 || first > list.length) {
      throw new Error(
        `batches: cannot start at batch ${first} of an epoch of ${list.length}; ` +
          'were the data or the batch size changed?',
      );
    }
    for (let index = first; index < list.length; index++) yield { epoch, index, indices: list[index]! };
  }
}

/**
 * Batches for evaluation: every example once, longest first (what does not fit into memory fails at once), in
 * fixed order.
 */
export function evaluationBatches(lengths: ArrayLike<number>, batchSize: number): number[][] {
  check(lengths, batchSize);
  const order = Array.from({ length: lengths.length }, (_, i) => i).sort((a, b) => lengths[b]! - lengths[a]!);
  return chunks(order, batchSize);
}

function chunks(indices: readonly number[], size: number): number[][] {
  return Array.from({ length: Math.ceil(indices.length / size) }, (_, i) => indices.slice(i * size, (i + 1) * size));
}

function check(lengths: ArrayLike<number>, batchSize: number): void {
  if (!Number.isInteger(batchSize) || batchSize < 1) {
    throw new Error(`batches: batchSize must be a positive integer, got ${batchSize}`);
  }
  if (lengths.length === 0) throw new Error('batches: there are no examples; pass the length of each in tokens');
}
