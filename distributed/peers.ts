import { Connection, kinds } from './connection.ts';
import type { Kind, Message } from './connection.ts';
import { GroupError } from './errors.ts';
import type { Acquainted } from './rendezvous.ts';

export interface WaitOptions {
  /**
   * Milliseconds without an end after which the group fails; Infinity where another rank may work for hours.
   */
  readonly timeout?: number;
}

interface Waiter {
  readonly from: number;
  readonly done: (body: Uint8Array<ArrayBuffer>) => void;
  readonly failed: (error: Error) => void;
}

/** What a rank does, and a value where the others are to have one. */
interface Announcement {
  readonly what: string;
  readonly value?: unknown;
}

const announcementOf = (body: Uint8Array): Announcement => JSON.parse(new TextDecoder().decode(body)) as Announcement;

/** From here up are the numbers of exchanges that only two ranks take part in. */
const ofTwo = 2 ** 31;

const keyOf = (from: number, kind: Kind, sequence: number, part: number): string =>
  `${from}/${kind}/${sequence}/${part}`;

/**
 * The other ranks of a group: messages to and from them, in exchanges that all number alike. Sees to it that
 * all mean the same by a number, and ends everything, in all ranks, when one is gone, silent or astray.
 */
export class Peers {
  readonly #rank: number;
  readonly #timeout: number;
  readonly #connections = new Map<number, Connection>();
  readonly #arrived = new Map<string, Uint8Array<ArrayBuffer>>();
  readonly #waiting = new Map<string, Waiter>();
  /** What this rank does in each exchange under way. */
  readonly #exchanges = new Map<number, string>();
  /** What other ranks have said of exchanges that this one has not come to. */
  readonly #announced = new Map<number, Map<number, string>>();
  readonly #counts = new Map<string, number>();
  #sequence = 0;
  #failure: GroupError | undefined;
  #isClosed = false;
  #held = 0;

  /** `timeout`: milliseconds that an exchange may take, where it says nothing else. */
  constructor(rank: number, timeout: number, met: readonly Acquainted[]) {
    this.#rank = rank;
    this.#timeout = timeout;
    for (const { socket, rank: other, early } of met) {
      const connection = new Connection(
        socket,
        early,
        (message) => this.#take(other, message),
        (reason) => this.#lost(other, reason),
      );
      this.#connections.set(other, connection);
      connection.hold(false);
    }
  }

