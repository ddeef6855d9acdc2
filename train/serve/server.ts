import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import type { Handler } from './handler.ts';
import { RequestError } from './request-error.ts';
import { clientGone } from './service.ts';

export interface ServerOptions {
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
  /** Connections at once. */
  readonly connections: number;
  /** Seconds without a byte after which a connection ends. */
  readonly idle: number;
  /** Take the address of a client from the last of x-forwarded-for, which a proxy writes. */
  readonly trustProxy: boolean;
}

/** Node's HTTP server in front of a handler. Error: the address is taken, or not the machine's. */
export async function listen(handler: Handler, options: ServerOptions): Promise<Server> {
  const { host, port, connections, idle, trustProxy } = options;
  const server = createServer(
    {
      // Who sends a request byte by byte is not waited for.
      headersTimeout: 10_000,
      requestTimeout: 30_000,
      connectionsCheckingInterval: 2000,
      keepAliveTimeout: 5000,
      maxHeaderSize: 16_384,
    },
    (request, response) => void answer(handler, request, response, trustProxy),
  );
  server.maxConnections = connections;
  server.timeout = 1000 * idle;
  server.on('clientError', (_, socket) => {
    if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n');
    else socket.destroy();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  return server;
}

const addressOf = (request: IncomingMessage, trustProxy: boolean): string => {
  const forwarded = trustProxy
    ? [request.headers['x-forwarded-for'] ?? []].flat().join(',').split(',').at(-1)!.trim()
    : '';
  return forwarded === '' ? (request.socket.remoteAddress ?? '') : forwarded;
};

/** A request of Node's as a web-standard one. Error, 400: a target or a host that makes no address. */
function requestOf(request: IncomingMessage, signal: AbortSignal): Request {
  const { method = 'GET', url = '/', headers } = request;
  const hasBody = method !== 'GET' && method !== 'HEAD';
  try {
    if (!url.startsWith('/')) throw new Error('no path');
    return new Request(new URL(`http://${headers.host ?? 'localhost'}${url}`), {
      method,
      headers: Object.entries(headers).flatMap(([name, value]): [string, string][] =>
        value === undefined ? [] : [[name, [value].flat().join(', ')]],
      ),
      signal,
      ...(hasBody ? { body: Readable.toWeb(request) as ReadableStream, duplex: 'half' } : {}),
    } as RequestInit);
  } catch {
    throw new RequestError('the request has no valid target, host or method', { status: 400 });
  }
}

async function answer(
  handler: Handler,
  request: IncomingMessage,
  response: ServerResponse,
  trustProxy: boolean,
): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) gone.abort(clientGone());
  });
  request.on('error', () => undefined); // it is told by the response's end
  response.on('error', () => undefined);
  try {
    const address = addressOf(request, trustProxy);
    const result = await handler.handle(requestOf(request, gone.signal), { address });
    await send(response, result, !request.complete);
  } catch (error) {
    if (response.headersSent) return void response.destroy();
    const failure = error instanceof RequestError ? error : new RequestError('the server failed', { status: 500 });
    await send(response, failure.toResponse(), true);
  }
}

/** Writes an answer as fast as it is read. `isLast`: the rest of the request is not wanted. */
async function send(response: ServerResponse, result: Response, isLast: boolean): Promise<void> {
  response.statusCode = result.status;
  for (const [name, value] of result.headers) response.setHeader(name, value);
  if (isLast) response.setHeader('connection', 'close');
  if (!result.body) return void response.end();
  const reader = result.body.getReader();
  response.once('close', () => void reader.cancel().catch(() => undefined));
  response.flushHeaders();
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    if (response.destroyed) return;
    if (!response.write(read.value))
      await new Promise<void>((resolve) => {
        response.once('drain', resolve);
        response.once('close', resolve);
      });
  }
  response.end();
}
