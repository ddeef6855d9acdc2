import { inspect } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as tf from '../../autograd/index.ts';
import type { Dtype, Tensor } from '../../autograd/index.ts';

/** Names that a PyTorch user types first work as there, or an error says what to type instead. */
const test = suite("PyTorch's names");

const close = (got: unknown, want: unknown, tolerance = 1e-6): void => {
  const [a, b] = [got, want].map((list) => [list].flat(Infinity).map(Number));
  assert.is(a!.length, b!.length);
  a!.forEach((v, i) =>
    assert.ok(Object.is(v, b![i]) || Math.abs(v - b![i]!) <= tolerance, `${i}: ${v}, want ${b![i]}`),
  );
};
const x = (): Tensor =>
  tf.tensor([
    [1, -2, 3],
    [4, 5, -6],
  ]);

test('lengths and axes one by one or as a list', async () => {
  const y = tf.arange(6);
  assert.equal(y.reshape(3, 2).shape, [3, 2]);
  assert.equal(y.reshape(-1, 3).shape, [2, 3]);
  assert.equal(y.reshape([6, 1]).shape, [6, 1]);
  assert.equal(tf.reshape(y, 2, 3).shape, [2, 3]);
  assert.equal(tf.tensor(3).reshape([]).shape, []);
  assert.equal(y.view(2, 3).shape, [2, 3]);
  assert.equal(y.view(2, 3).viewAs(tf.zeros(3, 2)).shape, [3, 2]);
  assert.equal(tf.zeros(2, 3, 4).permute(0, 2, 1).shape, [2, 4, 3]);
  assert.equal(tf.zeros([2, 3, 4]).permute([2, 0, 1]).shape, [4, 2, 3]);
  assert.equal(tf.ones(1, 3).expand(2, -1).shape, [2, 3]);
  assert.equal(tf.ones(1, 3).expandAs(x()).shape, [2, 3]);
  assert.equal(await y.flip(0).tolist(), [5, 4, 3, 2, 1, 0]);
  assert.equal(await x().flip(0, 1).tolist(), [[-6, 5, 4], [3, -2, 1]]); // prettier-ignore
  assert.equal(await x().flip([1]).tolist(), [[3, -2, 1], [-6, 5, 4]]); // prettier-ignore
  assert.is(tf.zeros(2, { dtype: 'i32' }).dtype, 'i32');
  assert.equal(tf.empty(2, 0).shape, [2, 0]);
  assert.throws(() => y.reshape(4, 2), /^reshape: \[6\] \(6 elements\) does not fit \[4, 2\]/);
  assert.throws(() => x().permute(0, 0), /^permute: axes \[0, 0\]/);
});

test('made like in PyTorch', async () => {
  close(await tf.linspace(-1, 1, 5).tolist(), [-1, -0.5, 0, 0.5, 1]);
  close(await tf.linspace(3, 9, 1).tolist(), [3]);
  assert.equal(await tf.eye(2, 3).tolist(), [[1, 0, 0], [0, 1, 0]]); // prettier-ignore
  assert.equal(await tf.eye(2, 2, { dtype: 'bool' }).tolist(), [[true, false], [false, true]]); // prettier-ignore
  const like = tf.zeros(2, 3, { dtype: 'f16' });
  for (const y of [like.zerosLike(), like.onesLike(), like.fullLike(7), like.randLike({ dtype: 'f16' })])
    assert.equal([y.dtype, y.shape], ['f16', [2, 3]]);
  assert.equal(await like.fullLike(7, { dtype: 'i32' }).tolist(), [[7, 7, 7], [7, 7, 7]]); // prettier-ignore
  tf.manualSeed(1);
  const [even, bell] = [await tf.rand(50, 40).data(), await tf.randn([50, 40]).data()];
  const mean = (list: ArrayLike<number>): number => Array.from(list).reduce((a, b) => a + b, 0) / list.length;
  assert.ok(even.every((v) => v >= 0 && v < 1) && Math.abs(mean(even) - 0.5) < 0.03);
  assert.ok(Math.abs(mean(bell)) < 0.1 && Math.abs(mean(bell.map((v) => v * v)) - 1) < 0.15);
  const whole = await tf.randint(-2, 1, [3000]).data();
  for (const v of [-2, -1, 0]) assert.ok(Math.abs(whole.filter((w) => w === v).length - 1000) < 150, `${v}`);
  assert.is(whole.every((v) => v >= -2 && v < 1), true); // prettier-ignore
});

