import { printableLines } from '../../common/printable.ts';
import { inspect } from 'node:util';

/**
 * Thrown when Ctrl-C stopped a run that has saved itself; the message says where it is and how to go on.
 *
 * @example
 * new Interrupted('saved at step 20').exitCode; // 130
 */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  /** 128 + SIGINT, as shells expect. */
  readonly exitCode = 130;
}

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** npm and the terminal may both deliver one Ctrl-C, so a second counts only this many milliseconds later. */
const sameKeyPress = 1000;

/**
 * Calls `stop` at the first Ctrl-C, SIGTERM or SIGHUP (a terminal that closes), so that the work can end in
 * good order; a second ends the process at once. Returns the function that stops listening, to be called when
 * the work is over.
 */
export function onInterrupt(stop: () => void): () => void {
  let since: number | undefined;
  const listener = (): void => {
    const now = performance.now();
    if (since !== undefined && now - since > sameKeyPress) process.exit(130);
    if (since !== undefined) return;
    since = now;
    endInOneLine();
    stop();
  };
  for (const signal of signals) process.on(signal, listener);
  return () => {
    for (const signal of signals) process.off(signal, listener);
  };
}

/**
 * Makes an Interrupted that nobody catches end the process with its message alone: who pressed Ctrl-C has no
 * use for a stack. Other errors end it as ever. A program with a handler of its own for uncaught errors keeps
 * that.
 */
function endInOneLine(): void {
  if (process.listenerCount('uncaughtException') > 0) return;
  process.on('uncaughtException', (error: unknown) => {
    const stopped = error instanceof Interrupted;
    process.stderr.write(`${printableLines(stopped ? error.message : inspect(error))}\n`, () =>
      process.exit(stopped ? 130 : 1),
    );
  });
}
