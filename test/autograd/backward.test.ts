import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as tf from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { observe } from '../../autograd/context.ts';

const test = suite('backward');

const leaf = (values: readonly number[]): Tensor => tf.tensor(values, { requiresGrad: true });
const near = async (x: Tensor | undefined, want: readonly number[]): Promise<void> => {
  const got = [...(await x!.data())];
  assert.is(got.length, want.length);
  got.forEach((value, i) =>
    assert.ok(
      Math.abs(value - want[i]!) <= 1e-5 * Math.max(1, Math.abs(want[i]!)),
      `element ${i} is ${value}, want ${want[i]}`,
    ),
  );
};

test('a shared subgraph adds up its uses', async () => {
  const x = leaf([1, 2, 3]);
  const y = x.mul(x);
  y.add(y.mul(3)).add(x).sum().backward(); // 4 x^2 + x
  await near(x.grad, [9, 17, 25]);
});

test('a diamond of many paths is walked once a node', async () => {
  const x = leaf([0.5]);
  let y: Tensor = x;
  for (let i = 0; i < 40; i++) y = y.add(y).mul(0.5); // 2^40 paths
  y.sum().backward();
  await near(x.grad, [1]);
});

test('a long chain does not overflow the stack', async () => {
  const x = leaf([1]);
  let y: Tensor = x;
  for (let i = 0; i < 3000; i++) y = y.add(0.001);
  y.sum().backward();
  await near(x.grad, [1]);
});

test('gradients accumulate over backward passes', async () => {
  const x = leaf([1, 2]);
  x.mul(3).sum().backward();
  x.mul(x).sum().backward();
  await near(x.grad, [5, 7]);
  x.grad = undefined;
  x.sum().backward();
  await near(x.grad, [1, 1]);
});

test('the same cotangent for two leaves does not alias', async () => {
  const [a, b] = [leaf([1, 2]), leaf([3, 4])];
  a.add(b).sum().backward();
  a.mul(2).sum().backward();
  await near(a.grad, [3, 3]);
  await near(b.grad, [1, 1]);
});

test('a second backward needs retainGraph', async () => {
  const x = leaf([1, 2]);
  const y = x.mul(x).sum();
  y.backward(undefined, { retainGraph: true });
  y.backward();
  await near(x.grad, [4, 8]);
  assert.throws(() => y.backward(), /second time.*retainGraph/);
});

test('derivatives of x^4 up to the fourth', async () => {
  const x = leaf([2, -1]);
  let y = x.pow(2).pow(2);
  for (const want of [
    [32, -4],
    [48, 12],
    [48, -24],
    [24, 24],
  ]) {
    y = tf.grad(y.sum(), [x], { createGraph: true })[0]!;
    await near(y, want);
  }
});

test('second derivatives of a loss that is linear in the output of a norm', async () => {
  // The cotangent of the output is a constant then, on which alone the bias's gradient depends. With a
  // cotangent that requires a gradient second derivatives are compared in test/ops/rows.ts.
  const rms = (x: Tensor, weight?: Tensor): Tensor => tf.rmsNorm(x, weight);
  for (const norm of [tf.layerNorm, rms]) {
    const second = async (isLeaf: boolean): Promise<number[][]> => {
      tf.manualSeed(3);
      const [x, weight, bias, cotangent] = [tf.randn(3, 4), tf.randn(4), tf.randn(4), tf.randn(3, 4)] as const;
      const inputs = norm === tf.layerNorm ? [x, weight, bias] : [x, weight];
      for (const leaf of inputs) leaf.requiresGrad = true;
      cotangent.requiresGrad = isLeaf;
      const loss = (norm as typeof tf.layerNorm)(x, weight, bias).mul(cotangent).sum();
      const first = tf.grad(loss, inputs, { createGraph: true });
      const size = first.map((g) => g.mul(g).sum()).reduce((a, b) => a.add(b));
      const found = tf.grad(size, inputs);
      return Promise.all(found.map(async (g) => [...(await g.data())]));
    };
    const [constant, variable] = [await second(false), await second(true)];
    assert.ok(constant[0]!.some((value) => Math.abs(value) > 0.1));
    assert.equal(constant, variable);
  }
});

test('the gradient of a gradient norm through backward with createGraph', async () => {
  const x = leaf([1, 2]);
  x.pow(3).sum().backward(undefined, { createGraph: true });
  const penalty = x.grad!.pow(2).sum(); // 9 x^4
  x.grad = undefined;
  penalty.backward();
  await near(x.grad, [36, 288]);
});

test('grad with respect to an intermediate, and an input of no influence', async () => {
  const x = leaf([1, 2]);
  const y = x.mul(2);
  const other = leaf([5]);
  const [dy, dother, dx] = tf.grad(y.mul(y).sum(), [y, other, x]);
  await near(dy, [4, 8]);
  await near(dother, [0]);
  await near(dx, [8, 16]);
  assert.is(x.grad, undefined);
});

test('grad of several outputs with weights', async () => {
  const x = leaf([1, 2]);
  const [g] = tf.grad([x.mul(2), x.mul(x)], [x], { gradOutputs: [tf.tensor([1, 10]), tf.tensor([100, 1])] });
  await near(g, [202, 24]);
});

test('noGrad and detach cut the graph', async () => {
  const x = leaf([1, 2]);
  assert.is(tf.noGrad(() => x.mul(2)).requiresGrad, false);
  assert.is(tf.noGrad(() => tf.enableGrad(() => x.mul(2))).requiresGrad, true);
  assert.throws(() => tf.noGrad(() => Promise.resolve()), /synchronous/);
  assert.ok(tf.isGradEnabled());
  const fail = (): never => {
    throw new Error('thrown inside');
  };
  assert.throws(() => tf.noGrad(fail), /thrown inside/);
  assert.ok(tf.isGradEnabled());
  x.mul(x.detach()).sum().backward();
  await near(x.grad, [1, 2]);
});

