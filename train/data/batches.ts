import { Random } from '../../common/random.ts';
import { checkBatches, chunks, paddedLength } from '../../models/pipelines/rows.ts';

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
 *
 * @example
 * epochBatches([5, 9, 7], { batchSize: 2, seed: 0, epoch: 0 }).flat().sort(); // [0, 1, 2]
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

/**
 * The batches of `epochs` epochs one after another, from `start` on.
 *
 * @example
 * [...batches([5, 9, 7], { batchSize: 2, seed: 0, epochs: 1 })].length; // 2
 */
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

export interface EndlessOptions extends BatchOptions {
  readonly sampler?: (index: number) => number;
  readonly dropLast?: boolean;
}

/**
 * Every example once an epoch, in batches of like length; see `epochBatches`. With `sampler`, a function as
 * `weightedSampler` gives it, an epoch is its next draws instead, as many as there are examples. With
 * `dropLast` the batch that is not whole is left out, if there are others.
 */
export function endlessBatches(
  lengths: ArrayLike<number>,
  { sampler, dropLast = false, ...options }: EndlessOptions,
): EpochBatches {
  const { batchSize } = options;
  const isCut = dropLast && lengths.length > batchSize && lengths.length % batchSize > 0;
  const batchesPerEpoch = Math.ceil(lengths.length / batchSize) - (isCut ? 1 : 0);
  let current: { epoch: number; list: number[][] } | undefined;
  const batchesOf = (epoch: number): number[][] => {
    if (!sampler) return epochBatches(lengths, { ...options, epoch });
    const drawn = Array.from({ length: lengths.length }, (_, i) => sampler(epoch * lengths.length + i));
    const list = epochBatches(
      drawn.map((i) => lengths[i]!),
      { ...options, epoch },
    );
    return list.map((batch) => batch.map((i) => drawn[i]!));
  };
  return {
    batchesPerEpoch,
    indices(index) {
      const epoch = Math.floor(index / batchesPerEpoch);
      if (current?.epoch !== epoch) {
        const list = batchesOf(epoch);
        current = { epoch, list: isCut ? list.filter((batch) => batch.length === batchSize) : list };
      }
      return current.list[index % batchesPerEpoch]!;
    },
  };
}

/** Examples of about one length, all padded to it. */
export interface LengthBucket {
  /** Tokens of a row, padding included. */
  readonly length: number;
  /** Rows of a batch. */
  readonly rows: number;
  readonly members: readonly number[];
}

/** One batch of a bucket. */
export interface BucketBatch {
  readonly length: number;
  readonly indices: readonly number[];
}

/**
 * Examples by the length that they are padded to (`paddedLength`), the shortest first. A batch has as many
 * rows as `maxTokens` tokens are, so that each step has about as much to do, whatever its lengths.
 */
export function lengthBuckets(lengths: ArrayLike<number>, maxTokens: number, limit?: number): LengthBucket[] {
  if (!Number.isInteger(maxTokens) || maxTokens < 1)
    throw new Error(`batches: maxTokens must be a positive integer, got ${maxTokens}`);
  checkBatches(lengths, 1);
  const members = new Map<number, number[]>();
  for (let i = 0; i < lengths.length; i++) {
    const length = paddedLength(lengths[i]!, limit);
    const list = members.get(length);
    if (list) list.push(i);
    else members.set(length, [i]);
  }
  return [...members]
    .sort(([a], [b]) => a - b)
    .map(([length, members]) => ({ length, rows: Math.max(1, Math.floor(maxTokens / length)), members }));
}

/**
 * All batches of one epoch: every example once, in random order. What fills no batch of its bucket goes on to
 * the next longer one, so that batches have few shapes, and every epoch as many batches. A function of
 * (buckets, seed, epoch) alone.
 */
export function bucketBatches(buckets: readonly LengthBucket[], seed: number, epoch: number): BucketBatch[] {
  const random = new Random(seed, EPOCH_STREAM + epoch);
  const batches: BucketBatch[] = [];
  let rest: number[] = [];
  buckets.forEach(({ length, rows, members }, i) => {
    // Those that were too many stand first: nothing waits longer than one bucket for a batch.
    const pool = [...rest, ...random.shuffle([...members])];
    const isLast = i === buckets.length - 1;
    const whole = isLast ? pool.length : Math.floor(pool.length / rows) * rows;
    rest = pool.slice(whole);
    batches.push(...chunks(pool.slice(0, whole), rows).map((indices) => ({ length, indices })));
  });
  return random.shuffle(batches);
}
