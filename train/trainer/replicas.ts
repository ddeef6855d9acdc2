import { randomState, setRandomState } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { fromBase64, toBase64 } from '../../common/bytes.ts';
import { Buckets } from '../../distributed/buckets.ts';
import type { ProcessGroup } from '../../distributed/index.ts';
import type { Module } from '../../models/index.ts';
import { cutBatch } from '../objectives/cut-batch.ts';
import type { HostArray, HostBatch, TrainingTask } from '../objectives/task.ts';
import { differences } from './run-state.ts';

/**
 * A batch, and what its mean losses count in those of the step; parts that it has no labels of are left out.
 */
export interface Weighed {
  readonly batch: HostBatch;
  readonly weights: Readonly<Record<string, number>>;
}

/** The share of each batch in each part of the loss: its labels among those of all batches. */
export function weigh(batches: readonly HostBatch[]): Weighed[] {
  const names = Object.keys(batches[0]!.counts);
  const total = (name: string): number => batches.reduce((sum, { counts }) => sum + (counts[name] ?? 0), 0);
  const totals = new Map(names.map((name) => [name, total(name)]));
  return batches.map((batch) => ({
    batch,
    weights: Object.fromEntries(
      names.map((name) => [name, (batch.counts[name] ?? 0) / Math.max(1, totals.get(name)!)]),
    ),
  }));
}

/**
 * What each of `parts` processes does of a step: whole batches where these can be dealt out evenly, else
 * examples of each batch. The sum of all losses, each times its weight, is the loss of the step in one
 * process.
 */
export function shareOut(task: TrainingTask, batches: readonly HostBatch[], parts: number): Weighed[][] {
  const weighed = weigh(batches);
  const each = batches.length / parts;
  if (Number.isInteger(each)) return Array.from({ length: parts }, (_, i) => weighed.slice(i * each, (i + 1) * each));
  const layout = task.examples;
  if (!layout)
    throw new Error(
      `${task.name}: the loss of an example depends on the others of its batch, so that ${parts} processes cannot ` +
        `share one; give --accumulate ${parts}, or a multiple of it, and a smaller --batch-size`,
    );
  const cut = weighed.map(({ batch, weights }) =>
    cutBatch(batch, layout, parts).map((part) => {
      const shares = Object.entries(part?.shares ?? {});
      return part && { batch: part.batch, weights: Object.fromEntries(shares.map(([k, x]) => [k, x * weights[k]!])) };
    }),
  );
  return Array.from({ length: parts }, (_, i) => cut.flatMap((own) => own[i] ?? []));
}

/** For each name the sum of its values. */
export function addUp(values: Iterable<readonly [name: string, value: number]>): Map<string, number> {
  const sums = new Map<string, number>();
  for (const [name, value] of values) sums.set(name, (sums.get(name) ?? 0) + value);
  return sums;
}

/** What a rank says to the others after its part of a step. */
export interface StepNews {
  /** Its part of each loss. */
  readonly losses: ReadonlyMap<string, number>;
  /** Which parameters have had gradients. */
  readonly used: readonly number[];
  /** It has been asked to stop. */
  readonly stop: boolean;
}

/**
 * Processes that have the same model, each of which takes its share of every batch (data parallelism, as
 * PyTorch's DistributedDataParallel). Their gradients are added up in a few large buckets; then each makes
 * the same update.
 */
export class Replicas {
  readonly group: ProcessGroup;
  /** Asks all to stop after the step. */
  stop = false;
  #buckets = new Buckets([]);

  constructor(group: ProcessGroup) {
    this.group = group;
  }

  get rank(): number {
    return this.group.rank;
  }

  /** Homes for gradients of these parameters. */
  sumsOf(parameters: readonly Tensor[]): readonly Tensor[] {
    this.#buckets = new Buckets(parameters.map(({ shape }) => shape));
    return this.#buckets.views;
  }

  /** For a rank that has nothing to do in a step. */
  clear(): void {
    this.#buckets.clear();
  }

