import { Tensor } from '../autograd/index.ts';
import { sizeOf } from '../kernels/layout.ts';
import { Connection, kinds } from './connection.ts';
import type { Message } from './connection.ts';
import { GroupError } from './errors.ts';
import { meetAll } from './rendezvous.ts';
import type { Place } from './rendezvous.ts';
import { partsOf, ringAllGather, ringAllReduce, ringBroadcast, ringReduceScatter } from './ring.ts';
import type { ReduceOp, Ring } from './ring.ts';
import { arrayOf, describe, inPieces, tensorOf } from './tensors.ts';

export type { ReduceOp };
/** Numbers to exchange: on the host, or on the device, f32. */
export type Exchanged = Float32Array | Tensor;

interface Waiter {
  readonly from: number;
  readonly done: (body: Uint8Array<ArrayBuffer>) => void;
  readonly failed: (error: Error) => void;
}

/** An exchange under way: what this rank asks for. */
interface Exchange {
  readonly what: string;
}

export interface WaitOptions {
  /**
   * Milliseconds without an end after which the group fails; Infinity where another rank may work for hours.
   */
  readonly timeout?: number;
}

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
  readonly #timeout: number;
  readonly #peers = new Map<number, Connection>();
  readonly #arrived = new Map<string, Uint8Array<ArrayBuffer>>();
  readonly #waiting = new Map<string, Waiter>();
  readonly #exchanges = new Map<number, Exchange>();
  /** What other ranks have said of exchanges that this one has not come to. */
  readonly #announced = new Map<number, Map<number, string>>();
  readonly #counts = new Map<string, number>();
  #sequence = 0;
  #failure: GroupError | undefined;
  #isClosed = false;
  #held = 0;

  private constructor({ rank, worldSize, timeout }: Pick<Place, 'rank' | 'worldSize' | 'timeout'>) {
    this.rank = rank;
    this.worldSize = worldSize;
    this.#timeout = timeout;
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
    const group = new ProcessGroup({ rank, worldSize, timeout });
    const met = worldSize === 1 ? [] : await meetAll({ rank, worldSize, host, port, secret, version, timeout });
    for (const { socket, rank: other, early } of met) {
      const connection = new Connection(
        socket,
        other,
        early,
        (message) => group.#take(other, message),
        (reason) => group.#lost(other, reason),
      );
      group.#peers.set(other, connection);
      connection.hold(false);
    }
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
    const shape = x instanceof Tensor ? x.shape : [x.length];
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
    return this.#during(what, options, async (sequence) => {
      if (this.rank !== from) return (await this.#receiveText(from, sequence)).value as T;
      await Promise.all([...this.#peers.keys()].map((to) => this.#sendText(to, sequence, what, value)));
      return value as T;
    });
  }

  /** Sends numbers to one rank, which calls `recv`. Resolves when they may change. */
  async send(x: Exchanged, to: number): Promise<void> {
    this.#checkRank('send', to, true);
    const values = await arrayOf('send', x);
    const key = this.#next(`send ${to}`);
    await this.#guarded(`send to ${to}`, {}, async () => {
      await this.#sendText(to, key, describe(x), x instanceof Tensor ? x.shape : [x.length]);
      await Promise.all(piecesOf(values).map((piece, i) => this.#send(to, key, i + 1, piece)));
    });
  }

  /**
   * In place: numbers that rank `from` sends by `send`, of the same shape; those that it sent first come
   * first.
   */
  async recv<T extends Exchanged>(x: T, from: number): Promise<T> {
    this.#checkRank('recv', from, true);
    const key = this.#next(`recv ${from}`);
    await this.#guarded(`recv from ${from}`, {}, async () => {
      const { what } = await this.#receiveText(from, key);
      if (what !== describe(x))
        throw this.#fail(new GroupError(`rank ${from} sends ${what}, rank ${this.rank} waits for ${describe(x)}`));
      const values = await this.#numbers(from, key, x instanceof Tensor ? x.size : x.length);
      if (x instanceof Float32Array) x.set(values);
      else tensorOf(values, x.shape, x);
    });
    return x;
  }

  /** A tensor that rank `from` sends by `send`, of whatever shape. */
  async receive(from: number): Promise<Tensor> {
    this.#checkRank('receive', from, true);
    const key = this.#next(`recv ${from}`);
    return this.#guarded(`receive from ${from}`, {}, async () => {
      const shape = (await this.#receiveText(from, key)).value as readonly number[];
      return tensorOf(await this.#numbers(from, key, sizeOf(shape)), shape);
    });
  }

  /** Numbers of `send`, behind what describes them. */
  async #numbers(from: number, key: number, count: number): Promise<Float32Array> {
    const values = new Float32Array(count);
    for (const [i, piece] of piecesOf(values).entries())
      piece.set(numbersOf(await this.#receive(from, kinds.data, key, i + 1)));
    return values;
  }

  /** Takes leave. The other ranks may go on among themselves only to end, too. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await Promise.all(
      [...this.#peers.values()].map(async (peer) => {
        void peer.send(kinds.bye);
        await peer.close();
      }),
    );
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
    if (worldSize === 1) return this.#failure ? Promise.reject(this.#failure) : Promise.resolve();
    const [next, before] = [(rank + 1) % worldSize, (rank + worldSize - 1) % worldSize];
    return this.#during(what, {}, async (sequence) => {
      void this.#sendText(next, sequence, what);
      await this.#receiveText(before, sequence); // where it is not the same, the group has failed
      await work({
        rank,
        worldSize,
        send: (part, numbers) => this.#send(next, sequence, part, numbers),
        receive: async (part) => numbersOf(await this.#receive(before, kinds.data, sequence, part)),
      });
    });
  }

  async #gather(what: string, value: unknown, options: WaitOptions): Promise<unknown[]> {
    if (this.worldSize === 1) return [value];
    return this.#during(what, options, async (sequence) => {
      const all: unknown[] = [];
      all[this.rank] = value;
      for (const to of this.#peers.keys()) void this.#sendText(to, sequence, what, value);
      for (const from of this.#peers.keys()) all[from] = (await this.#receiveText(from, sequence)).value;
      return all;
    });
  }

  /** Numbers an exchange, and sees to it that all ranks mean the same by this number. */
  #during<T>(what: string, options: WaitOptions, work: (sequence: number) => Promise<T>): Promise<T> {
    const sequence = this.#sequence++;
    this.#exchanges.set(sequence, { what });
    for (const [other, theirs] of this.#announced.get(sequence) ?? []) this.#compare(sequence, other, theirs);
    this.#announced.delete(sequence);
    return this.#guarded(what, options, () => work(sequence)).finally(() => this.#exchanges.delete(sequence));
  }

  /** Lets the process live while it waits, and not for ever. */
  async #guarded<T>(what: string, { timeout = this.#timeout }: WaitOptions, work: () => Promise<T>): Promise<T> {
    if (this.#failure) throw this.#failure;
    if (this.#isClosed) throw new GroupError(`${what}: this process has left its group`);
    this.#hold(1);
    const limit = Number.isFinite(timeout) ? setTimeout(() => this.#fail(this.#silent(what, timeout)), timeout) : 0;
    try {
      return await work();
    } finally {
      clearTimeout(limit);
      this.#hold(-1);
    }
  }

  #silent(what: string, timeout: number): GroupError {
    const from = [...new Set([...this.#waiting.values()].map((waiter) => waiter.from))].sort((a, b) => a - b);
    const who = from.length > 0 ? `rank${from.length > 1 ? 's' : ''} ${from.join(', ')}` : 'the others';
    return new GroupError(`${what}: rank ${this.rank} waited ${timeout / 1000} s for ${who}; see whether they work`);
  }

  #hold(change: number): void {
    this.#held += change;
    if (this.#held === 0 || (this.#held === 1 && change === 1))
      for (const peer of this.#peers.values()) peer.hold(this.#held > 0);
  }

  #next(direction: string): number {
    const count = this.#counts.get(direction) ?? 0;
    this.#counts.set(direction, count + 1);
    return 2 ** 31 + (count % 2 ** 31); // apart from the numbers of exchanges of all
  }

  #checkRank(name: string, rank: number, isOther = false): void {
    if (!Number.isInteger(rank) || rank < 0 || rank >= this.worldSize || (isOther && rank === this.rank))
      throw new RangeError(
        `${name}: rank ${rank} is none of the ${isOther ? 'other ' : ''}ranks, 0 to ${this.worldSize - 1}`,
      );
  }

  #send(to: number, sequence: number, part: number, x: Float32Array): Promise<void> {
    return this.#peers.get(to)!.send(kinds.data, sequence, part, new Uint8Array(x.buffer, x.byteOffset, x.byteLength));
  }

  #sendText(to: number, sequence: number, what: string, value?: unknown): Promise<void> {
    return this.#peers
      .get(to)!
      .send(kinds.text, sequence, 0, new TextEncoder().encode(JSON.stringify({ what, value })));
  }

  async #receiveText(from: number, sequence: number): Promise<Announcement> {
    return announcementOf(await this.#receive(from, kinds.text, sequence, 0));
  }

  #receive(from: number, kind: number, sequence: number, part: number): Promise<Uint8Array<ArrayBuffer>> {
    const key = `${from}/${kind}/${sequence}/${part}`;
    if (this.#failure) return Promise.reject(this.#failure);
    const body = this.#arrived.get(key);
    if (body) {
      this.#arrived.delete(key);
      return Promise.resolve(body);
    }
    if (this.#peers.get(from)!.hasLeft) return Promise.reject(this.#fail(this.#ended(from, 'it has left the group')));
    return new Promise((done, failed) => this.#waiting.set(key, { from, done, failed }));
  }

  #take(from: number, { kind, sequence, part, body }: Message): void {
    if (kind === kinds.abort) {
      this.#fail(new GroupError(new TextDecoder().decode(body)), false);
      return;
    }
    if (kind === kinds.bye) {
      this.#peers.get(from)!.hasLeft = true;
      const waits = [...this.#waiting.values()].some((waiter) => waiter.from === from);
      if (waits) this.#fail(this.#ended(from, 'it has left the group'));
      return;
    }
    if (kind === kinds.text && sequence < 2 ** 31) {
      const { what } = announcementOf(body);
      if (this.#exchanges.has(sequence)) this.#compare(sequence, from, what);
      else if (sequence >= this.#sequence) {
        const all = this.#announced.get(sequence) ?? new Map<number, string>();
        this.#announced.set(sequence, all.set(from, what));
      }
    }
    const key = `${from}/${kind}/${sequence}/${part}`;
    const waiter = this.#waiting.get(key);
    this.#waiting.delete(key);
    if (waiter) waiter.done(body);
    else this.#arrived.set(key, body);
  }

  #compare(sequence: number, other: number, theirs: string): void {
    const { what } = this.#exchanges.get(sequence)!;
    if (what === theirs) return;
    this.#fail(
      new GroupError(
        `rank ${this.rank} does "${what}" where rank ${other} does "${theirs}"; all ranks must call the same, ` +
          'with the same shapes',
      ),
    );
  }

  #ended(rank: number, reason: string): GroupError {
    const what = [...this.#exchanges.values()][0]?.what;
    return new GroupError(`rank ${rank} has ended (${reason})${what ? ` during ${what}` : ''}`);
  }

  #lost(rank: number, reason: string): void {
    if (this.#isClosed || this.#peers.get(rank)?.hasLeft) return;
    this.#fail(this.#ended(rank, reason));
  }

  /** Ends everything with this error, here and, unless they know, in the other ranks. Returns the error. */
  #fail(error: GroupError, tell = true): GroupError {
    if (this.#failure) return this.#failure;
    this.#failure = error;
    for (const { failed } of this.#waiting.values()) failed(error);
    this.#waiting.clear();
    this.#arrived.clear();
    for (const peer of this.#peers.values()) {
      if (tell) void peer.send(kinds.abort, 0, 0, new TextEncoder().encode(error.message));
      void peer.close();
    }
    return error;
  }
}

interface Announcement {
  readonly what: string;
  readonly value?: unknown;
}

const announcementOf = (body: Uint8Array): Announcement => JSON.parse(new TextDecoder().decode(body)) as Announcement;

const numbersOf = (body: Uint8Array<ArrayBuffer>): Float32Array => new Float32Array(body.buffer);

/** Messages of a MiB. */
const piecesOf = (x: Float32Array): Float32Array[] =>
  Array.from({ length: Math.ceil(x.length / 2 ** 18) }, (_, i) => x.subarray(i * 2 ** 18, (i + 1) * 2 ** 18));

/** Numbers as `x` is: on the host or on the device. */
function like<T extends Exchanged>(x: T, values: Float32Array, shape?: readonly number[]): T {
  return (x instanceof Tensor ? tensorOf(values, shape ?? x.shape) : values) as T;
}
