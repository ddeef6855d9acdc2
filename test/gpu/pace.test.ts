// How a process sleeps while it waits for the device, by a clock and an event loop of the test's own.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { rest } from '../../gpu/pace.ts';

const test = suite('pace');
const real = { now: performance.now.bind(performance), setImmediate: globalThis.setImmediate, wait: Atomics.wait };
let time = 0;
let slept: number[] = [];
let queue: (() => void)[] = [];

test.before.each(() => {
  [time, slept, queue] = [0, [], []];
  performance.now = () => time;
  globalThis.setImmediate = ((call: () => void) => void queue.push(call)) as unknown as typeof setImmediate;
  Atomics.wait = ((_: Int32Array, __: number, ___: number, ms: number) => {
    slept.push(ms);
    time += ms;
    return 'timed-out';
  }) as typeof Atomics.wait;
});
test.after.each(() => {
  performance.now = real.now;
  Object.assign(globalThis, { setImmediate: real.setImmediate });
  Atomics.wait = real.wait;
});

/** Turns of the event loop until the clock says so, or nothing is scheduled. */
function turnUntil(end: number): void {
  while (time < end && queue.length > 0) for (const call of queue.splice(0)) call();
}

/** A promise, and how to settle it. */
function later(): { promise: Promise<number>; resolve: (x: number) => void; reject: (error: Error) => void } {
  let [resolve, reject]: [(x: number) => void, (error: Error) => void] = [() => undefined, () => undefined];
  const promise = new Promise<number>((yes, no) => ([resolve, reject] = [yes, no]));
  return { promise, resolve, reject };
}

test('each turn sleeps a small part of the time waited, in one loop for all waits', async () => {
  const [first, second] = [later(), later()];
  const both = [rest(first.promise), rest(second.promise)];
  assert.equal(queue.length, 1);
  turnUntil(20);
  assert.ok(slept.length > 20 && slept.length < 200, `${slept.length} turns`);
  let waited = 0;
  for (const ms of slept) {
    assert.ok(ms <= Math.max(0.05, 0.031 * waited), `${ms} after ${waited}`);
    waited += ms;
  }
  turnUntil(1000);
  assert.ok(Math.max(...slept) <= 1);
  first.resolve(1);
  assert.equal(await both[0], 1);
  assert.equal(queue.length, 1);
  second.reject(new Error('lost'));
  await both[1]!.then(
    () => assert.unreachable(),
    (error: Error) => assert.match(error.message, 'lost'),
  );
  const before = slept.length;
  turnUntil(2000);
  assert.equal([slept.length, queue.length], [before, 0]);
});

test('the next wait begins with short sleeps again', async () => {
  time = 5000;
  const one = later();
  const waiting = rest(one.promise);
  turnUntil(5000.2);
  assert.ok(slept.length >= 3 && Math.max(...slept) <= 0.06, slept.join(' '));
  one.resolve(7);
  assert.equal(await waiting, 7);
  turnUntil(6000);
});

test.run();
