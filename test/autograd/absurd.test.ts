// Sizes that no machine holds, and arguments that are none: one line each, before memory is touched.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as tf from '../../autograd/index.ts';

const test = suite('absurd arguments');

type Cases = readonly (readonly [what: string, run: () => unknown, says: RegExp])[];
const i32 = (...values: number[]): tf.Tensor => tf.tensor(values, { dtype: 'i32' });
const any = (value: unknown): never => value as never;

const sizes: Cases = [
  [
    'zeros of 4 PiB',
    () => tf.zeros([2 ** 25, 2 ** 25]),
    /^zeros: a tensor \[33554432, 33554432\] of f32 needs 4\.0 PiB, /,
  ],
  ['2^53 rows', () => tf.zeros([2 ** 53, 2 ** 53]), /^zeros: a tensor .* needs 2\.8e\+14 EiB, .* GiB; use a smaller/],
  ['a size beyond numbers', () => tf.full([1e300, 1e300, 0], 1), /^full: .* needs NaN/],
  ['ones of f16', () => tf.ones([2 ** 50], { dtype: 'f16' }), /^ones: .* of f16 needs 2\.0 PiB/],
  ['random numbers', () => tf.randn(2 ** 30, 2 ** 30), /^normal: .* needs 4\.0 EiB/],
  ['a range to infinity', () => tf.arange(Infinity), /^arange: .* must be finite numbers, .* got 0, Infinity and 1$/],
  ['a range by NaN', () => tf.arange(0, 5, NaN), /^arange: .* must be finite numbers/],
  [
    'a range of 1e12',
    () => tf.arange(1e12),
    /^arange: a tensor \[1000000000000\] of f32 needs 10\.9 TiB, this machine has /,
  ],
  ['a range by 1e-300', () => tf.arange(0, 1, 1e-300), /^arange: .* needs 1\.0e\+283 EiB/],
  ['linspace of 1e12', () => tf.linspace(0, 1, 1e12), /^linspace: .* needs 10\.9 TiB/],
  ['eye of 1e9', () => tf.eye(1e9), /^eye: .* needs 10\.4 EiB/],
  ['a product of broadcasting', () => tf.ones([2 ** 24, 1]).add(tf.ones([1, 2 ** 24])), /^add: .* needs 1\.0 PiB/],
  ['padding', () => tf.pad(tf.ones([2]), [[2 ** 45, 0]]), /^pad: .* needs 128\.0 TiB/],
  ['a view beyond whole numbers', () => tf.ones([1, 1]).expand(2 ** 40, 2 ** 40), /^expand: /],
];

const shapes: Cases = [
  ['a negative length', () => tf.zeros([-1]), /^zeros: a shape must be a list of whole numbers from 0, .* got \[-1\]$/],
  ['a fractional length', () => tf.rand(1.5), /^uniform: a shape must be .* got \[1\.5\]$/],
  ['a length of NaN', () => tf.full([NaN], 1), /^full: a shape must be .* got \[NaN\]$/],
  ['no shape', () => tf.zeros(any(undefined)), /^zeros: a shape must be .* got undefined$/],
  ['a shape of null', () => tf.zeros(any(null)), /^zeros: a shape must be .* got null$/],
  ['a missing length', () => tf.zeros([any(undefined)]), /^zeros: a shape must be .* got \[undefined\]$/],
  ['a negative eye', () => tf.eye(-1), /^eye: a shape must be .* got \[-1, -1\]$/],
  ['expand to a fraction', () => tf.ones([1]).expand(1.5), /^expand: \[1\] does not expand to \[1\.5\]/],
  ['negative repeats', () => tf.repeatInterleave(tf.ones([2]), -1), /^repeatInterleave: times .* from 0, got -1$/],
  ['an unknown dtype', () => tf.ones([2], { dtype: any('f99') }), /^ones: dtype must be .* got 'f99'$/],
  ['text as a value', () => tf.full([2], any('x')), /^full: the value must be a number, got "x"$/],
  ['64-bit integers', () => tf.tensor(any(new BigInt64Array(2))), /^tensor: .* got a BigInt64Array; convert it$/],
  ['a view without elements', () => tf.tensor(any(new DataView(new ArrayBuffer(8)))), /got a DataView/],
  ['uniform to NaN', () => tf.uniform([2], { low: NaN }), /^uniform: low and high must be finite/],
  [
    'a negative deviation',
    () => tf.normal([2], { std: -1 }),
    /^normal: mean must be finite and std from 0, got 0 and -1$/,
  ],
];

