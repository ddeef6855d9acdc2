import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { acquire } from '../../gpu/index.ts';
import * as tf from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { cut } from '../../autograd/lower/cut.ts';
import type { Block, Space } from '../../autograd/lower/cut.ts';
import { AdamW, globalNorm } from '../../train/optim/index.ts';
import { Random } from '../../common/random.ts';
import { compareBits } from '../support/op-compare.ts';

/**
 * Tensors that exceed one binding. The limit is lowered to 16 KiB, so that small tensors are cut; the same
 * work at the device's own limit, which test/ops compares with references, says what must come out.
 */
const limit = 16384;
/** The most that devices may ask for. */
const alignment = 256;
const gpu = await acquire();
const test = suite('blocks');

/** Runs fn with the limit lowered; returns also how many dispatches it took. */
async function limited<T>(fn: () => Promise<T>, bytes = limit): Promise<{ value: T; dispatches: string[] }> {
  const restore = gpu.limitBindings(bytes, alignment);
  const dispatches: string[] = [];
  gpu.encoder.timer = ({ name }) => void dispatches.push(name);
  try {
    return { value: await fn(), dispatches };
  } finally {
    gpu.encoder.timer = undefined;
    restore();
  }
}

const random = new Random(1);
/** Random numbers, `gaps` apart in memory along the last axis: the view is not row-major. */
function make(shape: readonly number[], dtype: 'f32' | 'f16' = 'f32'): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  return tf.tensor(
    Float32Array.from({ length: size }, () => random.normal()),
    { shape, dtype },
  );
}
const turned = (shape: readonly number[], dtype?: 'f32' | 'f16'): Tensor =>
  make([...shape].reverse(), dtype).permute(shape.map((_, axis) => shape.length - 1 - axis));
const indices = (count: number, below: number): Tensor =>
  tf.tensor(
    Int32Array.from({ length: count }, () => random.int(below)),
    { shape: [count] },
  );

interface Case {
  readonly name: string;
  readonly inputs: readonly Tensor[];
  readonly run: (...x: Tensor[]) => Tensor;
  /** Inputs whose gradients are compared too. */
  readonly varied?: readonly number[];
  /**
   * Largest difference allowed, relative to the largest element; none where no order of summation changes.
   */
  readonly within?: number;
}

