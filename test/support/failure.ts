import * as assert from 'uvu/assert';

/** The message of a promise's rejection, checked to be one line. */
export async function failure(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => new Error('nothing was refused'),
    (reason: Error) => reason,
  );
  assert.not.match(error.message, /\n/);
  return error.message;
}

/** Fails unless the promise is rejected with one line that matches. */
export async function rejects(promise: Promise<unknown>, pattern: RegExp): Promise<void> {
  assert.match(await failure(promise), pattern);
}

/** Fails unless the call throws one line that matches. */
export function throwsOneLine(run: () => unknown, pattern: RegExp): void {
  assert.throws(run, (error: Error) => pattern.test(error.message) && !error.message.includes('\n'));
}
