import { printable } from '../../common/printable.ts';
import type * as z from 'zod';

/** What a client reads about a failure, beside its message. */
export interface ErrorFacts {
  /** HTTP's. */
  readonly status: number;
  /** OpenAI's kind; default by the status. */
  readonly type?: string;
  /** The field of the request that is to blame: `messages[0].content`. */
  readonly param?: string | undefined;
  /** For programs: `model_not_found`. */
  readonly code?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const typeOf = (status: number): string =>
  status === 429 ? 'rate_limit_error' : status < 500 ? 'invalid_request_error' : 'server_error';

/**
 * A request that is refused, or fails, with what its client is told of it: the message, in OpenAI's form.
 *
 * @example
 * const error = new RequestError('there is no model "x"', { status: 404, param: 'model' });
 * error.toJSON().error.type; // 'invalid_request_error'
 */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  readonly facts: ErrorFacts;

  constructor(message: string, facts: ErrorFacts) {
    super(printable(message));
    this.facts = facts;
  }

  toJSON(): { error: { message: string; type: string; param: string | null; code: string | null } } {
    const { status, type = typeOf(status), param = null, code = null } = this.facts;
    return { error: { message: this.message, type, param, code } };
  }

  toResponse(): Response {
    return Response.json(this.toJSON(), { status: this.facts.status, headers: this.facts.headers ?? {} });
  }
}

/** A request that is wrong in a field. */
export const badField = (param: string | undefined, message: string, code?: string): RequestError =>
  new RequestError(message, { status: 400, param, ...(code === undefined ? {} : { code }) });

/** The body as the schema has it. Error, 400: the first field that is wrong, by its name. */
export function checked<T extends z.ZodType>(schema: T, body: unknown): z.output<T> {
  const { data, error } = schema.safeParse(body);
  const issue = error?.issues[0];
  if (!issue) return data!;
  const place = issue.path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text === '' ? String(key) : `${text}.${String(key)}`),
    '',
  );
  if (issue.code === 'unrecognized_keys') {
    const name = `${place === '' ? '' : `${place}.`}${issue.keys[0]}`;
    throw badField(
      name.slice(0, 100),
      `there is no field ${name.slice(0, 100)} here, or it does nothing; leave it out`,
    );
  }
  throw badField(place || undefined, `${place || 'the body'}: ${issue.message}`);
}
