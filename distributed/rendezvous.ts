// How ranks find one another. Rank 0 listens at MASTER_ADDR and MASTER_PORT; each other rank connects to it,
// tells where it listens itself, and is told where the others do, to which it then connects: in the end each
// pair has a connection. Before anything else both sides of a connection show by an HMAC that they know the
// secret:
//
//   listener  { group, nonce }
//   caller    { rank, worldSize, version, nonce, proof }
//   listener  { proof } or { error }
//
// Each of these is a line of JSON. What follows is not encrypted.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { GroupError } from './errors.ts';

export interface Place {
  readonly rank: number;
  readonly worldSize: number;
  /** Of rank 0. */
  readonly host: string;
  readonly port: number;
  /** What all processes know and nobody else. */
  readonly secret: string;
  /** Of the software, which all must have alike. */
  readonly version: string;
  /** Milliseconds within which all must be there. */
  readonly timeout: number;
}

/** A connection that has been shown to lead to a rank, and bytes that came behind that. */
export interface Acquainted {
  readonly socket: Socket;
  readonly rank: number;
  readonly early: Uint8Array;
}

const protocol = 'tapeform-group-1';
/** Milliseconds that a stranger may take to say who it is, and bytes of a line. */
const [handshakeTime, longestLine] = [10_000, 64 * 1024];

/** Whether other machines cannot reach an address. */
export const isLoopback = (host: string): boolean => ['localhost', '127.0.0.1', '::1'].includes(host);

