import { Tensor } from '../autograd/index.ts';
import { sizeOf } from '../kernels/layout.ts';
import { GroupError } from './errors.ts';
import { Peers } from './peers.ts';
import type { WaitOptions } from './peers.ts';
import { meetAll } from './rendezvous.ts';
import type { Place } from './rendezvous.ts';
import { partsOf, ringAllGather, ringAllReduce, ringBroadcast, ringReduceScatter } from './ring.ts';
import type { ReduceOp, Ring } from './ring.ts';
import { arrayOf, describe, inPieces, shapeOf, tensorOf, write } from './tensors.ts';

export type { ReduceOp, WaitOptions };
/** Numbers to exchange: on the host, or on the device, f32. */
export type Exchanged = Float32Array | Tensor;

/**
 * Processes that train together, each with a number, its rank: on one machine or many, each with a device of
 * its own or sharing one. All ranks call the same functions in the same order, with arrays of the same shape.
 * What comes out is the same to the bit in all ranks and in all runs.
 *
 * Errors of all functions, a GroupError: a rank has ended, does not answer in time, or calls something else.
 * Then the group is of no use any more, and all its ranks are told why.
 *
 * @example
 * const group = await ProcessGroup.connect({ rank: 0, worldSize: 1 });
 * await group.allReduce(Float32Array.of(1, 2)); // [1, 2], of one rank alone
 * await group.close();
 */
export class ProcessGroup {
  /** Number of this process, from 0 up. */
  readonly rank: number;
  /** Number of processes. */
  readonly worldSize: number;
  readonly #peers: Peers;

  private constructor(rank: number, worldSize: number, peers: Peers) {
    this.rank = rank;
    this.worldSize = worldSize;
    this.#peers = peers;
  }

  /** Meets the other ranks; see `initProcessGroup`, which takes all this from the environment. */
  static async connect(place: Pick<Place, 'rank' | 'worldSize'> & Partial<Place>): Promise<ProcessGroup> {
    const { host = '127.0.0.1', port = 29500, secret = '', version = '', timeout = 600_000 } = place;
    const { rank, worldSize } = place;
    if (!Number.isInteger(worldSize) || worldSize < 1)
      throw new RangeError(`ProcessGroup: worldSize must be a whole number from 1 up, got ${worldSize}`);
    if (!Number.isInteger(rank) || rank < 0 || rank >= worldSize)
      throw new RangeError(`ProcessGroup: rank must be a whole number from 0 to ${worldSize - 1}, got ${rank}`);
    if (worldSize > 1 && secret === '')
      throw new Error('ProcessGroup: a secret that all processes have keeps strangers out; give one');
    const met = worldSize === 1 ? [] : await meetAll({ rank, worldSize, host, port, secret, version, timeout });
    const group = new ProcessGroup(rank, worldSize, new Peers(rank, timeout, met));
    if (worldSize > 1) await group.barrier();
    return group;
  }

  /**
   * In place: each number becomes the sum, the mean or the largest of the numbers that the ranks have in its
   * place. Tensors are read, exchanged and written in pieces, so that these overlap.
   */
  allReduce<T extends Exchanged>(x: T, op: ReduceOp = 'sum'): Promise<T> {
    return this.#inPlace(`allReduce ${op}`, x, (ring, piece) => ringAllReduce(ring, piece, op));
  }

