import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fromHalf, toHalf } from '../../common/half.ts';
import * as tf from '../../autograd/index.ts';
import type { Dtype, Tensor } from '../../autograd/index.ts';
import { throwsOneLine } from '../support/failure.ts';

const test = suite('tensor');

test('types of what it is made from', () => {
  assert.is(tf.tensor([1, 2]).dtype, 'f32');
  assert.is(tf.tensor([true, false]).dtype, 'bool');
  assert.is(tf.tensor(new Int32Array(2)).dtype, 'i32');
  assert.is(tf.tensor(new Uint32Array(2)).dtype, 'u32');
  assert.is(tf.tensor(new Float64Array(2)).dtype, 'f32');
  assert.is(tf.tensor(3).ndim, 0);
  assert.equal(tf.tensor([[1], [2]]).shape, [2, 1]);
  assert.equal(tf.tensor([[], []]).shape, [2, 0]);
  assert.throws(() => tf.tensor([[1], 2]), /unequal/);
  assert.throws(() => tf.tensor([1, null as never]), /null/);
});

test('every type reads back what was written', async () => {
  const values = [0, 1, 2, 3, 200];
  for (const dtype of ['f32', 'f16', 'i32', 'u32'] as const)
    assert.equal([...(await tf.tensor(values, { dtype }).data())], values);
  assert.equal(await tf.tensor([0, 2, -1], { dtype: 'bool' }).tolist(), [false, true, true]);
  assert.equal(
    await tf
      .tensor([
        [1, 2],
        [3, 4],
      ])
      .tolist(),
    [
      [1, 2],
      [3, 4],
    ],
  );
  assert.is(await tf.tensor(-7, { dtype: 'i32' }).item(), -7);
  // An f16 view that starts in the middle of a word.
  assert.equal([...(await tf.tensor(values, { dtype: 'f16' }).slice([1, 4]).data())], [1, 2, 3]);
  await tf
    .tensor([1, 2])
    .item()
    .then(
      () => assert.unreachable(),
      (error: Error) => assert.match(error.message, /item: .*\[2\].*tolist/),
    );
});

