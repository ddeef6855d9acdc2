import { setTimeout as sleep } from 'node:timers/promises';
import { printable } from '../../common/printable.ts';
import type { Guard } from '../guard/index.ts';
import { GpuError } from '../../gpu/index.ts';
import { Access } from './access.ts';
import type { AccessOptions } from './access.ts';
import { readJson } from './body.ts';
import type { BodyLimits } from './body.ts';
import { chatCompletions, completions } from './completions.ts';
import type { Metrics } from './metrics.ts';
import type { ServedModel } from './models.ts';
import { servedPage } from './page.ts';
import { RequestError } from './request-error.ts';
import { requestBodies } from './requests.ts';
import { clientGone, failureOf } from './service.ts';
import type { Call, Service, ServiceLimits } from './service.ts';
import { embeddings, runTask } from './tasks.ts';
import type { Turns } from './turns.ts';

export interface HandlerLimits extends ServiceLimits, BodyLimits {
  /** Seconds that a request may take. */
  readonly timeout: number;
}

export const defaultLimits: HandlerLimits = {
  maxTokens: 1024,
  maxTexts: 128,
  maxBodyBytes: 2 ** 20,
  queue: 256,
  timeout: 300,
};

export interface HandlerOptions {
  readonly models: readonly ServedModel[];
  readonly turns: Turns;
  readonly access: AccessOptions;
  readonly limits: HandlerLimits;
  readonly metrics: Metrics;
  readonly guard?: Guard | undefined;
  /** Origins whose pages may ask, or `*`; default none. */
  readonly corsOrigins?: readonly string[];
  /** Gets a line for each request: method, path, status, time. Never a text. */
  readonly log?: (line: string) => void;
  /** Told of an error of the device: of one computation, or of all from now on. */
  readonly onDeviceError?: (error: GpuError) => void;
}

/** Where a request came from. */
export interface Peer {
  readonly address: string;
}

type Route = (service: Service, call: Call) => Promise<Response>;

const posts: Readonly<Record<string, Route>> = {
  '/v1/chat/completions': chatCompletions,
  '/v1/completions': completions,
  '/v1/embeddings': embeddings,
};
const gets = ['/v1/models', '/health', '/metrics', '/'];
const taskPath = '/v1/tasks/';

/** Of every answer: it is not kept, nor taken for another type, nor shown inside another page. */
const headers = {
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
};

/**
 * Answers requests with served models: a function of a web-standard Request, so that it runs behind any
 * server. `serve` puts it behind Node's.
 *
 * @example
 * const { handler, close } = await serve({ models: ['models/pretrained/spam-small'], port: 0 });
 * const request = new Request('http://localhost/v1/models');
 * (await handler.handle(request, { address: '127.0.0.1' })).status; // 200
 * await close();
 */
export class Handler {
  readonly #options: HandlerOptions;
  readonly #service: Service;
  readonly #access: Access;
  readonly #running = new Set<AbortController>();
  #isStopping = false;
  #whenIdle: () => void = () => undefined;

