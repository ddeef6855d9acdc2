import { constants } from 'node:os';
import { inspect } from 'node:util';
import { printableLines } from '../../common/printable.ts';

/** The exit code of who is stopped: by Ctrl-C, unless another signal came. */
let stoppedBy = 130;

/**
 * Thrown when Ctrl-C stopped a run that has saved itself; the message says where it is and how to go on.
 *
 * @example
 * new Interrupted('saved at step 20').exitCode; // 130
 */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  /** 128 and the number of the signal, as shells expect: 130 for Ctrl-C. */
  readonly exitCode = stoppedBy;
}

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Whether a script that ended with this code was stopped by one of these signals. */
export const isStopCode = (code: number | null): boolean =>
  signals.some((signal) => code === 128 + constants.signals[signal]);

/** npm and the terminal may both deliver one Ctrl-C, so a second counts only this many milliseconds later. */
const sameKeyPress = 1000;

/**
 * Calls `stop` at the first Ctrl-C, SIGTERM or SIGHUP (a terminal that closes), so that the work can end in
 * good order; a second ends the process at once. Returns the function that stops listening, to be called when
 * the work is over.
 */
export function onInterrupt(stop: () => void): () => void {
  let since: number | undefined;
  const listener = (_: NodeJS.Signals, number: number): void => {
    const now = performance.now();
    if (since !== undefined && now - since > sameKeyPress) process.exit(stoppedBy);
    if (since !== undefined) return;
    since = now;
    stoppedBy = 128 + number;
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
      process.exit(stopped ? error.exitCode : 1),
    );
  });
}