test('asked about a tensor', () => {
  assert.equal([x().dim(), x().numel(), x().ndim, x().size], [2, 6, 2, 6]);
  assert.type(x().device, 'string');
  const types = [x().float(), x().half(), x().int(), x().long(), x().bool()].map(({ dtype }) => dtype);
  assert.equal(types, ['f32', 'f16', 'i32', 'i32', 'bool']);
});

test('products', async () => {
  const [v, w] = [tf.tensor([1, 2, 3]), tf.tensor([1, -1])];
  assert.equal(await x().mm(x().t()).tolist(), [[14, -24], [-24, 77]]); // prettier-ignore
  assert.equal(await x().T.tolist(), await x().transpose().tolist());
  assert.is(v.t(), v);
  assert.equal(await x().mv(v).tolist(), [6, -4]);
  assert.is(await v.dot(v).item(), 14);
  assert.equal(await v.outer(w).tolist(), [[1, -1], [2, -2], [3, -3]]); // prettier-ignore
  assert.throws(() => tf.zeros(1, 2, 3).t(), /^t: .*\[1, 2, 3\]/);
  assert.throws(() => x().mm(v), /^mm: .*\[2, 3\] and \[3\]/);
});

test('reductions', async () => {
  close(await x().std().item(), Math.sqrt((91 - 25 / 6) / 5), 1e-5);
  close(await x().std(1, { correction: 0, keepDims: true }).tolist(), [2.0548046676563256, 4.9665548085837798], 1e-5);
  close(await x().var(0).tolist(), [4.5, 24.5, 40.5], 1e-4);
  close(await x().amax(1).tolist(), [3, 5]);
  close(await x().amin(0).tolist(), [1, -2, -6]);
  close(await x().norm().item(), Math.sqrt(91), 1e-5);
  close(await x().norm(1, 1).tolist(), [6, 15]);
  close(await x().norm(3, 0).tolist(), [65 ** (1 / 3), 133 ** (1 / 3), 243 ** (1 / 3)], 1e-4);
  close(await x().norm(Infinity, 1, { keepDims: true }).tolist(), [3, 6]);
  close(await x().norm(-Infinity).item(), 1);
  close(await tf.tensor([0, 3, 0]).norm(0).item(), 1);
  const unit = [14, 77].map(Math.sqrt);
  const unitRows = [1, -2, 3, 4, 5, -6].map((v, i) => v / unit[Math.floor(i / 3)]!);
  close(await x().normalize().tolist(), unitRows);
  const odd = tf.tensor([NaN, Infinity, -Infinity, 0]);
  assert.equal(await odd.isnan().tolist(), [true, false, false, false]);
  assert.equal(await odd.isinf().tolist(), [false, true, true, false]);
  assert.equal(await odd.isfinite().tolist(), [false, false, false, true]);
  assert.equal([await odd.any().tolist(), await odd.all().tolist()], [true, false]);
  assert.equal([await tf.zeros(0).any().tolist(), await tf.zeros(0).all().tolist()], [false, true]);
  assert.equal(await tf.eye(2, 3).any(0).tolist(), [true, true, false]);
  assert.equal(await tf.eye(1, 2).all(1, { keepDims: true }).tolist(), [[false]]);
});

test('repeated', async () => {
  const y = tf.tensor([[1, 2]]);
  assert.equal(await y.repeat(2, 3).tolist(), [[1, 2, 1, 2, 1, 2], [1, 2, 1, 2, 1, 2]]); // prettier-ignore
  assert.equal(await y.repeat([2, 1, 1]).tolist(), [[[1, 2]], [[1, 2]]]);
  assert.equal(await x().repeatInterleave(2).tolist(), [1, 1, -2, -2, 3, 3, 4, 4, 5, 5, -6, -6]);
  assert.equal(await y.repeatInterleave(2, 0).tolist(), [[1, 2], [1, 2]]); // prettier-ignore
  assert.equal(await y.repeatInterleave(2, -1).tolist(), [[1, 1, 2, 2]]);
  assert.throws(() => x().repeat(2), /^repeat: \[2, 3\].*\[2\]/);
});

