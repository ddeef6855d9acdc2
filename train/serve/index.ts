/**
 * Trained models as an online service, with OpenAI's API and more: `serve({ models: [...] })`, or the parts
 * of it, to stand behind another server.
 */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tensor } from '../../autograd/index.ts';
import type { Quantization } from '../../models/index.ts';
import { defaultLimits, Handler } from './handler.ts';
import type { HandlerLimits } from './handler.ts';
import { createGuard } from '../guard/index.ts';
import type { GuardConfig, GuardRule } from '../guard/index.ts';
import { Metrics } from './metrics.ts';
import { loadServedModels, modelSource } from './models.ts';
import type { ModelSource, ServedModel } from './models.ts';
import { listen } from './server.ts';
import { TextLane } from './text-lane.ts';
import { Turns } from './turns.ts';

export { Handler } from './handler.ts';
export type { HandlerLimits, HandlerOptions, Peer } from './handler.ts';
export type { AccessOptions } from './access.ts';
export { Metrics } from './metrics.ts';
export { modelSource } from './models.ts';
export type { ModelSource, ServedModel } from './models.ts';
export * from '../guard/index.ts';
export { RequestError } from './request-error.ts';
export type { ErrorFacts } from './request-error.ts';

export interface ServeOptions {
  /** Models by name and place, or places alone: `modelSource`. */
  readonly models: readonly (string | ModelSource)[];
  /** Adapters (LoRA) of the only model that continues texts, each a model of its own name. */
  readonly adapters?: readonly (string | ModelSource)[];
  /** Default 127.0.0.1: this machine alone. */
  readonly host?: string;
  /** Default 8000; 0 for any that is free. */
  readonly port?: number;
  /** Keys of clients; without any, nobody is asked for one, and only this machine may be listened on. */
  readonly apiKeys?: readonly string[];
  /** Listen on other machines' requests without keys. Default false. */
  readonly allowOpen?: boolean;
  /** Names besides this machine's that requests without keys may be made to. */
  readonly allowHosts?: readonly string[];
  /** Origins of pages that may ask (CORS), or '*'. Default none. */
  readonly corsOrigins?: readonly string[];
  /** Requests in a minute of a key or an address; default 0, any. */
  readonly rateLimit?: number;
  readonly trustProxy?: boolean;
  readonly limits?: Partial<HandlerLimits>;
  /** Connections at once; default 512. */
  readonly connections?: number;
  /** Texts that run together; default 8. */
  readonly batchSize?: number;
  /** Rules before and behind the models, see `createGuard`. */
  readonly guard?: GuardConfig | readonly GuardRule[] | undefined;
  readonly quantize?: Quantization | undefined;
  readonly cacheDtype?: 'int8' | undefined;
  /** Gets a line for each request; default none. */
  readonly log?: (line: string) => void;
  /** Told that the device computes nothing any more: the server is to be started again. */
  readonly onDeviceError?: (error: Error) => void;
}

/** A server that runs. */
export interface Serving {
  /** http://127.0.0.1:8000 */
  readonly url: string;
  readonly models: readonly ServedModel[];
  readonly handler: Handler;
  readonly metrics: Metrics;
  /** Refuses what comes, waits so many seconds for what runs, and ends; default 30. */
  close(seconds?: number): Promise<void>;
}

const isLoopback = (host: string): boolean => /^(localhost|127(\.\d+){3}|::1)$/i.test(host);

/**
 * Loads models and answers requests for them. Errors, each one line: a model that cannot be loaded; two of
 * one name; without keys, a host that other machines reach; an address that is taken.
 *
 * @example
 * const server = await serve({ models: ['spam=models/pretrained/spam-small'], port: 0 });
 * const response = await fetch(`${server.url}/v1/tasks/text-classification`, {
 *   method: 'POST',
 *   headers: { 'content-type': 'application/json' },
 *   body: JSON.stringify({ inputs: 'Win a free prize now!!!' }),
 * });
 * const { label } = (await response.json()) as { label: string };
 * label; // 'spam'
 * await server.close();
 */
export async function serve(options: ServeOptions): Promise<Serving> {
  const { host = '127.0.0.1', port = 8000, apiKeys = [], allowHosts = [], batchSize = 8 } = options;
  if (!isLoopback(host) && apiKeys.length === 0 && !options.allowOpen)
    throw new Error(
      `serve: whoever reaches ${host} could use the models; set a key (--api-key or TAPEFORM_API_KEY), or say ` +
        '--allow-open',
    );
  const short = apiKeys.find((key) => key.length < 16 || !/^[\x21-\x7e]+$/.test(key));
  if (short !== undefined)
    throw new Error('serve: a key must have at least 16 characters, without spaces; `openssl rand -hex 24` makes one');
  const sources = options.models.map((each) => (typeof each === 'string' ? modelSource(each) : each));
  const adapters = (options.adapters ?? []).map((each) => (typeof each === 'string' ? modelSource(each) : each));
  const names = [...sources, ...adapters].map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new Error(`serve: two models are called ${twice}; name one NAME=FOLDER`);
  if (adapters.length > 0 && sources.length !== 1)
    throw new Error('serve: adapters are served with one model; give one --model');
  const [turns, metrics] = [new Turns(), new Metrics()];
  const limits = { ...defaultLimits, ...options.limits };
  const models: ServedModel[] = [];
  for (const source of sources)
    models.push(
      ...(await loadServedModels(source, turns, {
        batchSize,
        batches: 2,
        adapters,
        quantize: options.quantize,
        cacheDtype: options.cacheDtype,
        onBatch: (kind, texts) => metrics.observe('tapeform_batch_texts', texts, { kind }),
      })),
    );
  const own = new TextLane(
    turns,
    (work: readonly (() => Promise<unknown>)[]) => Promise.all(work.map((run) => run())),
    {
      batchSize: 1,
    },
  );
  const turn = async <T>(work: () => Promise<T>): Promise<T> =>
    (await own.submit([work], {}, new AbortController().signal))[0] as T;
  const guard = options.guard && (await createGuard(options.guard, { turn }));
  const hosts = isLoopback(host) ? ['localhost', '127.0.0.1', '[::1]', ...allowHosts] : undefined;
  const handler = new Handler({
    models,
    turns,
    metrics,
    limits,
    guard,
    access: { apiKeys, rateLimit: options.rateLimit ?? 0, hosts },
    corsOrigins: options.corsOrigins ?? [],
    ...(options.log ? { log: options.log } : {}),
    // There may have been no memory for one text alone: the device is asked whether it still computes.
    onDeviceError: () =>
      void turn(() => tensor([1]).add(1).data()).catch((error: Error) => options.onDeviceError?.(error)),
  });
  const server = await listen(handler, {
    host,
    port,
    connections: options.connections ?? 512,
    idle: limits.timeout + 30,
    trustProxy: options.trustProxy ?? false,
  });
  const { port: bound, family } = server.address() as AddressInfo;
  const shown = family === 'IPv6' ? `[${host}]` : host;
  return {
    url: `http://${shown}:${bound}`,
    models,
    handler,
    metrics,
    close: (seconds = 30) => close(server, handler, seconds),
  };
}

async function close(server: Server, handler: Handler, seconds: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  await handler.stop(seconds);
  const late = setTimeout(() => server.closeAllConnections(), 1000);
  await closed;
  clearTimeout(late);
}