const even = { varied: [0] };
const sums = { varied: [0], within: 2e-6 };
const both = { varied: [0, 1], within: 4e-6 };
// prettier-ignore
const cases: readonly Case[] = [
  { name: 'map, flat', inputs: [make([9001])], run: (x) => x.exp(), ...even },
  { name: 'map, row by column', inputs: [make([1, 300]), make([70, 1])], run: (a, b) => a.mul(b), ...sums },
  { name: 'map, turned and not', inputs: [turned([70, 64]), make([70, 64])], run: (a, b) => a.add(b), ...even },
  { name: 'map, odd and turned', inputs: [turned([97, 63])], run: (x) => x.mul(2), ...even },
  { name: 'map, f16', inputs: [make([190, 60], 'f16')], run: (x) => x.tanh(), ...even },
  { name: 'cast', inputs: [make([80, 65])], run: (x) => x.to('f16'), ...even },
  { name: 'comparison', inputs: [make([70, 70])], run: (x) => x.gt(0) },
  { name: 'full', inputs: [], run: () => tf.full([6000], 3) },
  { name: 'clone, turned', inputs: [turned([64, 80])], run: (x) => x.clone(), ...even },
  { name: 'concat', inputs: [make([60, 70]), make([25, 70])], run: (a, b) => tf.concat([a, b]), varied: [0, 1] },
  { name: 'concat of columns', inputs: [make([60, 70]), make([60, 9])], run: (a, b) => tf.concat([a, b], 1), ...even },
  { name: 'pad', inputs: [make([80, 53])], run: (x) => x.pad([[1, 2], [3, 4]]), ...even },
  { name: 'slice of a large tensor', inputs: [make([200, 50])], run: (x) => x.slice([60, 70]).exp(), ...even },
  { name: 'tril', inputs: [make([96, 96])], run: (x) => x.tril(2), ...even },
  { name: 'triu of many', inputs: [make([3, 60, 64])], run: (x) => x.triu(-1), ...even },
  { name: 'cumsum of columns', inputs: [make([64, 80, 3])], run: (x) => x.cumsum(1), ...even },
  { name: 'sum of rows', inputs: [make([200, 64])], run: (x) => x.sum(1), ...even },
  { name: 'sum of columns', inputs: [make([200, 64])], run: (x) => x.sum(0), ...sums },
  { name: 'sum of all', inputs: [make([200, 64])], run: (x) => x.sum(), ...sums },
  { name: 'sum of columns, f16', inputs: [make([600, 64], 'f16')], run: (x) => x.sum(0), varied: [0], within: 1e-3 },
  { name: 'sum, turned', inputs: [turned([120, 70])], run: (x) => x.sum(0), ...sums },
  { name: 'sum in the middle', inputs: [make([20, 30, 33])], run: (x) => x.sum(1), ...sums },
  { name: 'max', inputs: [make([200, 64])], run: (x) => x.max(0), ...even },
  { name: 'argmax', inputs: [make([200, 64])], run: (x) => x.argmax(1) },
  { name: 'softmax', inputs: [make([150, 60])], run: (x) => x.softmax(), ...even },
  { name: 'softmax of scores', inputs: [make([2, 4, 32, 32])], run: (x) => x.softmax(), ...even },
  { name: 'softmax, odd', inputs: [make([150, 61])], run: (x) => x.logSoftmax(), ...even },
  { name: 'softmax over the first axis', inputs: [make([60, 128])], run: (x) => x.softmax(0), ...even },
  { name: 'layer norm', inputs: [make([150, 60]), make([60]), make([60])],
    run: (x, w, b) => tf.layerNorm(x, w, b), varied: [0, 1, 2], within: 2e-6 },
  { name: 'RMS norm, square', inputs: [make([80, 80]), make([80])], run: (x, w) => tf.rmsNorm(x, w), ...even },
  { name: 'cross-entropy', inputs: [make([190, 50]), indices(190, 50), make([50]).abs()],
    run: (x, t, weight) => tf.crossEntropy(x, t, { weight, labelSmoothing: 0.1 }), ...even },
  { name: 'loss of a linear layer', inputs: [make([20, 16]), make([500, 16]), indices(20, 500), make([500])],
    run: (x, w, t, b) => tf.linearCrossEntropy(x, w, t, { bias: b }), varied: [0, 1, 3], within: 4e-6 },
  { name: 'embedding', inputs: [make([400, 48]), indices(17, 400)], run: (x, i) => tf.embedding(x, i), ...even },
  { name: 'embedding, many rows', inputs: [make([200, 48]), indices(300, 200)],
    run: (x, i) => tf.embedding(x, i), ...even },
  { name: 'embedding, odd', inputs: [make([700, 13]), indices(17, 700)], run: (x, i) => tf.embedding(x, i), ...even },
  { name: 'gather', inputs: [make([192, 50]), indices(192 * 3, 50).reshape([192, 3])],
    run: (x, i) => x.gather(1, i), ...even },
  { name: 'matmul, many rows', inputs: [make([300, 32]), make([32, 16])], run: (a, b) => a.matmul(b), varied: [0] },
  { name: 'matmul, many terms', inputs: [make([5, 300]), make([300, 16])], run: (a, b) => a.matmul(b), ...both },
  { name: 'matmul, many columns', inputs: [make([5, 24]), make([300, 24])],
    run: (a, b) => a.matmul(b.transpose(0, 1)), ...both },
  { name: 'matmul, all large', inputs: [make([90, 80]), make([80, 96])], run: (a, b) => a.matmul(b), ...both },
  { name: 'matmul, odd', inputs: [make([67, 91]), make([91, 73])], run: (a, b) => a.matmul(b), ...both },
  { name: 'matmul, f16', inputs: [make([128, 96], 'f16'), make([96, 100], 'f16')],
    run: (a, b) => a.matmul(b), varied: [0, 1], within: 2e-3 },
  { name: 'batched matmul', inputs: [make([12, 20, 24]), make([12, 24, 20])],
    run: (a, b) => a.matmul(b), varied: [0, 1] },
  { name: 'matmul, a batch of one', inputs: [make([1, 20, 32]), make([8, 32, 20])],
    run: (a, b) => a.matmul(b), varied: [1] },
  { name: 'linear with bias, many terms', inputs: [make([9, 600]), turned([16, 600]), make([16])],
    run: tf.linear, ...both },
  { name: 'linear with bias', inputs: [make([9, 32]), make([300, 32]), make([300])],
    run: (x, w, b) => tf.linear(x, w, b), varied: [0, 1, 2], within: 2e-6 },
];

