import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

/** A page of a browser that is driven over the DevTools protocol. */
export interface Page {
  goto(address: string): Promise<void>;
  /** What an expression gives in the page, awaited. Error: what it throws. */
  evaluate<T>(expression: string): Promise<T>;
  /** Asks again and again until the expression is true. Error: it is not, after so many milliseconds. */
  waitFor(expression: string, timeout?: number): Promise<void>;
  /** Sends a command of the protocol. */
  send(method: string, params?: object): Promise<unknown>;
  /**
   * Lines of its console, what the browser says of files that it cannot load too, and errors that nobody
   * caught.
   */
  readonly lines: readonly string[];
  readonly errors: readonly string[];
}

/** Where Chromium or Chrome is, by CHROME_PATH or its usual places; undefined where it is not. */
export function findChromium(): string | undefined {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
  const usual = [
    ...['/usr/bin', '/usr/local/bin', '/snap/bin'].flatMap((folder) => names.map((name) => join(folder, name))),
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  ];
  return [process.env.CHROME_PATH ?? '', ...usual].find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

/** Messages over two pipes, each ended by a zero byte. */
function connect(input: Writable, output: Readable, heard: (message: Message) => void) {
  const waiting = new Map<number, (message: Message) => void>();
  let count = 0;
  let rest = '';
  output.setEncoding('utf8').on('data', (text: string) => {
    const messages = (rest + text).split('\0');
    rest = messages.pop()!;
    for (const each of messages) {
      const message = JSON.parse(each) as Message;
      if (message.id === undefined) heard(message);
      else waiting.get(message.id)?.(message);
    }
  });
  return (method: string, params: object = {}, sessionId?: string): Promise<unknown> =>
    new Promise((done, failed) => {
      const id = ++count;
      waiting.set(id, ({ result, error }) => {
        waiting.delete(id);
        if (error) failed(new Error(`${method}: ${error.message}`));
        else done(result);
      });
      input.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
}

/**
 * Opens a page of headless Chromium with WebGPU: on a machine without a GPU by Chromium's own SwiftShader.
 * Without the sandbox, which containers do not allow: for pages of this project only.
 */
export async function withPage<T>(use: (page: Page) => Promise<T>): Promise<T> {
  const program = findChromium();
  if (program === undefined) throw new Error('no Chromium was found; install it (Debian: apt-get install chromium)');
  const profile = await mkdtemp(join(tmpdir(), 'tapeform-chromium-'));
  const args = ['--headless=new', '--no-sandbox', '--enable-unsafe-webgpu', '--no-first-run', '--hide-scrollbars'];
  const child = spawn(program, [...args, '--remote-debugging-pipe', `--user-data-dir=${profile}`], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const ended = new Promise<void>((done) => child.once('exit', () => done()));
  const lines: string[] = [];
  const errors: string[] = [];
  const send = connect(child.stdio[3] as Writable, child.stdio[4] as Readable, ({ method, params }) => {
    if (method === 'Runtime.consoleAPICalled') {
      const { args: given } = params as unknown as { args: readonly { value?: unknown; description?: string }[] };
      lines.push(given.map(({ value, description }) => String(value ?? description)).join(' '));
    } else if (method === 'Runtime.exceptionThrown') {
      const { exceptionDetails: facts } = params as unknown as { exceptionDetails: Exception };
      errors.push(textOf(facts));
    } else if (method === 'Log.entryAdded') {
      const { entry } = params as { entry: { readonly level: string; readonly text: string; readonly url?: string } };
      if (entry.level === 'error') lines.push(`${entry.text} ${entry.url ?? ''}`);
    }
  });
  try {
    const { targetId } = (await send('Target.createTarget', { url: 'about:blank' })) as { targetId: string };
    const attached = await send('Target.attachToTarget', { targetId, flatten: true });
    const { sessionId } = attached as { sessionId: string };
    const inPage = (method: string, params?: object): Promise<unknown> => send(method, params, sessionId);
    await inPage('Runtime.enable');
    await inPage('Page.enable');
    await inPage('Log.enable');
    return await use(pageOf(inPage, lines, errors));
  } finally {
    process.kill(-child.pid!, 'SIGKILL');
    await ended;
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

interface Exception {
  readonly text: string;
  readonly exception?: { readonly description?: string; readonly value?: unknown };
}
const textOf = ({ text, exception }: Exception): string => exception?.description ?? String(exception?.value ?? text);

function pageOf(
  send: (method: string, params?: object) => Promise<unknown>,
  lines: readonly string[],
  errors: readonly string[],
): Page {
  const evaluate = async <T>(expression: string): Promise<T> => {
    const answer = await send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    const { result, exceptionDetails } = answer as { result: { value: T }; exceptionDetails?: Exception };
    if (exceptionDetails) throw new Error(textOf(exceptionDetails));
    return result.value;
  };
  return {
    lines,
    errors,
    send,
    evaluate,
    async goto(address) {
      await send('Page.navigate', { url: address });
      await waitFor(`location.href === ${JSON.stringify(address)} && document.readyState === 'complete'`, 60_000);
    },
    waitFor,
  };

  async function waitFor(expression: string, timeout = 300_000): Promise<void> {
    const deadline = Date.now() + timeout;
    while (!(await evaluate<boolean>(`Boolean(${expression})`).catch(() => false))) {
      const more = errors.length > 0 ? `; ${errors.at(-1)}` : '';
      if (Date.now() > deadline) throw new Error(`after ${timeout / 1000} s the page has no ${expression}${more}`);
      await new Promise((done) => setTimeout(done, 100));
    }
  }
}
