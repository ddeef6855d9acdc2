import { nearestNames } from '../../common/nearest.ts';
import { GpuError } from '../../gpu/index.ts';
import type { Finding, Guard, Side } from '../guard/index.ts';
import type { Metrics } from './metrics.ts';
import type { ServedModel } from './models.ts';
import { badField, RequestError } from './request-error.ts';
import type { RequestBodies, RequestLimits } from './requests.ts';
import type { Turns } from './turns.ts';

export interface ServiceLimits extends RequestLimits {
  /** Texts that wait for the device at most; requests beyond are told to come again. */
  readonly queue: number;
}

/** What answers to requests share. */
export interface Service {
  readonly models: ReadonlyMap<string, ServedModel>;
  readonly limits: ServiceLimits;
  readonly bodies: RequestBodies;
  readonly metrics: Metrics;
  readonly turns: Turns;
  /** Looks at what clients send and at what models write. */
  readonly guard?: Guard | undefined;
}

/** A request on its way. */
export interface Call {
  readonly body: unknown;
  /** Aborted when its client goes away, its time is over, or the server stops. */
  readonly signal: AbortSignal;
  /** Stops the work for it. */
  readonly stop: (reason: Error) => void;
  /** Tells what goes on after the answer has begun. */
  readonly lasts: (work: Promise<void>) => void;
  /** When it came, of `performance.now()`. */
  readonly began: number;
}

/**
 * The model of a request; without a name the only one that fits. Error, 404: there is none of that name; 400:
 * it is of another kind, or several would do.
 */
export function modelOf<M extends ServedModel>(
  { models }: Service,
  name: string | null | undefined,
  what: string,
  fits: (model: ServedModel) => model is M,
): M {
  const able = [...models.values()].filter(fits);
  const list = able.map((model) => model.name);
  const choice = list.length > 0 ? `; use ${list.join(', ')}` : '; none here does';
  if (name === undefined || name === null) {
    if (able.length === 1) return able[0]!;
    throw badField('model', `model: name the one that ${what}${choice}`);
  }
  const model = models.get(name);
  if (!model) {
    const [near] = nearestNames(name, list);
    throw new RequestError(
      `there is no model "${name.slice(0, 100)}" here${near ? `; did you mean ${near}?` : choice}`,
      {
        status: 404,
        param: 'model',
        code: 'model_not_found',
      },
    );
  }
  if (!fits(model)) throw badField('model', `model: ${name} is not one that ${what}${choice}`);
  return model;
}

export const clientGone = (): RequestError =>
  new RequestError('the client went away', { status: 499, code: 'client_gone' });

/** Counts what the guard found. */
export function countFindings({ metrics }: Service, findings: readonly Finding[], side: Side): void {
  for (const { rule, action } of findings) metrics.count('tapeform_guard_total', { rule, action, side });
}

/**
 * What a client sends, with all its texts after the guard, however deep they lie; those under the keys in
 * `but` are no texts. Error, 400: a rule refuses one.
 */
export async function guarded<T>(service: Service, field: string, value: T, but: readonly string[] = []): Promise<T> {
  const { guard } = service;
  if (!guard?.has('input')) return value;
  const look = async (part: unknown): Promise<unknown> => {
    if (typeof part === 'string') {
      const { text, findings, refused } = await guard.check(part, 'input');
      countFindings(service, findings, 'input');
      if (refused !== undefined)
        throw badField(field, `${field}: the rule ${refused} of this server refuses the text`, 'content_filter');
      return text;
    }
    if (Array.isArray(part)) return Promise.all(part.map(look));
    if (typeof part !== 'object' || part === null) return part;
    const entries = Object.entries(part).map(async ([key, own]) => [key, but.includes(key) ? own : await look(own)]);
    return Object.fromEntries((await Promise.all(entries)) as [string, unknown][]);
  };
  return (await look(value)) as T;
}

/** Refuses texts that there is no room for in the queue. */
export function checkQueue({ turns, limits }: Service, texts: number): void {
  if (turns.waiting > 0 && turns.waiting + texts > limits.queue)
    throw new RequestError('too many texts wait already; try again later', {
      status: 429,
      code: 'queue_full',
      headers: { 'retry-after': '1' },
    });
}

/**
 * What the client is told of a failure. The library's errors on purpose are of one line and about the texts
 * given; nothing is told of others, which are ours.
 */
export function failureOf(error: unknown): RequestError {
  if (error instanceof RequestError) return error;
  if (error instanceof GpuError) return new RequestError('the device failed', { status: 503 });
  if (error instanceof Error && error.constructor === Error) return badField(undefined, error.message);
  return new RequestError('the server failed on this request', { status: 500 });
}