  constructor(options: HandlerOptions) {
    this.#options = options;
    const { models, limits, metrics, turns, guard } = options;
    this.#service = {
      models: new Map(models.map((model) => [model.name, model])),
      limits,
      bodies: requestBodies(limits),
      metrics,
      turns,
      guard,
    };
    this.#access = new Access(options.access);
  }

  /** Requests that are not answered to their end. */
  get running(): number {
    return this.#running.size;
  }

  /**
   * Refuses what comes from now on, and waits until what runs is done, or for so many seconds: what runs then
   * is stopped.
   */
  async stop(seconds: number): Promise<void> {
    this.#isStopping = true;
    if (this.#running.size === 0) return;
    let timer: NodeJS.Timeout | undefined;
    const idle = new Promise<void>((resolve) => (this.#whenIdle = resolve));
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, 1000 * seconds)));
    await Promise.race([idle, late]);
    clearTimeout(timer);
    const error = new RequestError('the server stops', { status: 503 });
    for (const controller of this.#running) controller.abort(error);
    if (this.#running.size > 0) await Promise.race([idle, sleep(1000)]);
  }

  /** Answers a request; never throws. */
  async handle(request: Request, peer: Peer): Promise<Response> {
    const began = performance.now();
    const { pathname } = new URL(request.url);
    const route = routeOf(pathname);
    const { metrics } = this.#service;
    const controller = new AbortController();
    const gone = (): void => controller.abort(clientGone());
    request.signal.addEventListener('abort', gone, { once: true });
    const { timeout } = this.#options.limits;
    const timer = setTimeout(
      () => controller.abort(new RequestError(`it took longer than ${timeout} s`, { status: 504, code: 'timeout' })),
      1000 * timeout,
    );
    timer.unref();
    this.#running.add(controller);
    metrics.set('tapeform_running_requests', this.#running.size);
    let lasting: Promise<void> | undefined;
    const lasts = (work: Promise<void>): void => void (lasting = work);
    let response: Response;
    try {
      const work = this.#answer(request, peer, pathname, {
        signal: controller.signal,
        stop: (reason) => {
          this.#watch(reason);
          controller.abort(reason);
        },
        lasts,
        began,
      });
      response = await Promise.race([work, aborted(controller.signal)]);
    } catch (error) {
      this.#watch(error);
      response = this.#refusal(error);
      controller.abort(error);
    }
    const { status } = response;
    const end = (): void => {
      clearTimeout(timer);
      request.signal.removeEventListener('abort', gone);
      this.#running.delete(controller);
      if (this.#running.size === 0) this.#whenIdle();
      const seconds = (performance.now() - began) / 1000;
      metrics.set('tapeform_running_requests', this.#running.size);
      metrics.count('tapeform_requests_total', { route, status: String(status) });
      metrics.observe('tapeform_request_seconds', seconds, { route });
      const path = printable(pathname.slice(0, 200));
      this.#options.log?.(`${peer.address} ${request.method} ${path} ${status} ${seconds.toFixed(3)} s`);
    };
    if (lasting) void lasting.then(end);
    else end();
    return this.#dressed(request, response);
  }

  async #answer(request: Request, peer: Peer, path: string, call: Omit<Call, 'body'>): Promise<Response> {
    if (path === '/health') {
      this.#access.checkHost(request);
      return this.#isStopping
        ? Response.json({ status: 'stopping' }, { status: 503 })
        : Response.json({ status: 'ok', models: this.#service.models.size });
    }
    if (request.method === 'OPTIONS' && request.headers.has('access-control-request-method'))
      return new Response(null, { status: 204 });
    if (path === '/favicon.ico') return new Response(null, { status: 204 }); // browsers ask for it
    if (path === '/' && request.method === 'GET') {
      this.#access.checkHost(request);
      return servedPage();
    }
    this.#access.check(request, peer.address);
    if (this.#isStopping)
      throw new RequestError('the server stops', {
        status: 503,
        headers: { 'retry-after': '10', connection: 'close' },
      });
    const post = Object.hasOwn(posts, path) ? posts[path] : undefined;
    const isTask = path.startsWith(taskPath);
    const wanted = post || isTask ? 'POST' : gets.includes(path) || path.startsWith('/v1/models/') ? 'GET' : undefined;
    if (wanted === undefined) throw new RequestError(`there is nothing at ${path.slice(0, 200)}`, { status: 404 });
    if (request.method !== wanted)
      throw new RequestError(`${path} takes ${wanted}, not ${request.method}`, {
        status: 405,
        headers: { allow: wanted },
      });
    if (path === '/metrics') return this.#metrics();
    if (wanted === 'GET') return this.#models(path);
    const body = await readJson(request, this.#options.limits);
    const whole: Call = { ...call, body };
    return post ? post(this.#service, whole) : runTask(this.#service, whole, path.slice(taskPath.length));
  }

  #metrics(): Response {
    const { metrics, turns } = this.#service;
    metrics.set('tapeform_waiting_texts', turns.waiting);
    return new Response(metrics.toString(), {
      headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' },
    });
  }

  /** All models, or one by its name. */
  #models(path: string): Response {
    const { models } = this.#service;
    const shown = (model: ServedModel): object => ({
      id: model.name,
      object: 'model',
      created: model.created,
      owned_by: 'tapeform',
      tasks: tasksOf(model),
    });
    const name = path.slice('/v1/models/'.length);
    if (name === '') return Response.json({ object: 'list', data: [...models.values()].map(shown) });
    const model = models.get(name);
    if (!model)
      throw new RequestError(`there is no model "${name.slice(0, 100)}" here`, {
        status: 404,
        code: 'model_not_found',
      });
    return Response.json(shown(model));
  }

  #refusal(error: unknown): Response {
    const failure = failureOf(error);
    // What the server did wrong is told to those who run it.
    if (failure.facts.status === 500)
      this.#options.log?.(error instanceof Error ? (error.stack ?? error.message) : String(error));
    return failure.toResponse();
  }

  #watch(error: unknown): void {
    if (error instanceof GpuError) this.#options.onDeviceError?.(error);
  }

  #dressed(request: Request, response: Response): Response {
    for (const [name, value] of Object.entries(headers)) response.headers.set(name, value);
    const { corsOrigins = [] } = this.#options;
    const origin = request.headers.get('origin');
    if (origin !== null && (corsOrigins.includes('*') || corsOrigins.includes(origin))) {
      response.headers.set('access-control-allow-origin', corsOrigins.includes('*') ? '*' : origin);
      response.headers.set('access-control-allow-methods', 'GET, POST');
      response.headers.set('access-control-allow-headers', 'authorization, content-type');
      response.headers.append('vary', 'origin');
    }
    return response;
  }
}

/** What metrics call a path: few names, whatever clients send. */
function routeOf(path: string): string {
  if (Object.hasOwn(posts, path) || gets.includes(path)) return path;
  if (path.startsWith(taskPath)) return `${taskPath}TASK`;
  return path.startsWith('/v1/models/') ? '/v1/models' : 'other';
}

function tasksOf(model: ServedModel): readonly string[] {
  if (model.kind === 'task') return model.tasks;
  if (model.kind === 'embedding') return ['feature-extraction'];
  return model.generator.tokenizer.chatTemplate === undefined ? ['text-generation'] : ['text-generation', 'chat'];
}

/** Rejects when the signal is aborted, whatever else is waited for. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}
