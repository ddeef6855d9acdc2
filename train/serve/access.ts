import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import { RequestError } from './request-error.ts';

/** Who may ask, and how often. */
export interface AccessOptions {
  /** Keys of clients, one of which each request must bear; none: nobody is asked for one. */
  readonly apiKeys: readonly string[];
  /** Requests of a key, or without keys of an address, in a minute; 0 for any. */
  readonly rateLimit: number;
  /** Names that the server answers to without keys; undefined: to any. */
  readonly hosts?: readonly string[] | undefined;
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/** Clients whose requests are counted at most: the longest unseen are forgotten. */
const mostClients = 10_000;

/** Those of an IPv6 network are one client, which has all its addresses. */
export function clientOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '');
  if (isIP(plain) !== 6) return plain;
  const [head = '', tail] = plain.split('%')[0]!.split('::');
  const first = head === '' ? [] : head.split(':');
  const last = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - first.length - last.length);
  return [...first, ...Array<string>(zeros).fill('0'), ...last].slice(0, 4).join(':');
}

/** Allows so many a minute, as many at once, and tells in how many seconds there is room again. */
class Rates {
  readonly #perMinute: number;
  readonly #now: () => number;
  readonly #clients = new Map<string, { left: number; at: number }>();

  constructor(perMinute: number, now: () => number) {
    this.#perMinute = perMinute;
    this.#now = now;
  }

  /** 0: it may; else the seconds to wait. */
  take(client: string): number {
    const now = this.#now();
    const { left, at } = this.#clients.get(client) ?? { left: this.#perMinute, at: now };
    const room = Math.min(this.#perMinute, left + ((now - at) / 60_000) * this.#perMinute);
    this.#clients.delete(client); // the last in a Map's order is the last seen
    this.#clients.set(client, { left: room >= 1 ? room - 1 : room, at: now });
    if (this.#clients.size > mostClients) this.#clients.delete(this.#clients.keys().next().value!);
    return room >= 1 ? 0 : Math.ceil(((1 - room) * 60) / this.#perMinute);
  }
}

/**
 * Says whether a request may be answered. Keys are compared by their digests, all of them, in a time that
 * tells nothing. Without keys only requests to the given hosts are answered: a page of another site that
 * makes its own name lead here (DNS rebinding) names itself.
 */
export class Access {
  readonly #keys: readonly Buffer[];
  readonly #hosts: readonly string[] | undefined;
  readonly #rates: Rates | undefined;
  readonly #failures: Rates;

  constructor({ apiKeys, rateLimit, hosts }: AccessOptions, now: () => number = () => performance.now()) {
    this.#keys = apiKeys.map(digest);
    this.#hosts = hosts;
    this.#rates = rateLimit > 0 ? new Rates(rateLimit, now) : undefined;
    this.#failures = new Rates(60, now);
  }

  /** Errors: 403, another host; 401, no key or a wrong one; 429, too often. */
  check(request: Request, address: string): void {
    this.checkHost(request);
    const client = clientOf(address);
    const given = /^Bearer +(\S+) *$/i.exec(request.headers.get('authorization') ?? '')?.[1];
    let owner = `address ${client}`;
    if (this.#keys.length > 0) {
      const own = digest(given ?? '');
      const isKnown =
        this.#keys.reduce((found, key) => timingSafeEqual(key, own) || found, false) && given !== undefined;
      if (!isKnown) {
        const wait = this.#failures.take(client);
        if (wait > 0) throw tooOften('too many requests without a valid key', wait);
        throw new RequestError(
          given === undefined ? 'a key is needed: authorization: Bearer KEY' : 'the key is not a valid one',
          {
            status: 401,
            type: 'authentication_error',
            code: 'invalid_api_key',
            headers: { 'www-authenticate': 'Bearer' },
          },
        );
      }
      owner = `key ${own.toString('hex')}`;
    }
    const wait = this.#rates?.take(owner) ?? 0;
    if (wait > 0) throw tooOften('too many requests in a minute', wait);
  }

  checkHost(request: Request): void {
    if (this.#keys.length > 0 || !this.#hosts) return;
    const { hostname } = new URL(request.url);
    if (!this.#hosts.includes(hostname))
      throw new RequestError(`this server does not answer to ${hostname}; start it with --allow-host ${hostname}`, {
        status: 403,
        code: 'unknown_host',
      });
  }
}

const tooOften = (message: string, seconds: number): RequestError =>
  new RequestError(`${message}; try again in ${seconds} s`, {
    status: 429,
    code: 'rate_limit_exceeded',
    headers: { 'retry-after': String(seconds) },
  });
