import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as tf from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import { collectGarbage } from '../support/garbage.ts';
import { runModule } from '../support/script.ts';

const test = suite('memory');

test('a scope frees what was made in it, keep excludes', async () => {
  const before = tf.memory().live;
  const outer = tf.scope();
  const inner = tf.scope();
  const lost = tf.ones([1000]);
  const kept = tf.ones([1000]).keep();
  inner[Symbol.dispose]();
  outer[Symbol.dispose]();
  assert.is(await kept.sum().item(), 1000);
  assert.throws(() => lost.add(1), /add: .*\[1000\].*scope.*keep\(\)/);
  await lost.data().then(
    () => assert.unreachable(),
    (error: Error) => assert.match(error.message, /data: .*freed.*keep/),
  );
  kept.storage.free();
  await tf.synchronize();
  assert.ok(tf.memory().live <= before + 4096, `${tf.memory().live} bytes live, ${before} before`);
});

test('an inner scope leaves the outer one alone', async () => {
  const outer = tf.scope();
  const first = tf.ones([2]);
  const inner = tf.scope();
  tf.ones([2]);
  inner[Symbol.dispose]();
  const second = tf.ones([2]);
  assert.is(await first.add(second).sum().item(), 4);
  outer[Symbol.dispose]();
  assert.ok(first.storage.isFreed && second.storage.isFreed);
});

test('what is freed is still read by work recorded before', async () => {
  const inner = tf.scope();
  const y = tf.ones([100]).mul(3).sum().keep();
  inner[Symbol.dispose]();
  tf.zeros([100]); // may take the freed memory
  assert.is(await y.item(), 300);
});

test('a loop finds the bind groups of the round before, in whatever order its tensors were freed', async () => {
  const { device } = await tf.ready();
  const make = device.createBindGroup;
  let made = 0;
  device.createBindGroup = function (descriptor) {
    made++;
    return make.call(this, descriptor);
  };
  const random = new Random(1);
  const [x, y] = [tf.ones([77]), tf.ones([77])];
  const round = async (): Promise<number> => {
    made = 0;
    const sums = [x];
    for (let i = 0; i < 40; i++) sums.push(sums.at(-1)!.add(y));
    assert.is((await sums.at(-1)!.data())[0], 41);
    for (const sum of random.shuffle(sums.slice(1))) sum.storage.free();
    return made;
  };
  try {
    await round();
    await round(); // memory that was free before is taken by now
    assert.is(await round(), 0);
  } finally {
    device.createBindGroup = make;
  }
});

test('memory that no tensor uses goes back to the driver when it is asked for', async () => {
  tf.emptyCache();
  const used = tf.memory().reserved;
  const inner = tf.scope();
  const x = tf.ones([1000]);
  const y = tf.ones([1000]).add(x).mul(x.add(3)).keep();
  inner[Symbol.dispose]();
  await tf.synchronize();
  assert.ok(tf.memory().reserved >= used + 4 * 4000);
  const z = y.mul(2);
  tf.emptyCache(); // while the product is recorded, and not submitted yet
  assert.is((await z.add(y).data())[7], 3 * 8);
  assert.ok(tf.memory().reserved <= used + 4 * 4 * 1024, `${tf.memory().reserved - used} bytes held`);
});

/** A small network trained by plain descent on one batch. */
class Network {
  private readonly weights: Tensor[];

  constructor() {
    const random = new Random(3);
    const make = (...shape: number[]): Tensor =>
      tf.tensor(
        Float32Array.from({ length: shape[0]! * shape[1]! }, () => 0.3 * random.normal()),
        { shape, requiresGrad: true },
      );
    this.weights = [make(8, 32), make(1, 32), make(32, 4), make(1, 4)];
  }

  step(x: Tensor, labels: Tensor): Tensor {
    const [w1, b1, w2, b2] = this.weights as [Tensor, Tensor, Tensor, Tensor];
    const loss = tf.crossEntropy(x.matmul(w1).add(b1).gelu().matmul(w2).add(b2), labels);
    loss.backward();
    for (const w of this.weights) {
      w.detach().addAssign(w.grad!.mul(-0.5));
      w.grad!.assign(tf.zeros([1]));
    }
    return loss;
  }
}

const batch = (): readonly [Tensor, Tensor] => {
  const random = new Random(5);
  const x = tf.tensor(
    Float32Array.from({ length: 16 * 8 }, () => random.normal()),
    { shape: [16, 8] },
  );
  return [x, tf.tensor(Int32Array.from({ length: 16 }, () => random.int(4)))];
};

test('200 steps with a scope leave memory flat, and learn', async () => {
  const network = new Network();
  const [x, labels] = batch();
  const losses: number[] = [];
  let settled = 0;
  for (let i = 0; i < 200; i++) {
    const open = tf.scope();
    const loss = network.step(x, labels);
    if (i % 50 === 0 || i === 199) losses.push(await loss.item());
    open[Symbol.dispose]();
    if (i === 10) {
      await collectGarbage(); // of earlier tests
      await tf.synchronize();
      settled = tf.memory().live;
    }
  }
  await tf.synchronize();
  assert.is(tf.memory().live, settled);
  assert.ok(losses.at(-1)! < 0.5 * losses[0]!, losses.join());
});

test('200 steps without a scope but with awaits stay bounded', async () => {
  const network = new Network();
  const [x, labels] = batch();
  const big = tf.ones([64, 4096]); // 1 MiB: 200 steps would leave 600 MiB behind
  let most = 0;
  const start = tf.memory().live;
  for (let i = 0; i < 200; i++) {
    const noise = big.mul(i).add(1).relu();
    const loss = network.step(x, labels);
    await loss.add(noise.mean().mul(0)).item();
    most = Math.max(most, tf.memory().live - start);
  }
  assert.ok(most < 450 * 2 ** 20, `${(most / 2 ** 20).toFixed(0)} MiB live at most`);
});

test('a loop without a scope and without an await holds no more than 320 MiB', async () => {
  const x = tf.ones([64, 1024]); // 256 KiB: 2,500 ops would leave 625 MiB behind
  await x.data();
  await collectGarbage();
  const start = tf.memory().live;
  tf.resetPeakMemory();
  let last = x;
  for (let i = 0; i < 2500; i++) last = x.add(i);
  const held = tf.memory().peak - start;
  assert.is((await last.data())[0], 2500);
  assert.ok(held <= 321 * 2 ** 20, `${(held / 2 ** 20).toFixed(0)} MiB held at most`);
});

test('the same before the device is there', () => {
  const run = runModule(`
    import * as tf from './autograd/index.ts';
    const x = tf.ones([64, 1024]);
    let last = x;
    for (let i = 0; i < 2500; i++) last = x.add(i);
    console.log((await last.data())[0], tf.memory().peak / 2 ** 20);`);
  const [value, held] = run.stdout.split(' ').map(Number);
  assert.is(value, 2500, run.stderr);
  assert.ok(held! <= 321, `${held} MiB held at most`);
});

test('two runs give equal bits', async () => {
  const run = async (): Promise<number[]> => {
    const network = new Network();
    const [x, labels] = batch();
    const losses: Tensor[] = [];
    for (let i = 0; i < 5; i++) losses.push(network.step(x, labels));
    return Promise.all(losses.map((loss) => loss.item()));
  };
  assert.equal(await run(), await run());
});

test.run();