  get ranks(): number[] {
    return [...this.#connections.keys()];
  }

  /** Numbers an exchange, and sees to it that all ranks mean the same by this number. */
  during<T>(what: string, options: WaitOptions, work: (sequence: number) => Promise<T>): Promise<T> {
    const sequence = this.#sequence++;
    this.#exchanges.set(sequence, what);
    for (const [other, theirs] of this.#announced.get(sequence) ?? []) this.#compare(sequence, other, theirs);
    this.#announced.delete(sequence);
    return this.guarded(what, options, () => work(sequence)).finally(() => this.#exchanges.delete(sequence));
  }

  /** Numbers what goes between two ranks alone: of each direction the first, the second and so on. */
  next(direction: string): number {
    const count = this.#counts.get(direction) ?? 0;
    this.#counts.set(direction, count + 1);
    return ofTwo + (count % ofTwo);
  }

  /** Lets the process live while it waits, and not for ever. */
  async guarded<T>(what: string, { timeout = this.#timeout }: WaitOptions, work: () => Promise<T>): Promise<T> {
    if (this.#failure) throw this.#failure;
    if (this.#isClosed) throw new GroupError(`${what}: this process has left its group`);
    this.#hold(1);
    const limit = Number.isFinite(timeout) ? setTimeout(() => this.fail(this.#silent(what, timeout)), timeout) : 0;
    try {
      return await work();
    } finally {
      clearTimeout(limit);
      this.#hold(-1);
    }
  }

  /** Resolves when the numbers may change. */
  sendNumbers(to: number, sequence: number, part: number, x: Float32Array): Promise<void> {
    const bytes = new Uint8Array(x.buffer, x.byteOffset, x.byteLength);
    return this.#connections.get(to)!.send(kinds.data, sequence, part, bytes);
  }

  async receiveNumbers(from: number, sequence: number, part: number): Promise<Float32Array> {
    return new Float32Array((await this.#receive(from, kinds.data, sequence, part)).buffer);
  }

  /** Tells what this rank does, and a value that JSON can hold. */
  sendText(to: number, sequence: number, what: string, value?: unknown): Promise<void> {
    const bytes = new TextEncoder().encode(JSON.stringify({ what, value }));
    return this.#connections.get(to)!.send(kinds.text, sequence, 0, bytes);
  }

  async receiveText(from: number, sequence: number): Promise<Announcement> {
    return announcementOf(await this.#receive(from, kinds.text, sequence, 0));
  }

  /** Ends everything with this error, here and, unless they know, in the other ranks. Returns the error. */
  fail(error: GroupError, tell = true): GroupError {
    if (this.#failure) return this.#failure;
    this.#failure = error;
    for (const { failed } of this.#waiting.values()) failed(error);
    this.#waiting.clear();
    this.#arrived.clear();
    for (const peer of this.#connections.values()) {
      if (tell) void peer.send(kinds.abort, 0, 0, new TextEncoder().encode(error.message));
      void peer.close();
    }
    return error;
  }

  /** Takes leave. The other ranks may go on among themselves only to end, too. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await Promise.all(
      [...this.#connections.values()].map(async (peer) => {
        void peer.send(kinds.bye);
        await peer.close();
      }),
    );
  }

  #receive(from: number, kind: Kind, sequence: number, part: number): Promise<Uint8Array<ArrayBuffer>> {
    const key = keyOf(from, kind, sequence, part);
    if (this.#failure) return Promise.reject(this.#failure);
    const body = this.#arrived.get(key);
    if (body) {
      this.#arrived.delete(key);
      return Promise.resolve(body);
    }
    if (this.#connections.get(from)!.hasLeft)
      return Promise.reject(this.fail(this.#ended(from, 'it has left the group')));
    return new Promise((done, failed) => this.#waiting.set(key, { from, done, failed }));
  }

  #take(from: number, { kind, sequence, part, body }: Message): void {
    if (kind === kinds.abort) {
      this.fail(new GroupError(new TextDecoder().decode(body)), false);
      return;
    }
    if (kind === kinds.bye) {
      this.#connections.get(from)!.hasLeft = true;
      const waits = [...this.#waiting.values()].some((waiter) => waiter.from === from);
      if (waits) this.fail(this.#ended(from, 'it has left the group'));
      return;
    }
    if (kind === kinds.text && sequence < ofTwo) {
      const { what } = announcementOf(body);
      if (this.#exchanges.has(sequence)) this.#compare(sequence, from, what);
      else if (sequence >= this.#sequence) {
        const all = this.#announced.get(sequence) ?? new Map<number, string>();
        this.#announced.set(sequence, all.set(from, what));
      }
    }
    const key = keyOf(from, kind, sequence, part);
    const waiter = this.#waiting.get(key);
    this.#waiting.delete(key);
    if (waiter) waiter.done(body);
    else this.#arrived.set(key, body);
  }

  #compare(sequence: number, other: number, theirs: string): void {
    const what = this.#exchanges.get(sequence)!;
    if (what === theirs) return;
    this.fail(
      new GroupError(
        `rank ${this.#rank} does "${what}" where rank ${other} does "${theirs}"; all ranks must call the same, ` +
          'with the same shapes',
      ),
    );
  }

  #ended(rank: number, reason: string): GroupError {
    const [what] = this.#exchanges.values();
    return new GroupError(`rank ${rank} has ended (${reason})${what ? ` during ${what}` : ''}`);
  }

  #lost(rank: number, reason: string): void {
    if (this.#isClosed || this.#connections.get(rank)?.hasLeft) return;
    this.fail(this.#ended(rank, reason));
  }

  #silent(what: string, timeout: number): GroupError {
    const from = [...new Set([...this.#waiting.values()].map((waiter) => waiter.from))].sort((a, b) => a - b);
    const who = from.length > 0 ? `rank${from.length > 1 ? 's' : ''} ${from.join(', ')}` : 'the others';
    return new GroupError(`${what}: rank ${this.#rank} waited ${timeout / 1000} s for ${who}; see whether they work`);
  }

  #hold(change: number): void {
    this.#held += change;
    if (this.#held === 0 || (this.#held === 1 && change === 1))
      for (const peer of this.#connections.values()) peer.hold(this.#held > 0);
  }
}
