import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export const COMMIT = '0123456789abcdef0123456789abcdef01234567';

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** The id that git gives a file, and the hub a file that is not in Git LFS. */
export const gitId = (text: string): string =>
  createHash('sha1')
    .update(`blob ${Buffer.byteLength(text)}\0`)
    .update(text)
    .digest('hex');

/** An entry of the hub's listing of files. */
export type Entry = Record<string, unknown>;

/** What a hub answers otherwise than it should. Each returns true where it has answered, or will. */
export interface Lies {
  readonly info?: (response: ServerResponse) => boolean;
  /** Changes the listing. */
  readonly listing?: (entries: Entry[], response: ServerResponse) => unknown;
  /** `nth`: how often this file was asked for before. */
  readonly file?: (
    file: string,
    bytes: Buffer,
    request: IncomingMessage,
    response: ServerResponse,
    nth: number,
  ) => boolean;
}

/** A hub on this machine with one model, as the public one answers; large files (by name) are in Git LFS. */
export class FakeHub {
  readonly requests: string[] = [];
  /** The token of each request, '' where none came. */
  readonly tokens: string[] = [];
  /** Sent by the hub instead of a file, to play a damaged download. */
  readonly sent: Record<string, string> = {};
  token: string | undefined;
  lies: Lies = {};
  private readonly asked = new Map<string, number>();
  private readonly server: Server;
  private readonly name: string;
  private readonly files: Record<string, string>;

  constructor(name: string, files: Record<string, string>) {
    this.name = name;
    this.files = files;
    this.server = createServer((request, response) => this.answer(request, response));
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname } = new URL(request.url!, 'http://hub');
    this.requests.push(pathname);
    this.tokens.push(request.headers.authorization ?? '');
    const json = (status: number, value: unknown): void => {
      response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
    };
    if (this.token && request.headers.authorization !== `Bearer ${this.token}`) return json(401, { error: 'no' });
    if (pathname.startsWith(`/api/models/${this.name}/revision/`)) {
      if (this.lies.info?.(response)) return;
      return json(200, { id: this.name, sha: COMMIT });
    }
    if (pathname === `/api/models/${this.name}/tree/${COMMIT}`) {
      const entries = this.listing();
      const listing = this.lies.listing?.(entries, response) ?? entries;
      return response.writableEnded || response.headersSent ? undefined : json(200, listing);
    }
    const file = pathname.split(`/${this.name}/resolve/${COMMIT}/`)[1];
    const text = file === undefined ? undefined : (this.sent[file] ?? this.files[file]);
    if (file === undefined || text === undefined) return json(404, { error: 'Repository not found' });
    const bytes = Buffer.from(text);
    const nth = this.asked.get(file) ?? 0;
    this.asked.set(file, nth + 1);
    if (this.lies.file?.(file, bytes, request, response, nth)) return;
    sendFile(bytes, request, response);
  }

  private listing(): Entry[] {
    const entries = Object.entries(this.files).map(([path, text]) => {
      const size = Buffer.byteLength(text);
      const lfs = { oid: sha256(text), size, pointerSize: 130 };
      return { type: 'file', path, size, oid: gitId(text), ...(path.endsWith('.safetensors') ? { lfs } : {}) };
    });
    return [...entries, { type: 'directory', path: 'onnx', size: 0, oid: gitId('') }];
  }
}

/** Sends a file, or the part of it that was asked for. */
export function sendFile(bytes: Buffer, request: IncomingMessage, response: ServerResponse): void {
  const start = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const range = request.headers.range === undefined ? {} : rangeHeader(start, bytes.length);
  const part = bytes.subarray(start);
  response.writeHead(start > 0 ? 206 : 200, { 'Content-Length': part.length, ...range });
  response.end(part);
}

export function rangeHeader(start: number, length: number): { 'Content-Range': string } {
  return { 'Content-Range': `bytes ${start}-${length - 1}/${length}` };
}