for (const { name, inputs, run, varied = [], within } of cases) {
  test(name, async () => {
    const cotangent = new Random(7);
    let seed: Tensor | undefined;
    const pass = async (): Promise<ArrayLike<number>[]> => {
      const own = inputs.map((x, i) => (varied.includes(i) ? leaf(x) : x));
      const y = run(...own);
      if (varied.length === 0) return [await y.data()];
      seed ??= tf.tensor(
        Float32Array.from({ length: y.size }, () => cotangent.normal()),
        { shape: y.shape, dtype: y.dtype },
      );
      const grads = tf.grad(
        [y],
        varied.map((i) => own[i]!),
        { gradOutputs: [seed] },
      );
      return Promise.all([y, ...grads].map((x) => x.data()));
    };
    const whole = await pass();
    const { value: cutUp } = await limited(pass);
    whole.forEach((want, k) => {
      if (within === undefined) compareBits(`result ${k}`, cutUp[k]!, want);
      else close(`result ${k}`, cutUp[k]!, want, within);
    });
  });
}

/** A view of the same elements that gradients are taken by. */
function leaf(x: Tensor): Tensor {
  const y = x.detach();
  y.requiresGrad = true;
  return y;
}

function close(what: string, got: ArrayLike<number>, want: ArrayLike<number>, within: number): void {
  assert.is(got.length, want.length, what);
  const most = Array.from(want).reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  for (let i = 0; i < got.length; i++) {
    const error = Math.abs(got[i]! - want[i]!);
    if (!(error <= within * most)) throw new Error(`${what}: element ${i} is ${got[i]}, want ${want[i]}`);
  }
}

test('random numbers are those of the whole tensor', async () => {
  const draw = async (): Promise<ArrayLike<number>[]> => {
    tf.manualSeed(5);
    const x = tf.normal([90, 60]);
    const y = tf.dropout(x, 0.3);
    return Promise.all([x, tf.uniform([6001]), y, tf.uniform([9501], { dtype: 'f16' })].map((t) => t.data()));
  };
  const want = await draw();
  const { value } = await limited(draw);
  want.forEach((w, k) => compareBits(`draw ${k}`, value[k]!, w));
});

test('assignment in place, to views too', async () => {
  const run = async (): Promise<ArrayLike<number>> => {
    const x = tf.full([160, 50], 1);
    x.slice([10, 140]).addAssign(added);
    x.assign(x.mul(2));
    x.slice(null, [3, 4]).assign(tf.zeros([1]));
    return x.data();
  };
  const added = make([130, 50]);
  const want = await run();
  const { value } = await limited(run);
  compareBits('x', value, want);
});

test('optimizer steps, clipped, and the norm of large gradients', async () => {
  const start = [make([170, 133]), make([5]), make([20001])];
  const gradients = start.map(({ shape }) => make(shape));
  const run = async (): Promise<ArrayLike<number>[]> => {
    const parameters = start.map((x) => leaf(x.clone()));
    const optimizer = new AdamW(parameters, { lr: 0.01, weightDecay: 0.1, halfCopies: true });
    for (let step = 0; step < 3; step++) {
      parameters.forEach((x, i) => (x.grad = gradients[i]!.mul(step + 1)));
      optimizer.step({ maxNorm: 50 });
    }
    return Promise.all([...parameters, globalNorm(gradients)].map((x) => x.data()));
  };
  const want = await run();
  const { value } = await limited(run, 65536);
  want.forEach((w, k) => compareBits(`result ${k}`, value[k]!, w));
});