test('numbers that a type of whole numbers cannot hold are refused with their place', async () => {
  const refused = throwsOneLine;
  refused(() => tf.tensor([1, -1], { dtype: 'u32' }), /^tensor: -1 at \[1\] does not fit u32 \(0 to .*use 'i32'/);
  const rows = [[1, 2], [3, 2 ** 31]]; // prettier-ignore
  refused(() => tf.tensor(rows, { dtype: 'i32' }), /^tensor: 2147483648 at \[1, 1\] does not fit i32/);
  refused(() => tf.tensor(2 ** 32, { dtype: 'u32' }), /^tensor: 4294967296 at \[\] does not fit u32/);
  refused(() => tf.tensor([NaN], { dtype: 'i32' }), /^tensor: NaN at \[0\] does not fit i32/);
  refused(() => tf.tensor([-Infinity], { dtype: 'u32' }), /^tensor: -Infinity at \[0\] does not fit u32/);
  refused(() => tf.tensor([0, 1.5], { dtype: 'i32' }), /^tensor: 1.5 at \[1\] is not a whole number; round it first/);
  refused(() => tf.tensor(Int32Array.of(-1), { dtype: 'u32' }), /^tensor: -1 at \[0\] does not fit u32/);
  refused(() => tf.tensor(Float32Array.of(0.5), { dtype: 'i32' }), /^tensor: 0.5 at \[0\] is not a whole number/);
  refused(() => tf.tensor(Uint32Array.of(2 ** 31), { dtype: 'i32' }), /^tensor: 2147483648 at \[0\] does not fit i32/);
  refused(() => tf.arange(2 ** 31 - 1, 2 ** 31 + 1, 1, { dtype: 'i32' }), /^arange: 2147483648 at \[1\]/);
  refused(() => tf.full([2], 2 ** 31, { dtype: 'i32' }), /^full: 2147483648 does not fit i32/);
  refused(() => tf.full([2], NaN, { dtype: 'u32' }), /^full: NaN does not fit u32/);
  const x = tf.ones([2], { dtype: 'i32' });
  refused(() => x.maskedFill(tf.tensor([true, false]), 2 ** 31), /^maskedFill: 2147483648 does not fit i32/);
  refused(() => tf.pad(x, [[1, 1]], Infinity), /^pad: Infinity does not fit i32/);
  // The ends of the ranges, and what PyTorch truncates.
  assert.equal(await tf.tensor([-(2 ** 31), 2 ** 31 - 1], { dtype: 'i32' }).tolist(), [-(2 ** 31), 2 ** 31 - 1]);
  assert.equal(await tf.tensor([0, 2 ** 32 - 1], { dtype: 'u32' }).tolist(), [0, 2 ** 32 - 1]);
  assert.equal(await tf.tensor(Uint8Array.of(255), { dtype: 'u32' }).tolist(), [255]);
  assert.equal(await tf.full([2], -1.5, { dtype: 'i32' }).tolist(), [-1, -1]);
  assert.equal(await tf.pad(x, [[1, 0]], 1.5).tolist(), [1, 1, 1]);
  assert.equal(await tf.linspace(0, 10, 4, { dtype: 'i32' }).tolist(), [0, 3, 6, 10]);
  assert.equal(await tf.full([1], false as never, { dtype: 'bool' }).tolist(), [false]);
});

test('axes 0 and -1 of a scalar, as in PyTorch', async () => {
  const [x, zero] = [tf.tensor(5), tf.tensor(0, { dtype: 'i32' })];
  for (const axis of [0, -1]) {
    const found = {
      5: [tf.sum, tf.mean, tf.max, tf.min, tf.cumsum, tf.logsumexp, tf.flip, tf.squeeze].map((op) => op(x, axis)),
      1: [tf.softmax(x, axis), tf.normalize(x, { axis }), tf.cosineSimilarity(x, x, { axis })],
      0: [tf.logSoftmax(x, axis), tf.argmax(x, axis), tf.argmin(x, axis), tf.topk(x, 1, axis)[1]],
    };
    const more = [tf.indexSelect(x, axis, zero), tf.indexSelect(x, axis, zero.reshape(1)), tf.gather(x, axis, zero)];
    for (const [value, results] of Object.entries({ ...found, 5: [...found[5], ...more, tf.topk(x, 1, axis)[0]] }))
      for (const y of results) {
        assert.equal(y.shape, []);
        assert.is(await y.item(), Number(value));
      }
    assert.equal(await tf.gather(x, axis, zero.expand([2])).tolist(), [5, 5]);
    assert.equal(await tf.unfold(x, axis, 1, 2).tolist(), [5]);
  }
  const leaf = tf.tensor(5, { requiresGrad: true });
  tf.softmax(leaf, 0).add(tf.logSoftmax(leaf, 0)).backward();
  assert.is(await leaf.grad!.item(), 0);
  for (const op of [tf.softmax, tf.logSoftmax, tf.sum, tf.argmax, tf.cumsum, tf.flatten])
    throwsOneLine(() => op(x, 1), /axis 1 is out of range for a scalar, which has no axes; use 0 or -1/);
  throwsOneLine(() => tf.topk(x, 1, 1), /^topk: axis 1 is out of range for a scalar/);
  throwsOneLine(() => tf.indexSelect(x, 0, zero.expand([2])), /^indexSelect: a scalar \[\] gives one entry, got 2/);
});

test('the type that holds two', () => {
  const order: readonly Dtype[] = ['bool', 'u32', 'i32', 'f16', 'f32'];
  order.forEach((a, i) => {
    order.forEach((b, j) => {
      const want = order[Math.max(i, j)]!;
      const sum = tf.ones([2], { dtype: a }).mul(tf.ones([2], { dtype: b }));
      assert.is(sum.dtype, want, `${a} * ${b}`);
    });
  });
  assert.is(tf.ones([1], { dtype: 'i32' }).add(1).dtype, 'i32');
  assert.is(tf.ones([1], { dtype: 'i32' }).add(0.5).dtype, 'f32');
  assert.is(tf.ones([1], { dtype: 'f16' }).add(0.5).dtype, 'f16');
  assert.is(tf.ones([1], { dtype: 'i32' }).div(2).dtype, 'f32');
  assert.is(tf.ones([1], { dtype: 'bool' }).sum().dtype, 'i32');
  assert.is(tf.ones([1], { dtype: 'i32' }).mean().dtype, 'f32');
  assert.is(tf.ones([1], { dtype: 'i32' }).exp().dtype, 'f32');
});

test('whole numbers are exact beyond 24 bits', async () => {
  const x = tf.tensor([2 ** 30 + 1, -(2 ** 30) - 1], { dtype: 'i32' });
  assert.equal([...(await x.add(1).data())], [2 ** 30 + 2, -(2 ** 30)]);
  assert.equal([...(await x.maximum(0).data())], [2 ** 30 + 1, 0]);
  assert.is(await x.sum().item(), 0);
  assert.equal([...(await x.eq(2 ** 30 + 1).data())], [1, 0]);
  // Bit patterns of float NaNs are numbers like any other.
  const large = tf.tensor([0x7fc00000, 5], { dtype: 'i32' });
  assert.equal([...(await large.maximum(tf.tensor([1, 9], { dtype: 'i32' })).data())], [0x7fc00000, 9]);
  assert.is(await large.max().item(), 0x7fc00000);
});

test('views share storage', async () => {
  const x = tf.zeros([3, 4]);
  x.slice([1, 2], [0, 4, 2]).assign(tf.tensor([5, 6]));
  x.transpose()
    .slice(3)
    .assign(tf.tensor([7, 8, 9]));
  x.flip(0).slice(0, 1).addAssign(tf.tensor(1));
  assert.equal(await x.tolist(), [
    [0, 0, 0, 7],
    [5, 0, 6, 8],
    [0, 1, 0, 9],
  ]);
  assert.is(x.reshape([4, 3]).storage, x.storage);
  assert.is.not(x.transpose().reshape([12]).storage, x.storage); // strides cannot express it
});

test('all halves survive, and floats round to the nearest', () => {
  for (let bits = 0; bits < 65536; bits++) {
    const value = fromHalf(bits);
    const back = toHalf(value);
    const nan = (bits & 0x7c00) === 0x7c00 && (bits & 0x3ff) !== 0;
    if (nan ? !Number.isNaN(value) || !Number.isNaN(fromHalf(back)) : back !== bits)
      assert.unreachable(`half ${bits} gives ${value}, then ${back}`);
  }
  for (const [value, want] of [
    [65519, 65504],
    [65520, Infinity],
    [1 + 2 ** -11, 1],
    [1 + 3 * 2 ** -11, 1 + 2 ** -9],
    [2 ** -25, 0],
    [2 ** -25 * 1.001, 2 ** -24],
    [-1e30, -Infinity],
    [2 ** -14 - 2 ** -26, 2 ** -14],
  ] as const) {
    assert.is(fromHalf(toHalf(value)), want, `${value}`);
  }
});

test('halves on the device are the halves of the host', async () => {
  const bits = Array.from({ length: 65536 }, (_, i) => i).filter((i) => (i & 0x7c00) !== 0x7c00);
  const halves = bits.map(fromHalf);
  const got = await tf.tensor(halves, { dtype: 'f16' }).to('f32').data();
  // Drivers may flush subnormal numbers to zero.
  got.forEach((value, i) =>
    assert.ok(value === halves[i] || (Math.abs(halves[i]!) < 2 ** -14 && value === 0), `half ${bits[i]}: ${value}`),
  );
});

test('more workgroups than one dimension holds', async () => {
  const size = 5_000_003;
  const open = tf.scope();
  const x = tf.full([size], 1, { requiresGrad: true });
  const y = x.slice([1]).mul(2); // misaligned: one element a thread, 78,126 workgroups
  assert.is(await y.sum().item(), 2 * (size - 1)); // sums of ones and twos are exact
  const [g] = tf.grad(y.sum(), [x]);
  const read = await g!.data();
  assert.is(read[0], 0);
  assert.is(read[1], 2);
  assert.is(read[size - 1], 2);
  open[Symbol.dispose]();
});

test('sizes beyond 2^24, where f32 cannot count', async () => {
  const size = 2 ** 24 + 3;
  const open = tf.scope();
  const x = tf.zeros([size]);
  x.slice([size - 1]).assign(tf.tensor(1));
  assert.is(await x.argmax().item(), size - 1);
  const tail = await x
    .add(1)
    .slice([size - 2])
    .data();
  assert.equal([...tail], [1, 2]);
  assert.is(await x.to('i32').add(1).sum().item(), size + 1);
  open[Symbol.dispose]();
});

test('scatter-add gives the same bits on every run', async () => {
  const count = 5000;
  const values = Float32Array.from({ length: count * 3 }, (_, i) => Math.sin(i * 12.9898) * 43758.5453);
  const index = Int32Array.from({ length: count }, (_, i) => (i * 7919) % 13);
  const run = async (): Promise<number[]> => {
    const table = tf.zeros([13, 3], { requiresGrad: true });
    const picked = tf.embedding(table, tf.tensor(index));
    const [g] = tf.grad(picked, [table], { gradOutputs: [tf.tensor(values, { shape: [count, 3] })] });
    return [...(await g!.data())];
  };
  const first = await run();
  assert.equal(await run(), first);
  const want = new Float64Array(39);
  values.forEach((value, i) => (want[index[Math.floor(i / 3)]! * 3 + (i % 3)]! += value));
  first.forEach((value, i) =>
    assert.ok(Math.abs(value - want[i]!) <= 1e-4 * 43758 * 20, `element ${i}: ${value}, want ${want[i]}`),
  );
});

test('an index out of range that only the device sees gives NaN', async () => {
  const table = tf.ones([3, 2]);
  const index = tf.tensor([0, 2], { dtype: 'i32' }).mul(2); // 0 and 4
  const rows = (await tf.embedding(table, index).data()) as Float32Array;
  assert.equal([...rows.subarray(0, 2)], [1, 1]);
  assert.ok(Number.isNaN(rows[2]) && Number.isNaN(rows[3]));
});

test('a view that leaves bad indices out is accepted', async () => {
  const labels = tf.tensor([-100, 0, 1], { dtype: 'i32' }).slice([1]);
  const picked: Tensor = tf.embedding(tf.tensor([[1], [2]]), labels);
  assert.equal([...(await picked.data())], [1, 2]);
});

test.run();