/** Lines of a socket, for as long as there are lines. */
class LineReader {
  readonly #socket: Socket;
  #rest: Buffer = Buffer.alloc(0);
  #failure: Error | undefined;
  #wake = (): void => undefined;
  readonly #listeners = {
    data: (bytes: Buffer) => this.#take(Buffer.concat([this.#rest, bytes])),
    error: (error: Error) => this.#fail(error),
    close: () => this.#fail(new Error('the connection was closed')),
    end: () => this.#fail(new Error('the connection was closed')),
  };

  constructor(socket: Socket) {
    this.#socket = socket;
    for (const [name, listener] of Object.entries(this.#listeners)) socket.on(name, listener);
  }

  #take(bytes: Buffer): void {
    this.#rest = bytes;
    this.#wake();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#wake();
  }

  /** The next line, as JSON. */
  async next(): Promise<Record<string, unknown>> {
    for (;;) {
      const end = this.#rest.indexOf(10);
      if (end >= 0) {
        const line = this.#rest.subarray(0, end).toString();
        this.#rest = this.#rest.subarray(end + 1);
        const value: unknown = JSON.parse(line);
        if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
        throw new Error('not an object');
      }
      if (this.#failure) throw this.#failure;
      if (this.#rest.length > longestLine) throw new Error('a line is too long');
      await new Promise<void>((wake) => (this.#wake = wake));
    }
  }

  /** Leaves the socket to others, with what came behind the lines. */
  release(): Uint8Array {
    for (const [name, listener] of Object.entries(this.#listeners)) this.#socket.off(name, listener);
    this.#socket.on('error', () => undefined).pause(); // until somebody else listens
    return this.#rest;
  }
}

const say = (socket: Socket, value: object): void => void socket.write(`${JSON.stringify(value)}\n`);

const proofOf = (secret: string, ...parts: readonly unknown[]): string =>
  createHmac('sha256', secret).update(JSON.stringify(parts)).digest('hex');

function isProof(given: unknown, expected: string): boolean {
  const [a, b] = [Buffer.from(String(given)), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}

interface Caller {
  readonly socket: Socket;
  readonly rank: number;
  readonly lines: LineReader;
}

/**
 * Listens, and hands on who has shown that it belongs to the group. `refused` is told of all others: why, in
 * a few words.
 */
async function listen(
  { rank, worldSize, secret, version }: Place,
  host: string,
  port: number,
  arrived: (caller: Caller) => void,
  refused: (why: string) => void,
): Promise<Server> {
  const meet = async (socket: Socket): Promise<void> => {
    const nonce = randomBytes(32).toString('hex');
    const lines = new LineReader(socket);
    say(socket, { group: protocol, nonce });
    const hello = await lines.next();
    const refuse = (error: string, told = error): void => {
      say(socket, { error });
      socket.end();
      refused(told);
    };
    const { rank: other, worldSize: others, version: its } = hello;
    const proof = proofOf(secret, 'caller', nonce, hello['nonce'], other, others, its);
    if (!isProof(hello['proof'], proof)) return refuse('secret', 'it does not know TAPEFORM_GROUP_SECRET');
    if (typeof other !== 'number') return refuse('no rank');
    if (its !== version)
      return refuse(`rank ${other} runs version ${String(its)}, rank ${rank} ${version}; install one everywhere`);
    if (others !== worldSize)
      return refuse(`rank ${other} has WORLD_SIZE ${String(others)}, rank ${rank} ${worldSize}; set it alike`);
    say(socket, { proof: proofOf(secret, 'listener', hello['nonce'], nonce) });
    socket.setTimeout(0);
    arrived({ socket, rank: other, lines });
  };
  const server = createServer((socket) => {
    socket.setTimeout(handshakeTime, () => socket.destroy());
    meet(socket).catch((error: unknown) => {
      socket.destroy();
      refused(String((error as Error).message));
    });
  });
  await new Promise<void>((done, failed) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const place = `${host}:${port}`;
      if (error.code === 'EADDRINUSE')
        failed(new GroupError(`port ${port} of ${host} is in use by another program; set MASTER_PORT to a free one`));
      else if (error.code === 'EADDRNOTAVAIL')
        failed(new GroupError(`${host} is no address of this machine, where rank 0 is; set MASTER_ADDR to one`));
      else failed(new GroupError(`rank 0 cannot listen at ${place}: ${error.message}`));
    });
    server.listen(port, host, done);
  });
  return server;
}

/** Connects to a rank that may not listen yet. */
async function call(place: Place, host: string, port: number, to: number, until: number): Promise<Caller> {
  const { rank, worldSize, version, secret } = place;
  const where = `rank ${to} at ${host}:${port}`;
  let socket: Socket;
  for (;;) {
    const tried = connect({ host, port });
    const failure = await new Promise<NodeJS.ErrnoException | undefined>((done) => {
      tried.once('connect', () => done(undefined));
      tried.once('error', done);
    });
    socket = tried;
    if (!failure) break;
    tried.destroy();
    const isEarly = ['ECONNREFUSED', 'ECONNRESET', 'EHOSTUNREACH', 'ETIMEDOUT', 'EAI_AGAIN'].includes(
      failure.code ?? '',
    );
    if (!isEarly || Date.now() > until)
      throw new GroupError(`rank ${rank} cannot reach ${where} (${failure.code ?? failure.message}); is it started?`);
    await sleep(50);
  }
  const lines = new LineReader(socket);
  const silent = setTimeout(() => socket.destroy(), Math.max(handshakeTime, until - Date.now()));
  try {
    const greeting = await lines.next().catch((error: Error) => {
      throw new GroupError(`what answers as ${where} is no process group (${error.message}); set another MASTER_PORT`);
    });
    if (greeting['group'] !== protocol)
      throw new GroupError(
        `${where} is ${typeof greeting['group'] === 'string' ? 'of another version' : 'no process group'}; ` +
          'install one version everywhere',
      );
    const nonce = randomBytes(32).toString('hex');
    const proof = proofOf(secret, 'caller', greeting['nonce'], nonce, rank, worldSize, version);
    say(socket, { rank, worldSize, version, nonce, proof });
    const answer = await lines.next().catch((error: Error) => {
      throw new GroupError(`${where} did not take rank ${rank} in: ${error.message}`);
    });
    if (answer['error'] === 'secret')
      throw new GroupError(
        `${where} does not take rank ${rank} in: TAPEFORM_GROUP_SECRET is not the same; set it alike everywhere`,
      );
    if (answer['error'] !== undefined) throw new GroupError(String(answer['error']));
    if (!isProof(answer['proof'], proofOf(secret, 'listener', nonce, greeting['nonce'])))
      throw new GroupError(`what answers as ${where} does not know TAPEFORM_GROUP_SECRET: it is not of this group`);
    return { socket, rank: to, lines };
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(silent);
  }
}

interface Address {
  readonly host: string;
  readonly port: number;
}

/** Meets all other ranks. Errors: those that are not there in time; what does not belong to the group. */
export async function meetAll(place: Place): Promise<Acquainted[]> {
  const { rank, worldSize, port, timeout } = place;
  const host = isLoopback(place.host) ? '127.0.0.1' : place.host;
  const until = Date.now() + timeout;
  const met = new Map<number, Caller>();
  const refusals: string[] = [];
  let wake = (): void => undefined;
  let failure: GroupError | undefined;
  const arrived = (caller: Caller): void => {
    if (met.has(caller.rank) || caller.rank === rank) {
      failure ??= new GroupError(`two processes have RANK ${caller.rank}; each needs a number of its own`);
      say(caller.socket, { error: failure.message });
    } else met.set(caller.rank, caller);
    wake();
  };
  const refused = (why: string): void => {
    refusals.push(why);
    // A rank of the group that cannot take part: to wait for another is of no use.
    if (/^rank \d+ /.test(why)) failure ??= new GroupError(why);
    wake();
  };
  const waitFor = async (ranks: readonly number[]): Promise<void> => {
    for (;;) {
      if (failure) throw failure;
      const missing = ranks.filter((other) => !met.has(other));
      if (missing.length === 0) return;
      const left = until - Date.now();
      if (left <= 0) {
        const more = refusals.length > 0 ? `; ${refusals.length} refused, the last: ${refusals.at(-1)!}` : '';
        throw new GroupError(
          `rank${missing.length > 1 ? 's' : ''} ${missing.join(', ')} of ${worldSize} did not come to rank ${rank} ` +
            `within ${timeout / 1000} s; start all, with the same MASTER_ADDR and MASTER_PORT${more}`,
        );
      }
      const waiting = new AbortController();
      await Promise.race([
        new Promise<void>((done) => (wake = done)),
        sleep(left, undefined, { signal: waiting.signal }).catch(() => undefined),
      ]);
      waiting.abort();
    }
  };

  let server: Server | undefined;
  try {
    if (rank === 0) {
      server = await listen(place, host, port, arrived, refused);
      await waitFor(range(1, worldSize));
      const table: Address[] = [];
      for (const [other, { lines }] of met) table[other] = (await lines.next()) as unknown as Address;
      for (const { socket } of met.values()) say(socket, { addresses: table });
    } else {
      const first = await call(place, host, port, 0, until);
      met.set(0, first);
      const own = first.socket.localAddress!;
      server = await listen(place, own, 0, arrived, refused);
      say(first.socket, { host: own, port: (server.address() as AddressInfo).port });
      const silent = setTimeout(() => first.socket.destroy(), Math.max(0, until - Date.now()));
      const answer = await first.lines.next().catch((error: Error) => {
        throw new GroupError(`rank 0 did not bring all ${worldSize} ranks together: ${error.message}`);
      });
      clearTimeout(silent);
      if (answer['error'] !== undefined) throw new GroupError(String(answer['error']));
      const addresses = answer['addresses'] as readonly Address[];
      for (const other of range(1, rank)) {
        const { host, port } = addresses[other]!;
        met.set(other, await call(place, host, port, other, until));
      }
      await waitFor(range(rank + 1, worldSize));
    }
    return [...met.values()].map(({ socket, rank, lines }) => ({ socket, rank, early: lines.release() }));
  } catch (error) {
    for (const { socket } of met.values()) {
      if (error instanceof GroupError && rank === 0) say(socket, { error: error.message });
      socket.end();
    }
    throw error;
  } finally {
    server?.close();
  }
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