test('a compiled step', async () => {
  const table = make([600, 16]);
  const tokens = indices(6, 600);
  const run = async (compiled: boolean): Promise<ArrayLike<number>[]> => {
    const step = (): Tensor[] => {
      const weight = leaf(table);
      const x = tf.embedding(weight, tokens).gelu().add(1);
      const loss = tf.crossEntropy(x.matmul(weight.transpose(0, 1)).mul(0.1), tokens);
      return [loss, ...tf.grad([loss], [weight]), weight.mul(2).softmax().mul(3)];
    };
    const fn = compiled ? tf.compile(step) : step;
    return Promise.all(fn().map((x) => x.data()));
  };
  const want = await run(false);
  const { value } = await limited(() => run(true));
  want.forEach((w, k) => close(`result ${k}`, value[k]!, w, 4e-6));
});

test('what cannot be cut is refused, by op and tensor', async () => {
  const restore = gpu.limitBindings(limit, alignment);
  try {
    assert.throws(() => tf.zeros([2, 4100]).softmax(), /^softmax: .*\[2, 4100\].*16\.0 KiB for one binding.*split/);
    assert.throws(() => tf.zeros([4100]).cumsum(0), /^cumsum: .*\[4100\]/);
  } finally {
    restore();
  }
});

test('a table is cut into as few parts as hold it', async () => {
  const [table, rows] = [make([100, 32]), indices(3, 100)]; // 12,800 bytes
  const { dispatches } = await limited(() => tf.embedding(table, rows).data(), 6400);
  assert.equal(dispatches, ['gatherRows', 'gatherRows']);
  assert.is((await limited(() => tf.embedding(table, rows).data(), 12800)).dispatches.length, 1);
});

const mib128 = { bindingLimit: 2 ** 27, bindingAlignment: 256 };
const row = (strides: readonly number[], bytes = 4, offset = 0) => ({ strides, offset, bytes });

/** Every index is in exactly one block, and every operand's part fits. */
function check({ shape, operands }: Space, limits: typeof mib128, blocks: readonly Block[]): void {
  const size = (lengths: readonly number[]): number => lengths.reduce((a, b) => a * b, 1);
  assert.is(
    blocks.reduce((total, { lengths }) => total + size(lengths), 0),
    size(shape),
  );
  for (const { lengths } of blocks) {
    for (const { strides, bytes } of operands) {
      const span = strides.reduce((total, s, axis) => total + Math.abs(s) * (lengths[axis]! - 1), 1);
      assert.ok(span * bytes <= limits.bindingLimit);
    }
  }
}

test('cut: the embedding of GPT-2 makes two blocks', () => {
  const space = { shape: [50257, 768], operands: [row([768, 1])] };
  const blocks = cut(space, mib128)!;
  assert.equal(
    blocks.map(({ starts, lengths }) => [starts[0], lengths[0]]),
    [[0, 25129], [25129, 25128]],
  ); // prettier-ignore
  check(space, mib128, blocks);
});

test('cut: blocks begin at aligned places', () => {
  const space = { shape: [9001, 5001], operands: [row([5001, 1])] };
  const blocks = cut(space, mib128)!;
  check(space, mib128, blocks);
  for (const { starts } of blocks) assert.is((starts[0]! * 5001 * 4) % 256, 0);
});

test('cut: random spaces', () => {
  const chance = new Random(11);
  for (let i = 0; i < 300; i++) {
    const shape = Array.from({ length: 1 + chance.int(4) }, () => 1 + chance.int(20));
    const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
    const other = shape.map((_, axis) => (chance.int(3) === 0 ? 0 : shape.slice(0, axis).reduce((a, b) => a * b, 1)));
    const space = { shape, operands: [row(strides), row(other, 2, chance.int(9))], anywhere: true };
    const limits = { bindingLimit: 64 + 16 * chance.int(64), bindingAlignment: 16 };
    const blocks = cut(space, limits);
    assert.ok(blocks, `${shape.join()} at ${limits.bindingLimit}`);
    check(space, limits, blocks);
  }
});

test.run();
