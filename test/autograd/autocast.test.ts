import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  add,
  assign,
  autocast,
  checkpoint,
  crossEntropy,
  exp,
  gelu,
  layerNorm,
  linear,
  manualSeed,
  matmul,
  mul,
  noGrad,
  normal,
  ones,
  softmax,
  sum,
  tensor,
  transpose,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { ops } from '../../autograd/op.ts';
import { mapFunctions } from '../../autograd/ops/map-op.ts';
import { observe } from '../../autograd/context.ts';
import { acquire } from '../../gpu/index.ts';
import { AdamW } from '../../train/optim/index.ts';

const test = suite('autocast');
const { target } = await acquire();

function leaf(shape: readonly number[]): Tensor {
  const x = normal(shape, { std: 0.5 }).keep();
  x.requiresGrad = true;
  return x;
}

/** Names of the ops that fn puts on the tape. */
function applied(fn: () => unknown): string[] {
  const names: string[] = [];
  const stop = observe(({ name }) => names.push(name));
  try {
    fn();
  } finally {
    stop();
  }
  return names;
}

const casts = (fn: () => unknown): number => applied(fn).filter((name) => name === 'to').length;

/** PyTorch's lists ("Autocast Op Reference", CUDA), as far as these ops exist here. */
const inHalf = ['decodeAttention', 'flashAttention', 'linearCrossEntropy', 'matmul', 'packedAttention'];
const inSingle = [
  ...['bceWithLogits', 'cube', 'cumsum', 'exp', 'expm1', 'focal', 'huber', 'klDiv', 'l1', 'log', 'log1p'],
  ...['logSigmoid', 'mse', 'pow', 'reciprocal', 'rsqrt', 'smoothL1', 'softplus', 'square', 'sum'],
];

test('records say what autocast does with their inputs', () => {
  const half: string[] = [];
  const single = new Set<string>();
  for (const op of ops()) {
    if (!('infer' in op) || typeof op.name !== 'string') continue;
    if (Array.isArray(op.autocast)) half.push(op.name);
    else if (op.autocast === 'f32') single.add(op.name);
  }
  for (const { name, autocast } of mapFunctions()) if (autocast === 'f32') single.add(name);
  assert.equal(half.sort(), inHalf);
  assert.equal([...single].sort(), inSingle.sort());
});

if (target.f16) {
  test('each op gives the type that the table says', () => {
    const [x, w, b] = [leaf([4, 8]), leaf([8, 8]), leaf([8])];
    autocast(() => {
      const y = linear(x, w, b);
      assert.is(y.dtype, 'f16');
      assert.is(layerNorm(y, b, b).dtype, 'f16');
      assert.is(softmax(y).dtype, 'f16');
      assert.is(gelu(y).dtype, 'f16');
      assert.is(add(y, x).dtype, 'f32');
      assert.is(exp(y).dtype, 'f32');
      assert.is(sum(y).dtype, 'f32');
      assert.is(crossEntropy(y, tensor([0, 1, 2, 3], { dtype: 'i32' })).dtype, 'f32');
      assert.is(autocast(() => linear(x, w), { dtype: 'f32' }).dtype, 'f32');
      assert.is(matmul(x, w).dtype, 'f16');
    });
    assert.is(linear(x, w).dtype, 'f32');
  });

  test('a weight is converted once, however it is used, and again when it has changed', () => {
    const [x, w] = [leaf([8, 8]).detach(), leaf([8, 8])];
    const twice = (): void => void add(linear(x, w), matmul(x, w));
    assert.is(
      casts(() => autocast(twice)),
      2,
    ); // x and w
    assert.is(
      casts(() =>
        autocast(() => {
          twice();
          autocast(twice);
          noGrad(() => assign(w, transpose(w)));
          twice();
        }),
      ),
      3,
    );
  });

  test('gradients of f32 parameters are f32, also through a checkpoint', async () => {
    const gradients = async (wrap: <T>(fn: () => T) => T): Promise<number[][]> => {
      manualSeed(3);
      const [x, w, b] = [leaf([6, 8]), leaf([8, 8]), leaf([8])];
      const loss = autocast(() => sum(wrap(() => gelu(layerNorm(linear(x, w, b), b, b)))));
      loss.backward();
      for (const t of [x, w, b]) assert.is(t.grad!.dtype, 'f32');
      return Promise.all([x, w, b].map(async (t) => Array.from(await t.grad!.data())));
    };
    assert.equal(await gradients(checkpoint), await gradients((fn) => fn()));
  });

  test('the copies that an optimizer keeps follow its steps and what else writes the parameter', async () => {
    manualSeed(4);
    const [x, w, small] = [leaf([2, 200]).detach(), leaf([200, 200]), [leaf([4, 4]), leaf([4])]];
    const optimizer = new AdamW([w, ...small], { lr: 0.1, halfCopies: true });
    const forward = (): Tensor => autocast(() => linear(x, w));
    const fresh = (): Tensor => linear(x.to('f16'), w.to('f16'));
    const same = async (): Promise<void> => assert.equal(await forward().data(), await fresh().data());
    assert.is(casts(forward), 1, 'x alone');
    await same();
    w.grad = ones([200, 200]);
    small[0]!.grad = ones([4, 4]);
    optimizer.step();
    assert.is(casts(forward), 1);
    assert.is(applied(forward).includes('assign'), false, 'the step has written the copy');
    await same();
    noGrad(() => assign(w, mul(w, 2)));
    assert.is(applied(forward).includes('assign'), true);
    await same();
    const y = tensor([[1, 2, 3, 4]]);
    assert.is(
      casts(() => autocast(() => matmul(y, small[0]!))),
      1,
      'y alone',
    );
    assert.equal(
      await autocast(() => matmul(y, small[0]!)).data(),
      await matmul(y.to('f16'), small[0]!.to('f16')).data(),
    );
  });

  test('the gradient of a weight that is read transposed lies as the weight does', async () => {
    for (const halfCopies of [false, true]) {
      const [x, w] = [normal([4, 5]), leaf([3, 5])];
      new AdamW([w], { lr: 0.1, halfCopies });
      sum(autocast(() => linear(x, w))).backward();
      assert.ok(w.grad!.isContiguous, `with halfCopies ${halfCopies}`);
      const want = await sum(x.to('f16').to('f32'), 0).data();
      const got = await w.grad!.data();
      got.forEach((g, i) => assert.ok(Math.abs(g - want[i % 5]!) <= 2e-3 * (1 + Math.abs(want[i % 5]!))));
    }
  });

  test('it takes no asynchronous function', () => {
    assert.throws(() => autocast(() => Promise.resolve(1)), /synchronous/);
  });
}

test.run();