const indices: Cases = [
  ['a negative id', () => tf.embedding(tf.ones([3, 2]), i32(0, -1)), /^embedding: index -1 .* run from 0 to 2$/],
  ['an id of an empty table', () => tf.embedding(tf.ones([0, 2]), i32(0)), /for 0 entries; there is nothing to pick$/],
  ['a negative class', () => tf.oneHot(i32(-1), 3), /^oneHot: index -1 is out of range for 3 .* run from 0 to 2$/],
  ['a negative number of classes', () => tf.oneHot(i32(0), -1), /^oneHot: the number of classes .* from 0, got -1$/],
  ['half a class', () => tf.oneHot(i32(0), 1.5), /^oneHot: the number of classes .* got 1\.5$/],
  ['gather before the first', () => tf.gather(tf.ones([3]), 0, i32(-4)), /index -4 .* indices run from -3 to 2$/],
  ['an axis of a scalar', () => tf.tensor(5).sum(1), /^sum: axis 1 is out of range for a scalar, which has no axes;/],
  ['an axis of a vector', () => tf.ones([3]).sum(7), /^sum: axis 7 is out of range for 1 axis; use -1 to 0$/],
];

for (const [what, run, says] of [...sizes, ...shapes, ...indices]) {
  test(what, () => {
    assert.throws(run, (error: Error) => {
      assert.match(error.message, says);
      assert.is(error.constructor.name, 'ShapeError');
      return true;
    });
  });
}

const others: Cases = [
  ['a list for a tensor', () => tf.matmul(tf.ones([2, 2]), any([1, 2])), /^matmul: an input is a number and not a ten/],
  ["PyTorch's spelling", () => tf.klDiv(tf.ones([2]), tf.ones([2]), { reduction: any('batchmean') }), /or 'batchMean'/],
  ['a number for a tensor', () => tf.relu(any(3)), /^relu: an input is a number .*; make it one with tensor\(\)$/],
  ['a promise for a tensor', () => tf.relu(any(Promise.resolve(1))), /^relu: an input is a promise .*; await it$/],
  ['nothing for an operand', () => tf.ones([2]).add(any(undefined)), /^add: an operand is undefined$/],
  ['text for an operand', () => tf.ones([2]).mul(any('1')), /^mul: an input is a string and not a tensor/],
];

for (const [what, run, says] of others)
  test(what, () => {
    assert.throws(run, (error: Error) => says.test(error.message));
  });

const draws: Cases = [
  [
    'no weight to draw by',
    () => tf.multinomial(tf.tensor([0, 0, 0]), 1),
    /^multinomial: some weight must be above 0, /,
  ],
  ['an infinite weight', () => tf.multinomial(tf.tensor([1, Infinity]), 1), /all finite; the largest is Infinity$/],
];

for (const [what, run, says] of draws) test(what, () => assert.throws(run, says));

test('a scalar has the axis -1 as it has 0, and the device works after all that', async () => {
  assert.is(await tf.tensor(5).sum(-1).item(), 5);
  assert.equal(await tf.gather(tf.tensor([1, 2, 3]), 0, i32(-1)).tolist(), [3]);
  assert.equal(await tf.arange(2, 8, 2.5).tolist(), [2, 4.5, 7]);
  assert.equal(await tf.eye(2, 3).tolist(), [[1, 0, 0], [0, 1, 0]]); // prettier-ignore
});

test.run();
