// One TCP connection between two ranks. Messages have a head of 16 bytes and a body of at most 16 MiB:
//
//   u8 kind, 3 bytes of zeros, u32 sequence, u32 part, u32 bytes of the body      (little-endian)
//
// `sequence` numbers the exchange that a message belongs to, `part` the messages of one. Numbers travel as
// the machine has them, f32 little-endian.
import type { Socket } from 'node:net';

/** What a message is: numbers; a text that describes an exchange; why a rank gives up; a good-bye. */
export const kinds = { data: 1, text: 2, abort: 3, bye: 4 } as const;
export type Kind = (typeof kinds)[keyof typeof kinds];

export interface Message {
  readonly kind: Kind;
  readonly sequence: number;
  readonly part: number;
  readonly body: Uint8Array<ArrayBuffer>;
}

const headBytes = 16;
const largestBody = 16 * 2 ** 20;

/** Reads messages from bytes that come in any pieces. Throws where they are none. */
export class MessageReader {
  readonly #head = new Uint8Array(headBytes);
  readonly #view = new DataView(this.#head.buffer);
  #filled = 0;
  #body: Uint8Array<ArrayBuffer> | undefined;

  read(bytes: Uint8Array, deliver: (message: Message) => void): void {
    for (let at = 0; at < bytes.length || this.#isWhole;) {
      if (this.#isWhole) {
        const [kind, sequence, part] = [this.#head[0] as Kind, ...[4, 8].map((i) => this.#view.getUint32(i, true))];
        const body = this.#body!;
        this.#filled = 0;
        this.#body = undefined;
        deliver({ kind, sequence: sequence!, part: part!, body });
        continue;
      }
      const target = this.#body ?? this.#head;
      const start = this.#filled - (this.#body ? headBytes : 0);
      const piece = bytes.subarray(at, at + target.length - start);
      target.set(piece, start);
      at += piece.length;
      this.#filled += piece.length;
      if (!this.#body && this.#filled === headBytes) this.#body = new Uint8Array(this.#bodyBytes());
    }
  }

  get #isWhole(): boolean {
    return this.#body !== undefined && this.#filled === headBytes + this.#body.length;
  }

  #bodyBytes(): number {
    const bytes = this.#view.getUint32(12, true);
    const [kind, ...zeros] = this.#head.subarray(0, 4);
    if (!kind || kind > kinds.bye || zeros.some((x) => x !== 0) || bytes > largestBody)
      throw new Error('what came is no message of a process group');
    return bytes;
  }
}

/** A connection that messages go through, after both sides have shown that they know the secret. */
export class Connection {
  readonly #socket: Socket;
  #isOpen = true;
  /** Whether the other side has said good-bye. */
  hasLeft = false;

  /** `early`: bytes that came behind the handshake. `ended` is told once, with the reason. */
  constructor(socket: Socket, early: Uint8Array, deliver: (message: Message) => void, ended: (reason: string) => void) {
    this.#socket = socket;
    const reader = new MessageReader();
    const end = (reason: string): void => {
      if (!this.#isOpen) return;
      this.#isOpen = false;
      socket.destroy();
      ended(reason);
    };
    const read = (bytes: Uint8Array): void => {
      try {
        reader.read(bytes, deliver);
      } catch (error) {
        end((error as Error).message);
      }
    };
    socket.setNoDelay(true).setKeepAlive(true, 30_000).setTimeout(0);
    socket.on('data', read);
    socket.on('error', (error) => end(error.message));
    socket.on('close', () => end('its connection was closed'));
    socket.on('end', () => end('its connection was closed'));
    if (early.length > 0) read(early);
    socket.resume();
  }

  /** Sends a message; resolves when the system has taken it, so that `body` may change. */
  send(kind: Kind, sequence = 0, part = 0, body: Uint8Array = new Uint8Array(0)): Promise<void> {
    if (!this.#isOpen) return Promise.resolve(); // the group has been told why
    const head = new DataView(new ArrayBuffer(headBytes));
    head.setUint8(0, kind);
    head.setUint32(4, sequence, true);
    head.setUint32(8, part, true);
    head.setUint32(12, body.length, true);
    return new Promise((done) => {
      const socket = this.#socket;
      socket.cork();
      socket.write(new Uint8Array(head.buffer));
      socket.write(body, () => done()); // errors come by the event
      socket.uncork();
    });
  }

  /** Whether this connection keeps the process alive: only while something is waited for. */
  hold(isHeld: boolean): void {
    if (isHeld) this.#socket.ref();
    else this.#socket.unref();
  }

  /** Closes it when what was sent is through; nothing is told of it. */
  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    const socket = this.#socket.ref(); // what was sent is to leave before the process ends
    const late = setTimeout(() => socket.destroy(), 1000);
    await new Promise<void>((done) => socket.once('close', () => done()).end());
    clearTimeout(late);
  }
}
