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
