/**
 * Dawn's Node bindings poll in a busy loop, one turn of the event loop after the other, for as long as a
 * promise of theirs is pending. On a software driver that loop takes a core from the very work it waits for,
 * and its share of a training step's processor time was 44%. So while somebody waits, each turn sleeps: 3% of
 * the time waited so far, hence little beside it, and short enough that what else the process does goes on.
 */
const share = 0.03;
const shortest = 0.05;
const longest = 1;

let cell: Int32Array | undefined;
let waiting = 0;
let since = 0;
let turns = false;

/** Waits for a promise of a software driver, and lets the processor go meanwhile. */
export async function rest<T>(promise: Promise<T>): Promise<T> {
  // A page's own loop does not poll, and its main thread may not sleep.
  if (typeof setImmediate === 'undefined') return promise;
  if (waiting++ === 0) since = performance.now();
  if (!turns) setImmediate(turn);
  turns = true;
  try {
    return await promise;
  } finally {
    waiting--;
  }
}

function turn(): void {
  turns = waiting > 0;
  if (!turns) return;
  cell ??= new Int32Array(new SharedArrayBuffer(4));
  const pause = Math.min(longest, Math.max(shortest, share * (performance.now() - since)));
  Atomics.wait(cell, 0, 0, pause);
  setImmediate(turn);
}
