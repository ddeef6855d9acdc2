import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile, normal, profile } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';

const test = suite('profile');

test('names, counts and times the dispatches of compiled and immediate work, on one time line', async () => {
  const f = (x: Tensor): Tensor => x.matmul(x).add(1).softmax();
  const fast = compile(f);
  const x = normal([64, 64]).keep();
  fast(x);
  for (const run of [() => fast(x), () => f(x)]) {
    const result = await profile(run);
    assert.ok(result.dispatches.some(({ name }) => name.startsWith('matmul')));
    for (const { milliseconds, start } of result.dispatches) assert.ok(milliseconds >= 0 && start >= 0);
    assert.ok(result.ceilings.flops > 0 && result.ceilings.bandwidth > 0);
    const { traceEvents } = JSON.parse(result.chromeTrace()) as { traceEvents: { ph: string; dur?: number }[] };
    assert.is(traceEvents.filter(({ ph }) => ph === 'X').length, result.dispatches.length);
    const lines = `${result}`.split('\n');
    assert.match(lines[0]!, /kernel +calls +ms +share/);
    assert.match(lines.at(-1)!, /dispatches, .* ms; ceilings/);
  }
});

test.run();