test('a saved tensor changed in place is refused', async () => {
  const x = leaf([1, 2]);
  const y = x.mul(1);
  const z = y.mul(y).sum();
  y.detach().assign(tf.zeros([2]));
  assert.throws(() => z.backward(), /mul.*changed in place.*clone/);
  const free = x.mul(1);
  const sum = free.add(1).sum(); // add reads nothing in its derivative
  free.detach().assign(tf.zeros([2]));
  sum.backward();
  await near(x.grad, [1, 1]);
});

test('requiresGrad and what backward refuses', () => {
  const x = leaf([1, 2]);
  assert.throws(() => x.mul(2).backward(), /shape \[2\].*mean\(\) or sum\(\)/);
  assert.throws(() => tf.tensor([1]).backward(), /requires a gradient/);
  assert.throws(() => x.mul(2).backward(tf.ones([3])), /\[3\].*\[2\]/);
  assert.throws(() => tf.grad(x.sum(), [tf.tensor([1])]), /does not require/);
  assert.throws(() => tf.tensor([1], { dtype: 'i32', requiresGrad: true }), /f32 or f16.*i32/);
  assert.throws(() => tf.zeros([1], { dtype: 'bool', requiresGrad: true }), /f32 or f16.*bool/);
  const y = x.mul(2);
  assert.throws(() => (y.requiresGrad = false), /leaf.*detach/);
  assert.is(x.argmax().requiresGrad, false);
  assert.is(x.to('i32').requiresGrad, false);
  assert.is(x.gt(0).requiresGrad, false);
});

test('only the wanted part of the graph is computed', () => {
  const [a, b] = [leaf([1]), leaf([2])];
  const names: string[] = [];
  const y = a.exp().mul(b.log()).sum();
  const stop = observe(({ name }) => names.push(name));
  tf.grad(y, [a]);
  stop();
  assert.ok(names.includes('exp.d0'), names.join());
  assert.not.ok(names.includes('log.d0'), names.join());
  assert.is(b.grad, undefined);
});

test('gradients of integers indices and masks do not flow', async () => {
  const table = tf.tensor(
    [
      [1, 2],
      [3, 4],
    ],
    { requiresGrad: true },
  );
  const picked = tf.embedding(table, tf.tensor([1, 1, 0], { dtype: 'i32' }));
  picked.sum().backward();
  await near(table.grad, [1, 1, 2, 2]);
});

test('the gradient of a linear layer, and of attention scores, is made in its place: nothing is copied', async () => {
  // prettier-ignore
  const [x, weight] = [tf.tensor([[1, 2, 3]]), tf.tensor([[1, 0, 2], [4, 5, 6]], { requiresGrad: true })];
  const [q, k] = [tf.normal([2, 4, 3]), tf.normal([2, 5, 3])];
  k.requiresGrad = true;
  const names: string[] = [];
  const stop = observe(({ name }) => names.push(name));
  tf.linear(x, weight).sum().backward();
  q.matmul(k.transpose()).sum().backward();
  stop();
  assert.equal(
    names.filter((name) => name === 'clone'),
    [],
  );
  await near(weight.grad, [1, 2, 3, 1, 2, 3]);
  const sums = q.sum(1, { keepDims: true }).expand([2, 5, 3]);
  await near(k.grad, [...(await sums.data())]);
});

test('zero-size tensors go forward and back', async () => {
  const x = tf.zeros([0, 3], { requiresGrad: true });
  const w = tf.ones([3, 2], { requiresGrad: true });
  const y = x
    .matmul(w)
    .add(1)
    .exp()
    .sum()
    .add(x.mean(1).sum())
    .add(tf.concat([x, x]).reshape([3, 0]).sum());
  assert.is(await y.item(), 0);
  y.backward();
  assert.equal(x.grad!.shape, [0, 3]);
  await near(w.grad, [0, 0, 0, 0, 0, 0]);
  assert.equal(await x.tolist(), []);
});

// Large enough that software drivers copy the left operand and add up the bias's gradient apart.
for (const transposed of [true, false])
  test(`gradients of a large layer, weight ${transposed ? '[out, in]' : '[in, out]'}, equal float64's`, async () => {
    tf.manualSeed(5);
    const [tokens, inputs, outputs] = [96, 128, 192];
    const [x, g] = [tf.randn(tokens, inputs), tf.randn(tokens, outputs)];
    const weight = transposed ? tf.randn(outputs, inputs) : tf.randn(inputs, outputs);
    const bias = tf.zeros([outputs]);
    weight.requiresGrad = true;
    bias.requiresGrad = true;
    tf.linear(x, transposed ? weight : weight.transpose(), bias)
      .mul(g)
      .sum()
      .backward();
    const [xs, gs] = [await x.data(), await g.data()];
    const [dw, db] = [await weight.grad!.data(), await bias.grad!.data()];
    for (let j = 0; j < outputs; j++) {
      let sum = 0;
      for (let t = 0; t < tokens; t++) sum += Number(gs[t * outputs + j]);
      assert.ok(Math.abs(Number(db[j]) - sum) < 1e-4, `bias ${j}: ${db[j]} is not ${sum}`);
      for (let i = 0; i < inputs; i += 5) {
        let product = 0;
        for (let t = 0; t < tokens; t++) product += Number(xs[t * inputs + i]) * Number(gs[t * outputs + j]);
        const got = Number(dw[transposed ? j * inputs + i : i * outputs + j]);
        assert.ok(Math.abs(got - product) < 1e-4, `weight ${j}, ${i}: ${got} is not ${product}`);
      }
    }
  });

test.run();
