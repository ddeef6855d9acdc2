import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as tf from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import { matmulClass, matmulPlans, planName, watchMatmul } from '../../kernels/matmul/matmul.ts';
import { GPT2Config, GPT2LMHeadModel } from '../../models/index.ts';
import { AdamW } from '../../train/optim/index.ts';
import { guardMemory } from '../support/guarded-memory.ts';

/**
 * Products of f32 by halves. Software drivers prefer f32, and so are made to choose them, as a tuned device
 * would be.
 */
const test = suite('precision of f32 products');
const gpu = await tf.ready();
const hasMatrices = gpu.target.subgroupMatrix.some(({ component, result }) => component === 'f16' && result === 'f32');
const choices = gpu.target.choices as Map<string, string>;
let splits: number | undefined;
const stop = watchMatmul((product) => {
  if (product.a.dtype !== 'f16') return;
  const plans = matmulPlans(gpu.target, product).filter(({ variant }) => variant === 'subgroup');
  const plan = plans.find((x) => x.splits === splits) ?? plans[0];
  if (plan) choices.set(matmulClass(product), planName(plan));
});
test.before.each(() => (splits = undefined));
test.after.each(() => tf.setFloat32MatmulPrecision('highest'));
test.after(() => {
  stop();
  choices.clear();
});

/** Names of the kernels that fn dispatches, and what it returns. */
function watched<T>(fn: () => T): [T, string[]] {
  const names: string[] = [];
  const { encoder } = gpu;
  const dispatch = encoder.dispatch.bind(encoder);
  encoder.dispatch = (...args) => {
    names.push(args[0].name);
    dispatch(...args);
  };
  try {
    return [fn(), names];
  } finally {
    encoder.dispatch = dispatch;
  }
}

const high = <T>(fn: () => T): T => {
  tf.setFloat32MatmulPrecision('high');
  try {
    return fn();
  } finally {
    tf.setFloat32MatmulPrecision('highest');
  }
};

/** a [..., m, k] @ b [..., k, n] by halves; fails where another kernel is chosen. */
function byHalves(fn: () => Tensor): Tensor {
  const [y, names] = watched(() => high(fn));
  assert.ok(names.filter((name) => name.startsWith('matmul.halves')).length === 2, names.join());
  assert.ok(
    names.some((name) => name.startsWith('matmul.subgroup')),
    names.join(),
  );
  return y;
}

interface Errors {
  readonly max: number;
  readonly rms: number;
}

/** Errors of outputs [m, n] relative to the sum of the sizes of their products; throws above the bound. */
function errorsOf(y: Float32Array, a: Float32Array, b: Float32Array, m: number, k: number, n: number): Errors {
  let [max, squares] = [0, 0];
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) {
      let [sum, size, flushed] = [0, 0, k * 2 ** -126];
      for (let q = 0; q < k; q++) {
        const [x, y] = [a[i * k + q]!, b[q * n + j]!];
        sum += x * y;
        size += Math.abs(x * y);
        if (Math.min(Math.abs(x), Math.abs(y)) < 2 ** -126) flushed += Math.abs(x * y);
      }
      const error = Math.abs(y[i * n + j]! - sum);
      // Devices may take numbers below 2^-126 for 0 in f32, too.
      if (!(error <= (2 ** -20 + k * 2 ** -24) * size + flushed))
        throw new Error(`[${i}, ${j}] is ${y[i * n + j]}, want ${sum} of products that add up to ${size}`);
      if (size > 0) max = Math.max(max, error / size);
      if (size > 0) squares += (error / size) ** 2;
    }
  return { max, rms: Math.sqrt(squares / (m * n)) };
}

const normals = (length: number, seed: number, scale: (i: number) => number = () => 1): Float32Array => {
  const random = new Random(seed);
  return Float32Array.from({ length }, (_, i) => random.normal() * scale(i));
};

/** A matrix, or the transposed view of its transpose. */
const matrix = (data: Float32Array, rows: number, cols: number, transposed: boolean): Tensor => {
  const x = tf.tensor(data).reshape([rows, cols]);
  return transposed ? tf.transpose(tf.clone(tf.transpose(x))) : x;
};

test('names are checked, and medium is computed as high', async () => {
  assert.equal(tf.getFloat32MatmulPrecision(), 'highest');
  tf.setFloat32MatmulPrecision('medium');
  assert.equal(tf.getFloat32MatmulPrecision(), 'medium');
  assert.throws(() => tf.setFloat32MatmulPrecision('fast' as 'high'), /fast is none of highest, high, medium/);
  const [a, b] = [tf.rand(20, 24), tf.rand(24, 20)];
  const medium = await tf.matmul(a, b).data();
  assert.equal(medium, await high(() => tf.matmul(a, b)).data());
});

test('without a choice for tensor cores a product is that of highest, bit for bit', async () => {
  const [a, b] = [tf.randn(40, 64), tf.randn(64, 36)];
  const want = await tf.matmul(a, b).data();
  const { subgroupMatrix } = gpu.target;
  Object.assign(gpu.target, { subgroupMatrix: [] });
  try {
    choices.clear();
    assert.equal(await high(() => tf.matmul(a, b)).data(), want);
  } finally {
    Object.assign(gpu.target, { subgroupMatrix });
  }
});

