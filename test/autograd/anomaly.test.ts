import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { detectAnomaly, exp, log, mul, sqrt, sub, sum, tensor } from '../../autograd/index.ts';
import { Linear } from '../../models/index.ts';

const test = suite('detectAnomaly');

test('names the first op that made a NaN, its shape and its place', async () => {
  const found = await detectAnomaly(() => {
    const x = tensor([[1, -1, 4]]);
    return exp(mul(sqrt(x), 2)); // exp and mul hold NaN too, but sqrt was first
  });
  assert.is(found?.op, 'sqrt');
  assert.equal(found?.shape, [1, 3]);
  assert.is(found?.count, 1);
  assert.match(found?.where ?? '', /anomaly\.test\.ts/);
});

test('infinities count', async () => {
  const found = await detectAnomaly(() => log(tensor([1, 0, 0])));
  assert.equal([found?.op, found?.count], ['log', 2]);
});

test('looks into the backward pass', async () => {
  const x = tensor([4, 0], { requiresGrad: true });
  const found = await detectAnomaly(() => sum(sqrt(x)).backward());
  assert.is(found?.op, 'sqrt.d0');
});

test('names the module', async () => {
  const layer = new Linear(2, 2);
  const found = await detectAnomaly(() => layer.forward(tensor([[NaN, 1]])));
  assert.is(found?.op, 'matmul');
  assert.match(found?.where ?? '', /Linear/);
});

test('finds nothing in sound work, and stops watching', async () => {
  assert.is(await detectAnomaly(() => sub(tensor([1]), tensor([2]))), undefined);
  assert.ok(Number.isNaN(await log(tensor([-1])).item()));
});

test.run();
