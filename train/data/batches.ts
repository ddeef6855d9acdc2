import { Random } from '../../common/random.ts';
import { checkBatches, chunks } from '../../models/pipelines/rows.ts';

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
  checkBatches(lengths, batchSize);
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

/** The batches of a task without end: batch `index`, and how many make one epoch. */
export interface EpochBatches {
  readonly batchesPerEpoch: number;
  indices(index: number): readonly number[];
}

/** Every example once an epoch, in batches of like length; see `epochBatches`. */
export function endlessBatches(lengths: ArrayLike<number>, options: BatchOptions): EpochBatches {
  const batchesPerEpoch = Math.ceil(lengths.length / options.batchSize);
  let current: { epoch: number; list: number[][] } | undefined;
  return {
    batchesPerEpoch,
    indices(index) {
      const epoch = Math.floor(index / batchesPerEpoch);
      if (current?.epoch !== epoch) current = { epoch, list: epochBatches(lengths, { ...options, epoch }) };
      return current.list[index % batchesPerEpoch]!;
    },
  };
}