if (hasMatrices) {
  for (const [aT, bT] of [
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ] as const)
    test(`${aT ? 'T' : 'N'}${bT ? 'T' : 'N'}: sizes that tiles do not divide, k in parts, a bias`, async () => {
      for (const [m, k, n, parts] of [
        [40, 77, 36, undefined],
        [33, 21, 70, undefined],
        [32, 384, 32, 2],
      ] as const) {
        splits = parts;
        const [a, b, c] = [normals(m * k, 1), normals(k * n, 2), normals(n, 3)];
        const [x, w] = [matrix(a, m, k, aT), matrix(b, k, n, bT)];
        const y = await floats(byHalves(() => tf.matmul(x, w)));
        const { max, rms } = errorsOf(y, a, b, m, k, n);
        assert.ok(max < 2 ** -20 && rms < 2 ** -22, `${m} x ${k} x ${n}: ${max}, ${rms}`);
        // Again, the same bits, and nothing beyond tensors that lie between poison.
        const memory = guardMemory(gpu);
        try {
          const [x2, w2] = [matrix(a, m, k, aT), matrix(b, k, n, bT)];
          assert.equal(await floats(byHalves(() => tf.matmul(x2, w2))), y);
          assert.equal(await memory.check(), []);
        } finally {
          memory.restore();
        }
        if (aT !== bT) continue; // a third kernel to compile
        const biased = await floats(byHalves(() => tf.linear(x, tf.transpose(w), tf.tensor(c))));
        const want = await floats(tf.linear(x, tf.transpose(w), tf.tensor(c)));
        biased.forEach((v, i) => assert.ok(Math.abs(v - want[i]!) < 1e-4, `${i}: ${v}, ${want[i]}`));
      }
    });

  test('batches, also where one operand serves several', async () => {
    for (const [a, b] of [
      [tf.randn(2, 3, 20, 24), tf.randn(2, 3, 24, 20)],
      [tf.randn(2, 3, 20, 24), tf.randn(3, 24, 20)],
      [tf.randn(3, 20, 24).expand([2, 3, 20, 24]), tf.randn(2, 1, 24, 20)],
      [tf.randn(20, 2, 24).permute([1, 0, 2]), tf.randn(24, 20, 2).permute([2, 0, 1])],
    ] as const) {
      const got = await floats(byHalves(() => tf.matmul(a, b)));
      const want = await floats(tf.matmul(a, b));
      got.forEach((y, i) => assert.ok(Math.abs(y - want[i]!) < 3e-5, `${i}: ${y}, ${want[i]}`));
    }
  });

  const [m, k, n] = [24, 48, 28];
  const scaled = (name: string, a: (i: number) => number, b: (i: number) => number): void =>
    test(`numbers of ${name} are no worse than f32's`, async () => {
      const [x, w] = [normals(m * k, 4, a), normals(k * n, 5, b)];
      for (const parts of [undefined, 2]) {
        splits = parts;
        errorsOf(
          await floats(byHalves(() => tf.matmul(matrix(x, m, k, false), matrix(w, k, n, false)))),
          x,
          w,
          m,
          k,
          n,
        );
      }
    });
  const one = (): number => 1;
  const row = (i: number): number => Math.floor(i / k);
  scaled(
    '1e5, above the largest f16',
    () => 1e5,
    () => 1e5,
  );
  scaled('rows of 1e-20 beside rows of 1e20', (i) => (row(i) % 2 ? 1e20 : 1e-20), one);
  scaled(
    '1e-38, 1e-42 and 1e-45',
    (i) => [1e-38, 1e-42, 1e-45][i % 3]!,
    () => 1e20,
  );
  scaled('1e18 beside 1e-18 in each row', (i) => (i % 5 ? 1e-18 : 1e18), one);
  scaled(
    'k that is large where the other is small',
    (i) => 10 ** (((i % k) % 7) * 5 - 15),
    (i) => 10 ** (15 - (Math.floor(i / n) % 7) * 5),
  );
  scaled(
    'rows whose large numbers meet zeros',
    (i) => (i % 2 ? 1e-12 : 1e12),
    (i) => (Math.floor(i / n) % 2 ? 1 : 0),
  );
  scaled(
    'zeros',
    (i) => (row(i) % 3 ? 0 : 1),
    (i) => (i % 2 ? 0 : 1),
  );

  test('what cancels is as good as the sizes of its products', async () => {
    const x = normals(m * k, 6);
    const w = new Float32Array(k * n);
    // b's second half of k undoes its first, but for a part in a million.
    const half = normals((k / 2) * n, 7);
    half.forEach((v, i) => ((w[i] = v), (w[i + half.length] = -v * (1 + 1e-6))));
    for (let i = 0; i < m; i++) for (let q = 0; q < k / 2; q++) x[i * k + k / 2 + q] = x[i * k + q]!;
    errorsOf(await floats(byHalves(() => tf.matmul(matrix(x, m, k, false), matrix(w, k, n, true)))), x, w, m, k, n);
  });

  test('infinities and NaN come out where f32 has them, and nowhere else', async () => {
    const x = normals(m * k, 8, (i) => ([6, 7].includes(i % k) ? 1e-3 : 1));
    const w = normals(k * n, 9);
    [x[3 * k + 1], x[5 * k + 2], x[5 * k + 7], x[9 * k]] = [Infinity, Infinity, -Infinity, NaN];
    [w[4 * n + 2], w[6 * n + 11], w[7 * n + 11]] = [-Infinity, 3e38, 3e38];
    [x[11 * k + 6], x[11 * k + 7]] = [2, 2]; // its product with column 11 exceeds f32
    const [a, b] = [matrix(x, m, k, false), matrix(w, k, n, false)];
    const [got, want] = [await floats(byHalves(() => tf.matmul(a, b))), await floats(tf.matmul(a, b))];
    got.forEach((y, i) => {
      if (!Number.isFinite(want[i]!)) assert.ok(Object.is(y, want[i]), `${i}: ${y}, ${want[i]}`);
      else assert.ok(Math.abs(y - want[i]!) <= 1e-5 * Math.max(10, Math.abs(want[i]!)), `${i}: ${y}, ${want[i]}`);
    });
    assert.ok(got.some((y) => y !== y) && got.some((y) => y === Infinity) && got.some((y) => y === -Infinity));
  });

  test('compiled, with what follows in the same kernel, forwards and backwards; twice the same bits', async () => {
    const [x, w, c, r] = [tf.randn(40, 48), tf.randn(48, 36), tf.randn(36), tf.randn(40, 36)];
    for (const p of [x, w, c, r]) p.requiresGrad = true;
    const step = (): readonly Tensor[] => {
      const y = tf.add(tf.gelu(tf.linear(x, tf.transpose(w), c)), r);
      return [y.detach(), ...tf.grad(tf.sum(tf.mul(y, y)), [x, w, c, r])];
    };
    const compiled = tf.compile(() => step(), { log: () => undefined });
    const exact = await Promise.all(compiled().map(floats));
    const [first, names] = watched(() => high(step));
    assert.equal(names.filter((name) => name.startsWith('matmul.halves')).length, 6);
    const second = high(() => compiled());
    assert.match(await compiled.explain(), /matmul\.halves/);
    const again = await Promise.all(high(() => compiled()).map(floats));
    for (const [i, y] of (await Promise.all(first.map(floats))).entries()) {
      const size = Math.max(...exact[i]!.map(Math.abs));
      y.forEach((v, at) => {
        assert.ok(Math.abs(v - exact[i]![at]!) < 1e-5 * size, `${i}, ${at}: ${v}, ${exact[i]![at]}`);
        assert.ok(Math.abs(v - again[i]![at]!) < 1e-6 * size, `${i}, ${at}: ${v}, ${again[i]![at]} compiled`);
      });
    }
    assert.equal(await Promise.all(second.map(floats)), again);
    assert.equal(await Promise.all(compiled().map(floats)), exact); // back at highest
  });

  test('tensors above one binding are multiplied in parts', async () => {
    const [a, b] = [normals(96 * 64, 10), normals(64 * 96, 11)];
    const [x, w] = [matrix(a, 96, 64, false), matrix(b, 64, 96, false)];
    const restore = gpu.limitBindings(2 ** 14);
    try {
      const [y, names] = watched(() => high(() => tf.matmul(x, w)));
      assert.ok(names.filter((name) => name.startsWith('matmul.subgroup')).length > 1, names.join());
      errorsOf(await floats(y), a, b, 96, 64, 96);
    } finally {
      restore();
    }
  });

  test('a small GPT-2 trains as in f32', async () => {
    const train = async (): Promise<number[]> => {
      tf.manualSeed(3);
      const model = GPT2LMHeadModel.fromConfig(
        GPT2Config.create({ vocabSize: 32, nPositions: 32, nEmbd: 32, nLayer: 1, nHead: 2 }),
      );
      const optimizer = new AdamW(model.parameters(), { lr: 1e-2 });
      const inputIds = tf.randint(0, 32, [4, 32]);
      const losses: number[] = [];
      for (let i = 0; i < 12; i++) {
        const { loss } = model.forward({ inputIds, labels: inputIds, outputLogits: false });
        loss.backward();
        optimizer.step();
        optimizer.zeroGrad();
        losses.push(await loss.item());
      }
      return losses;
    };
    const exact = await train();
    tf.setFloat32MatmulPrecision('high');
    const losses = await train();
    assert.ok(exact.at(-1)! < 0.8 * exact[0]!, exact.join());
    assert.ok(losses.some((loss, i) => loss !== exact[i]));
    losses.forEach((loss, i) => assert.ok(Math.abs(loss - exact[i]!) < 1e-4, `${i}: ${loss}, ${exact[i]}`));
  });
}

async function floats(x: Tensor): Promise<Float32Array> {
  return (await x.data()) as Float32Array;
}

test.run();