  /**
   * `allReduce` of many tensors one after another: while one is exchanged the next is read. Few large ones
   * are faster than many small ones.
   */
  async allReduceAll(tensors: readonly Tensor[], op: ReduceOp = 'sum'): Promise<void> {
    const name = `allReduceAll ${op}`;
    const what = (x: Tensor): string => `${name} of ${describe(x)}`;
    if (this.worldSize > 1)
      await inPieces(name, tensors, (piece, x) => this.#collective(what(x), (ring) => ringAllReduce(ring, piece, op)));
  }

  /** In place: the numbers become those of rank `from`. */
  broadcast<T extends Exchanged>(x: T, from = 0): Promise<T> {
    this.#checkRank('broadcast', from);
    return this.#inPlace(`broadcast from ${from}`, x, (ring, piece) => ringBroadcast(ring, piece, from));
  }

  /** The numbers of all ranks, by rank. */
  async allGather<T extends Exchanged>(x: T): Promise<T[]> {
    const own = await arrayOf('allGather', x);
    const all = Array.from({ length: this.worldSize }, (_, i) =>
      i === this.rank ? own.slice() : new Float32Array(own.length),
    );
    await this.#collective(`allGather of ${describe(x)}`, (ring) => ringAllGather(ring, all));
    return all.map((values) => like(x, values));
  }

  /**
   * Adds up x of all ranks (or takes the mean or the largest) and leaves each with its part: the first axis,
   * which must be a multiple of the number of ranks, is cut into parts by rank. x of an array is used up.
   */
  async reduceScatter<T extends Exchanged>(x: T, op: ReduceOp = 'sum'): Promise<T> {
    const n = this.worldSize;
    const shape = shapeOf(x);
    if ((shape[0] ?? 0) % n !== 0 || shape.length === 0)
      throw new RangeError(`reduceScatter: ${describe(x)} has no first axis of a multiple of ${n}; pad it`);
    const values = await arrayOf('reduceScatter', x);
    const segments = partsOf(values.length, n).map(([start, end]) => values.subarray(start, end));
    await this.#collective(`reduceScatter ${op} of ${describe(x)}`, (ring) => ringReduceScatter(ring, segments, op));
    return like(x, segments[this.rank]!.slice(), [shape[0]! / n, ...shape.slice(1)]);
  }

  /** Resolves when all ranks have called it. */
  async barrier(options: WaitOptions = {}): Promise<void> {
    await this.#gather('barrier', null, options);
  }

  /** A value that JSON can hold, of each rank. */
  allGatherObject<T>(value: T, options: WaitOptions = {}): Promise<T[]> {
    return this.#gather('allGatherObject', value, options) as Promise<T[]>;
  }

  /** A value that JSON can hold, of rank `from`; the others' is not looked at. */
  async broadcastObject<T>(value: T | undefined, from = 0, options: WaitOptions = {}): Promise<T> {
    this.#checkRank('broadcastObject', from);
    const what = `broadcastObject from ${from}`;
    return this.#peers.during(what, options, async (sequence) => {
      if (this.rank !== from) return (await this.#peers.receiveText(from, sequence)).value as T;
      await Promise.all(this.#peers.ranks.map((to) => this.#peers.sendText(to, sequence, what, value)));
      return value as T;
    });
  }

  /** Sends numbers to one rank, which calls `recv`. Resolves when they may change. */
  async send(x: Exchanged, to: number): Promise<void> {
    this.#checkRank('send', to, true);
    const values = await arrayOf('send', x);
    const key = this.#peers.next(`send ${to}`);
    await this.#peers.guarded(`send to ${to}`, {}, async () => {
      await this.#peers.sendText(to, key, describe(x), shapeOf(x));
      await Promise.all(piecesOf(values).map((piece, i) => this.#peers.sendNumbers(to, key, i + 1, piece)));
    });
  }

  /**
   * In place: numbers that rank `from` sends by `send`, of the same shape; those that it sent first come
   * first.
   */
  async recv<T extends Exchanged>(x: T, from: number): Promise<T> {
    this.#checkRank('recv', from, true);
    const key = this.#peers.next(`recv ${from}`);
    await this.#peers.guarded(`recv from ${from}`, {}, async () => {
      const { what } = await this.#peers.receiveText(from, key);
      if (what !== describe(x))
        throw this.#peers.fail(
          new GroupError(`rank ${from} sends ${what}, rank ${this.rank} waits for ${describe(x)}`),
        );
      write(await this.#numbers(from, key, sizeOf(shapeOf(x))), x);
    });
    return x;
  }

  /** A tensor that rank `from` sends by `send`, of whatever shape. */
  async receive(from: number): Promise<Tensor> {
    this.#checkRank('receive', from, true);
    const key = this.#peers.next(`recv ${from}`);
    return this.#peers.guarded(`receive from ${from}`, {}, async () => {
      const shape = (await this.#peers.receiveText(from, key)).value as readonly number[];
      return tensorOf(await this.#numbers(from, key, sizeOf(shape)), shape);
    });
  }

  /** Numbers of `send`, behind what describes them. */
  async #numbers(from: number, key: number, count: number): Promise<Float32Array> {
    const values = new Float32Array(count);
    for (const [i, piece] of piecesOf(values).entries()) piece.set(await this.#peers.receiveNumbers(from, key, i + 1));
    return values;
  }

  /** Takes leave. The other ranks may go on among themselves only to end, too. */
  close(): Promise<void> {
    return this.#peers.close();
  }

  async #inPlace<T extends Exchanged>(
    name: string,
    x: T,
    work: (ring: Ring, piece: Float32Array) => Promise<void>,
  ): Promise<T> {
    const what = `${name} of ${describe(x)}`;
    if (x instanceof Float32Array) await this.#collective(what, (ring) => work(ring, x));
    else if (this.worldSize > 1)
      await inPieces(name, [x], (piece) => this.#collective(what, (ring) => work(ring, piece)));
    return x;
  }

  /** What all ranks do together, round the ring. */
  #collective(what: string, work: (ring: Ring) => Promise<void>): Promise<void> {
    const { rank, worldSize } = this;
    if (worldSize === 1) return Promise.resolve();
    const [next, before] = [(rank + 1) % worldSize, (rank + worldSize - 1) % worldSize];
    return this.#peers.during(what, {}, async (sequence) => {
      void this.#peers.sendText(next, sequence, what);
      await this.#peers.receiveText(before, sequence); // where it is not the same, the group has failed
      await work({
        rank,
        worldSize,
        send: (part, numbers) => this.#peers.sendNumbers(next, sequence, part, numbers),
        receive: (part) => this.#peers.receiveNumbers(before, sequence, part),
      });
    });
  }

  async #gather(what: string, value: unknown, options: WaitOptions): Promise<unknown[]> {
    if (this.worldSize === 1) return [value];
    return this.#peers.during(what, options, async (sequence) => {
      const all: unknown[] = [];
      all[this.rank] = value;
      for (const to of this.#peers.ranks) void this.#peers.sendText(to, sequence, what, value);
      for (const from of this.#peers.ranks) all[from] = (await this.#peers.receiveText(from, sequence)).value;
      return all;
    });
  }

  #checkRank(name: string, rank: number, isOther = false): void {
    if (!Number.isInteger(rank) || rank < 0 || rank >= this.worldSize || (isOther && rank === this.rank))
      throw new RangeError(
        `${name}: rank ${rank} is none of the ${isOther ? 'other ' : ''}ranks, 0 to ${this.worldSize - 1}`,
      );
  }
}

/** Messages of a MiB. */
const piecesOf = (x: Float32Array): Float32Array[] =>
  Array.from({ length: Math.ceil(x.length / 2 ** 18) }, (_, i) => x.subarray(i * 2 ** 18, (i + 1) * 2 ** 18));

/** Numbers as `x` is: on the host or on the device. */
function like<T extends Exchanged>(x: T, values: Float32Array, shape?: readonly number[]): T {
  return (x instanceof Tensor ? tensorOf(values, shape ?? x.shape) : values) as T;
}
