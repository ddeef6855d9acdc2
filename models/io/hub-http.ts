// Requests to a hub that may be slow, broken or hostile: nothing is waited for without end, nothing is read
// without a bound, and the token goes to the hub alone.

/** Where a hub is and who asks. `url` has no slash at its end. */
export interface Hub {
  readonly url: string;
  readonly token: string | undefined;
}

/** An answer of HTTP other than success has `statusCode`; one that may pass if tried again, `transient`. */
interface HubErrorFacts {
  readonly statusCode?: number;
  readonly transient?: boolean;
}

const DEFAULT_TIMEOUT = 10;
const MAX_REDIRECTS = 5;
/** The listing of a model with thousands of files is well below this. */
const MAX_JSON_BYTES = 32 * 2 ** 20;

export function hubError(message: string, facts: HubErrorFacts): Error {
  return Object.assign(new Error(message), facts);
}

/** Whether the same request may well succeed a moment later. */
export function isTransient(error: unknown): boolean {
  return (error as HubErrorFacts | null)?.transient === true;
}

/**
 * Milliseconds without a byte after which a request is given up: HF_HUB_DOWNLOAD_TIMEOUT, in seconds as in
 * huggingface_hub, default 10. Throws where it is no positive number.
 */
export function hubTimeout(env: Record<string, string | undefined> = process.env): number {
  const text = env['HF_HUB_DOWNLOAD_TIMEOUT'];
  if (!text) return DEFAULT_TIMEOUT * 1000;
  const seconds = Number(text);
  if (!(seconds > 0 && seconds <= 86_400))
    throw new Error(`HF_HUB_DOWNLOAD_TIMEOUT=${JSON.stringify(text)}: give seconds above 0 and at most 86400`);
  return seconds * 1000;
}

/** A response whose bytes are read by `chunks`. End with `cancel` what is not read to its end. */
export interface HubResponse {
  readonly status: number;
  readonly headers: Headers;
  chunks(): AsyncGenerator<Uint8Array>;
  cancel(): void;
}

/**
 * Asks for `path` (or an absolute address, from a Link header), following redirects. The token is sent to the
 * hub's own origin only, and never over http where the hub itself is https. Rejects with one line; errors of
 * the network (`TypeError: fetch failed`) are passed on.
 */
export async function hubRequest(hub: Hub, path: string, headers: Record<string, string> = {}): Promise<HubResponse> {
  const origin = hubOrigin(hub.url);
  let address = parseAddress(path.startsWith('/') ? hub.url + path : path);
  for (let redirects = 0; ; redirects++) {
    checkAddress(address, origin);
    const response = await open(hub, address, origin, headers);
    const location = response.headers.get('location');
    if (response.status < 300 || response.status >= 400 || location === null) {
      if (response.status >= 200 && response.status < 300) return response;
      response.cancel();
      throw hubError(`the hub answered HTTP ${response.status}`, {
        statusCode: response.status,
        transient: response.status === 429 || response.status >= 500,
      });
    }
    response.cancel();
    if (redirects === MAX_REDIRECTS) throw new Error(`the hub redirects more than ${MAX_REDIRECTS} times`);
    address = parseAddress(location, address);
  }
}

function hubOrigin(url: string): URL {
  try {
    return new URL(url);
  } catch {
    throw new Error(`${JSON.stringify(url)} is no address of a hub: check HF_ENDPOINT and hubUrl`);
  }
}

function parseAddress(text: string, base?: URL): URL {
  try {
    return new URL(text, base);
  } catch {
    throw new Error(`the hub points to ${JSON.stringify(text.slice(0, 200))}, which is no address`);
  }
}

function checkAddress(address: URL, origin: URL): void {
  const allowed = origin.protocol === 'https:' ? ['https:'] : ['https:', 'http:'];
  if (!allowed.includes(address.protocol))
    throw new Error(`the hub ${origin.origin} points to ${address.protocol}//${address.host}, which is not secure`);
}

async function open(hub: Hub, address: URL, origin: URL, headers: Record<string, string>): Promise<HubResponse> {
  const abort = new AbortController();
  const timeout = hubTimeout();
  const silent = hubError(
    `the hub sent nothing for ${timeout / 1000} s (HF_HUB_DOWNLOAD_TIMEOUT sets how long to wait)`,
    { transient: true },
  );
  /** Resolves as `promise` does, unless that takes longer than the timeout. */
  const soon = async <T>(promise: Promise<T>): Promise<T> => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(silent);
        abort.abort();
      }, timeout);
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
    }
  };
  const authorization =
    hub.token && address.origin === origin.origin ? { Authorization: `Bearer ${hub.token}` } : undefined;
  const response = await soon(
    fetch(address, {
      redirect: 'manual',
      signal: abort.signal,
      // As they are, so that sizes and ranges count the file's own bytes.
      headers: { 'Accept-Encoding': 'identity', ...headers, ...authorization },
    }).catch((error: Error & { cause?: { code?: string } }) => {
      const broken = ['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET'].includes(error.cause?.code ?? '');
      throw broken ? hubError('the connection to the hub broke', { transient: true }) : error;
    }),
  );
  const cancel = (): void => abort.abort();
  const { body } = response;
  async function* chunks(): AsyncGenerator<Uint8Array> {
    const reader = body?.getReader();
    try {
      while (reader) {
        const { done, value } = await soon(reader.read()).catch((error: unknown) => {
          if (error === silent) throw error;
          throw hubError('the connection to the hub broke', { transient: true });
        });
        if (done) return;
        yield value;
      }
    } finally {
      cancel();
    }
  }
  return { status: response.status, headers: response.headers, chunks, cancel };
}

/** The JSON of an answer and its headers; tried again where the hub is busy. */
export async function hubJson(hub: Hub, path: string): Promise<{ value: unknown; headers: Headers }> {
  return retry(3, async () => {
    const response = await hubRequest(hub, path, { Accept: 'application/json' });
    const deadline = performance.now() + 12 * hubTimeout(); // of no clock that is set
    const parts: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of response.chunks()) {
      parts.push(chunk);
      bytes += chunk.length;
      if (bytes > MAX_JSON_BYTES) throw new Error(`the hub's answer is longer than ${MAX_JSON_BYTES / 2 ** 20} MiB`);
      if (performance.now() > deadline) throw hubError("the hub's answer does not end", {});
    }
    try {
      return { value: JSON.parse(Buffer.concat(parts).toString('utf8')) as unknown, headers: response.headers };
    } catch {
      const type = response.headers.get('content-type') ?? '';
      const page = /html/i.test(type) ? 'a web page (does this network ask for a login?)' : 'no valid JSON';
      throw new Error(`the hub answers with ${page}: try again on another network, or check HF_ENDPOINT`);
    }
  });
}

/**
 * Runs `task` until it succeeds, waiting longer each time, at most `attempts` times in a row. Other errors
 * than transient ones end it. `progress` tells whether the failed attempt got further; then the count starts
 * anew.
 */
export async function retry<T>(attempts: number, task: () => Promise<T>, progress = () => false): Promise<T> {
  for (let failed = 0; ;) {
    try {
      return await task();
    } catch (error) {
      if (!isTransient(error)) throw error;
      failed = progress() ? 1 : failed + 1;
      if (failed >= attempts) throw error;
      await new Promise((resolve) => setTimeout(resolve, (hubTimeout() / 50) * 2 ** failed));
    }
  }
}