  /** This rank's part of a step's batches. */
  shareOf(task: TrainingTask, batches: readonly HostBatch[]): Weighed[] {
    const own = shareOut(task, batches, this.group.worldSize)[this.rank]!;
    const isTrained = (name: string): boolean => !task.measures?.includes(name);
    return own.filter(({ weights }) => Object.keys(weights).some(isTrained));
  }

  /**
   * Tells the news of this rank's part of a step, and adds up the gradients of all: they lie in the sums
   * then. All draw their next random numbers from one place, each of a seed of its own.
   */
  async exchange(news: Omit<StepNews, 'stop'>): Promise<StepNews> {
    const { seed, stream } = randomState();
    const told = await this.group.allGatherObject({
      losses: [...news.losses],
      used: news.used,
      stop: this.stop,
      stream,
    });
    await this.group.allReduceAll(this.#buckets.tensors);
    setRandomState({ seed, stream: Math.max(...told.map((each) => each.stream)) });
    return {
      losses: addUp(told.flatMap((each) => each.losses)),
      used: [...new Set(told.flatMap(({ used }) => used))],
      stop: told.some(({ stop }) => stop),
    };
  }

  /** Sees to it that all ranks train the same. Error: the first that does not, and what differs. */
  async compare(facts: Readonly<Record<string, unknown>>): Promise<void> {
    const [first, ...others] = await this.group.allGatherObject(facts, { timeout: Infinity });
    others.forEach((other, i) => {
      const changed = differences(first!, other);
      if (changed.length > 0)
        throw new Error(
          `train: rank ${i + 1} trains something else than rank 0 (${changed.join(', ')}); ` +
            'start all with the same flags and data',
        );
    });
  }

  /** Gives all ranks the weights of rank 0; those that are packed come from the same files everywhere. */
  async shareWeights(model: Module): Promise<void> {
    const tensors = [...model.parameters().filter(({ quantized }) => !quantized), ...model.buffers()];
    await this.share(tensors.filter(({ dtype }) => dtype === 'f32'));
  }

  /** Gives all ranks tensors of rank 0. */
  async share(tensors: Iterable<Tensor>): Promise<void> {
    for (const x of tensors) if (x.size > 0) await this.group.broadcast(x);
  }

  /** Random numbers of this rank's own, by the seed that all have. */
  ownRandom({ seed, stream }: ReturnType<typeof randomState>): void {
    setRandomState({ seed: (seed + this.rank * 2 ** 32) % 2 ** 53, stream });
  }

  /** What rank 0 makes, a value that JSON can hold, in all ranks, which wait however long it takes. */
  async fromFirst<T>(make: () => Promise<T>): Promise<T> {
    const made = this.rank === 0 ? await make() : undefined;
    return this.group.broadcastObject(made, 0, { timeout: Infinity });
  }

  /** Batches that rank 0 makes, where they are of what its model writes. */
  async batchesFromFirst(make: () => Promise<HostBatch[]>): Promise<HostBatch[]> {
    return (await this.fromFirst(async () => (await make()).map(packed))).map(unpacked);
  }
}

interface PackedArray {
  readonly kind: 'i32' | 'f32';
  readonly bytes: string;
  readonly shape: readonly number[];
}
type PackedBatch = Omit<HostBatch, 'arrays'> & { readonly arrays: Readonly<Record<string, PackedArray>> };

const mapValues = <A, B>(values: Readonly<Record<string, A>>, fn: (value: A) => B): Record<string, B> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, fn(value)]));

/** As JSON can hold it. */
function packed({ arrays, ...rest }: HostBatch): PackedBatch {
  return {
    ...rest,
    arrays: mapValues<HostArray, PackedArray>(arrays, ({ data, shape }) => ({
      kind: data instanceof Int32Array ? 'i32' : 'f32',
      bytes: toBase64(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
      shape,
    })),
  };
}

function unpacked({ arrays, ...rest }: PackedBatch): HostBatch {
  return {
    ...rest,
    arrays: mapValues<PackedArray, HostArray>(arrays, ({ kind, bytes, shape }) => {
      const { buffer } = fromBase64(bytes);
      return { data: kind === 'i32' ? new Int32Array(buffer) : new Float32Array(buffer), shape };
    }),
  };
}
