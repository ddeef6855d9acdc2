// How long waits for the device are slept away, by a clock of the test's own.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Pace } from '../../gpu/pace.ts';

const test = suite('pace');
const real = { now: performance.now.bind(performance), setTimeout: globalThis.setTimeout };
let time = 0;
let slept: number[] = [];

test.before.each(() => {
  [time, slept] = [0, []];
  performance.now = () => time;
  globalThis.setTimeout = ((call: () => void, ms: number) => {
    slept.push(ms);
    time += ms;
    call();
  }) as unknown as typeof setTimeout;
});
test.after.each(() => {
  performance.now = real.now;
  globalThis.setTimeout = real.setTimeout;
});

/** A wait for work that ends so many milliseconds after it was begun. */
function waitFor(pace: Pace, work: number): Promise<void> {
  const end = time + work;
  return pace.wait(() => {
    time = Math.max(time, end);
    return Promise.resolve();
  });
}

test('most of the usual wait is slept away, on a software driver alone', async () => {
  const pace = new Pace(true);
  for (let i = 0; i < 40; i++) await waitFor(pace, 100);
  assert.ok(slept.at(-1)! > 60 && slept.at(-1)! <= 80, `${slept.at(-1)}`);
  slept = [];
  const other = new Pace(false);
  for (let i = 0; i < 5; i++) await waitFor(other, 100);
  assert.equal(slept, []);
});

test('a process that was stopped for ten minutes does not sleep on', async () => {
  const pace = new Pace(true);
  for (let i = 0; i < 40; i++) await waitFor(pace, 100);
  await waitFor(pace, 600_000);
  slept = [];
  for (let i = 0; i < 10; i++) await waitFor(pace, 100);
  assert.ok(Math.max(...slept) <= 200, `${slept.join(' ')}`);
});

test.run();