test('topk: values, indices and gradient', async () => {
  const y = tf.tensor([[3, 9, -Infinity, 9, 1], [-Infinity, -Infinity, NaN, 2, -4]]); // prettier-ignore
  const [values, indices] = y.topk(3);
  assert.equal(await values.tolist(), [[9, 9, 3], [NaN, 2, -4]]); // prettier-ignore
  assert.equal(await indices.tolist(), [[1, 3, 0], [2, 3, 4]]); // prettier-ignore
  const [least, places] = y.topk(2, 1, { largest: false });
  assert.equal(await least.tolist(), [[-Infinity, 1], [-Infinity, -Infinity]]); // prettier-ignore
  assert.equal(await places.tolist(), [[2, 4], [0, 1]]); // prettier-ignore
  const column = tf.tensor([[1], [5], [2]]).requiresGrad_();
  const [top, at] = column.topk(2, 0);
  assert.equal(await at.tolist(), [[1], [2]]);
  top.mul(tf.tensor([[10], [20]])).sum().backward(); // prettier-ignore
  assert.equal(await column.grad!.tolist(), [[0], [10], [20]]);
  assert.throws(() => x().topk(4), /^topk: k must lie in 1..3.*got 4/);
});

test('multinomial draws by weight, each class once without replacement', async () => {
  tf.manualSeed(3);
  const weights = tf.tensor([[1, 0, 3, 4], [0, 0, 5, 0]]); // prettier-ignore
  const drawn = (await weights.multinomial(4000, { replacement: true }).tolist()) as number[][];
  [0.125, 0, 0.375, 0.5].forEach((p, k) => {
    const share = drawn[0]!.filter((v) => v === k).length / 4000;
    assert.ok(Math.abs(share - p) < 0.03, `class ${k}: ${share}, want ${p}`);
  });
  assert.ok(drawn[1]!.every((v) => v === 2));
  const once = (await tf.tensor([1, 0, 3, 4]).expand(2000, 4).multinomial(3).tolist()) as number[][];
  assert.ok(once.every((row) => [...row].sort().join() === '0,2,3'));
  // The first of three is drawn by weight: 1/8, 3/8, 4/8.
  const first = once.filter(([a]) => a === 2).length / 2000;
  assert.ok(Math.abs(first - 0.375) < 0.04, `${first}`);
  assert.throws(() => x().multinomial(4), /^multinomial: count .* 3.*got 4/);
  assert.throws(() => x().multinomial(1), /^multinomial: weights must not be negative, got -6/);
  const ones = await tf.full([4000], 0.25).bernoulli().data();
  assert.ok(Math.abs(ones.filter((v) => v === 1).length / 4000 - 0.25) < 0.03);
});

test('in place', async () => {
  const y = tf.tensor([1, 2]);
  assert.is(y.add_(1), y);
  y.mul_(tf.tensor([2, 3]))
    .sub_(1)
    .div_(2);
  assert.equal(await y.tolist(), [1.5, 4]);
  assert.equal(await y.clamp_(2, 3).tolist(), [2, 3]);
  assert.equal(await y.fill_(5).tolist(), [5, 5]);
  assert.equal(await y.zero_().tolist(), [0, 0]);
  assert.equal(await y.copy_(tf.tensor([7, 8])).add_(tf.tensor([1, 1])).tolist(), [8, 9]); // prettier-ignore
  y.normal_(3, 0);
  assert.equal(await y.tolist(), [3, 3]);
  assert.ok((await y.uniform_(4, 5).data()).every((v) => v >= 4 && v <= 5));
});

test('losses, cat, clip and isCausal under their names', async () => {
  const [a, b] = [tf.tensor([1, 2]), tf.tensor([0, 4])];
  close(await tf.mseLoss(a, b).item(), 2.5);
  close(await tf.l1Loss(a, b).item(), 1.5);
  close(await tf.smoothL1Loss(a, b).item(), 1);
  close(await tf.huberLoss(a, b).item(), 1);
  close(await tf.binaryCrossEntropyWithLogits(tf.zeros(2), tf.ones(2)).item(), Math.LN2);
  assert.equal(await tf.cat([a, b]).clip(1, 3).tolist(), [1, 2, 1, 3]);
  const [q, k, v] = [tf.randn(1, 2, 5, 8), tf.randn(1, 2, 5, 8), tf.randn(1, 2, 5, 8)];
  const mask = tf.tril(tf.ones(5, 5)).bool();
  const attend = tf.scaledDotProductAttention;
  const want = await attend(q, k, v, { causal: true }).data();
  assert.equal(await attend(q, k, v, { isCausal: true }).data(), want);
  close([...(await attend(q, k, v, { attnMask: mask, dropoutP: 0 }).data())], [...want], 1e-5);
  assert.throws(
    () => attend(q, k, v, { is_causal: true } as never),
    /^scaledDotProductAttention: there is no option is_causal/,
  );
});

test('element types and options that do not exist are refused by name, with the choices', () => {
  const f64 = 'f64' as Dtype;
  const choices = /dtype must be 'bool', 'u32', 'i32', 'f16' or 'f32', got 'f64'; WGSL has no 64-bit floats, use 'f32'/;
  const ops: Record<string, () => unknown> = {
    tensor: () => tf.tensor([1], { dtype: f64 }),
    zeros: () => tf.zeros([1], { dtype: f64 }),
    ones: () => tf.ones(1, { dtype: f64 }),
    full: () => tf.full([1], 2, { dtype: f64 }),
    arange: () => tf.arange(0, 2, 1, { dtype: f64 }),
    linspace: () => tf.linspace(0, 2, 1, { dtype: f64 }),
    to: () => x().to(f64),
  };
  for (const [op, run] of Object.entries(ops)) assert.throws(run, new RegExp(`^${op}: ${choices.source}`));
  assert.throws(() => tf.randn(2, { dtype: 'i32' as never }), /^normal: dtype must be 'f32' or 'f16', got 'i32'/);
  assert.throws(() => x().to('cuda' as Dtype), /^to: .*'cuda'; every tensor is on the device already/);
  assert.throws(() => x().to(undefined as never), /^to: .*got undefined/);
  assert.throws(() => x().sum(0, { keepdim: true } as never), /^sum: there is no option keepdim.*keepDims/);
  assert.throws(() => x().mean(0, true as never), /^mean: options must be an object with keepDims, got true/);
  assert.throws(() => x().sum({ dim: 1 } as never), /^sum: the axes must be a number or a list.*object/);
  assert.throws(() => x().softmax({ dim: 1 } as never), /^softmax: the axis must be a whole number, got object/);
  assert.throws(() => tf.zeros([2.5]), /^zeros: a shape must be a list of whole numbers.*\[2\.5\]/);
  assert.throws(() => tf.uniform(3 as never), /^uniform: a shape must be a list.*got 3/);
  assert.throws(() => tf.tensor([1], { dtypes: 'f16' } as never), /^tensor: there is no option dtypes/);
  assert.throws(() => x().gelu({ approximate: 'erf' as never }), /^gelu: approximate.*'none' or 'tanh'.*'erf'/);
  const loss = { reduction: 'avg' as never };
  assert.throws(
    () => tf.crossEntropy(x(), tf.tensor([0, 1]), loss),
    /^crossEntropy: reduction must be 'mean' or 'sum' or 'none', got 'avg'/,
  );
});

const logits = (): Tensor => tf.zeros(2, 3);
const bad = /^(\w+): (label|index) 0\.7 is not a whole number/;
const withLabels: Record<string, (labels: Tensor) => Tensor> = {
  crossEntropy: (labels) => tf.crossEntropy(logits(), labels),
  linearCrossEntropy: (labels) => tf.linearCrossEntropy(tf.zeros(2, 4), tf.zeros(3, 4), labels),
  embedding: (labels) => tf.embedding(tf.zeros(3, 2), labels).sum(),
  oneHot: (labels) => tf.crossEntropy(tf.oneHot(labels, 3), labels),
};

for (const [op, run] of Object.entries(withLabels)) {
  test(`${op}: class numbers in f32 count where they are whole`, async () => {
    const floats = (second: number): Tensor => tf.tensor([1, second]);
    assert.is(Number.isFinite(await run(floats(2)).item()), true);
    assert.throws(() => run(floats(0.7)), bad);
    const compiled = tf.compile(run);
    assert.is(Number.isFinite(await compiled(floats(2)).item()), true);
    assert.throws(() => compiled(floats(0.7)), bad); // the same program, another argument
    assert.throws(() => tf.compile(run)(floats(0.7)), bad);
    if (op === 'oneHot') return; // a hidden label is no class
    // Only the device knows these: they show as NaN, as labels out of range do.
    for (const each of [run, tf.compile(run)]) {
      assert.is(Number.isNaN(await each(floats(0.2).add(0.5)).item()), true);
      assert.is(Number.isFinite(await each(floats(0.5).mul(2).sub(1)).item()), true);
    }
  });
}

test('in-place writes to what gradients flow to are refused, in noGrad they work', async () => {
  const leaf = /^(\w+): the target \[2\] is a leaf that requires a gradient.*noGrad/;
  const history = /^(\w+): the target \[\d\] was computed from \(or is a view of\).*noGrad/;
  const w = tf.tensor([1, 2], { requiresGrad: true });
  const writes: ((y: Tensor) => unknown)[] = [
    (y) => y.assign(tf.zeros(1)),
    (y) => y.addAssign(tf.zeros(1)),
    (y) => y.add_(1),
    (y) => y.mul_(2),
    (y) => y.zero_(),
  ];
  for (const write of writes) {
    assert.throws(() => write(w), leaf);
    assert.throws(() => write(w.slice([0, 1])), history);
    assert.throws(() => write(w.mul(2)), history);
    assert.throws(() => tf.compile(() => void write(w))(), leaf);
  }
  assert.equal(await w.tolist(), [1, 2]);
  tf.noGrad(() => w.sub_(1));
  tf.compile(() => tf.noGrad(() => void w.mul_(10)))();
  w.detach().add_(1);
  assert.equal(await w.tolist(), [1, 11]);
  assert.throws(() => tf.zeros(1, 2).expand(3, 2).add_(1), /^addAssign: .*\[3, 2\] share memory/);
  assert.throws(() => tf.zeros(4).unfold(0, 2, 1).zero_(), /^assign: .*share memory.*clone/);
  const cut = tf.zeros(6);
  cut.unfold(0, 2, 3).fill_(1);
  assert.equal(await cut.tolist(), [1, 1, 0, 1, 1, 0]);
});

test('console.log shows shape, type, device and the values that the host has', async () => {
  const shown = inspect(tf.tensor([[1, 0.123456789], [-2, NaN]]).T, { depth: 0 }); // prettier-ignore
  assert.match(shown, /^Tensor\(\[\[1, -2\],\n {8}\[0\.12346, NaN\]\], shape: \[2, 2\], dtype: f32, device: [^,]+\)$/);
  assert.match(inspect(tf.tensor([true, false])), /^Tensor\(\[true, false\], shape: \[2\], dtype: bool/);
  assert.match(inspect(tf.tensor([0.1], { dtype: 'f16' })), /^Tensor\(\[0\.099976\]/);
  assert.match(inspect(tf.tensor([2], { dtype: 'i32' })), /^Tensor\(\[2\]/);
  const leaf = tf.tensor(3, { requiresGrad: true });
  assert.match(inspect(leaf), /^Tensor\(3, shape: \[\], dtype: f32, device: [^,]+, requiresGrad\)$/);
  assert.match(inspect({ loss: leaf.add(1) }), /loss: Tensor\(shape: \[\], .*requiresGrad; values: await data\(\)\)/);
  assert.match(inspect(tf.arange(2000)), /^Tensor\(\[0, 1, 2, \.\.\., 1997, 1998, 1999\], shape: \[2000\]/);
  await tf.ready();
  assert.not.match(inspect(leaf), /device: webgpu,/);
});

test.run();
