import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  assign,
  compile,
  crossEntropy,
  embedding,
  gather,
  indexSelect,
  knownRange,
  oneHot,
  ones,
  scatterAdd,
  tensor,
  zeros,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';

const test = suite('knownRange');

test('of what the host made, and of views of it', () => {
  const x = tensor([
    [3, -1, 7],
    [0, 2, 5],
  ]);
  assert.equal(knownRange(x), [-1, 7]);
  assert.equal(knownRange(x.slice(1)), [0, 5]);
  assert.equal(knownRange(x.transpose().flip(0).slice([0, 2])), [-1, 7]);
  assert.equal(knownRange(x.slice([0, 1], [1, 2]).expand([4, 1])), [-1, -1]);
  assert.is(knownRange(tensor([])), undefined);
});

test('not of what the device made or changed', () => {
  const x = tensor([1, 2]);
  assert.is(knownRange(x.add(1)), undefined);
  assign(x, tensor([9, 9]));
  assert.is(knownRange(x), undefined);
});

test('a bad index is refused at the call where it is in the view, and only there', async () => {
  const labels = tensor([0, 1, 9, 2]);
  const logits = zeros([2, 3]);
  assert.throws(() => crossEntropy(logits, labels.slice([1, 3])), /label 9 is out of range for 3 classes/);
  assert.ok(Math.abs((await crossEntropy(logits, labels.slice([0, 2])).item()) - Math.log(3)) < 1e-6);
  assert.throws(() => embedding(zeros([5, 2]), labels), /index 9 is out of range for 5 entries/);
});

test('a bad index that only the device knows shows as NaN', async () => {
  const index = tensor([0, 4], { dtype: 'i32' }).add(1);
  const rows = await embedding(zeros([5, 2]), index).tolist();
  assert.equal(rows, [
    [0, 0],
    [NaN, NaN],
  ]);
});

/** Indices that only the device knows: -1, 0, 2 and 3. */
const hidden = (): Tensor => tensor([-2, -1, 1, 2], { dtype: 'i32' }).add(1);

test('a negative index counts from the end in no table of classes or words', async () => {
  const table = tensor([1, 2, 3], { requiresGrad: true });
  const look = (index: Tensor): Tensor => embedding(table.unsqueeze(1), index).flatten();
  assert.equal(await look(hidden()).tolist(), [NaN, 1, 3, NaN]);
  assert.equal(await compile(() => look(hidden()))().tolist(), [NaN, 1, 3, NaN]);
  look(hidden()).sum().backward();
  assert.equal(await table.grad!.tolist(), [1, 0, 1]);
  const rows = [
    [NaN, NaN, NaN],
    [1, 0, 0],
    [0, 0, 1],
    [NaN, NaN, NaN],
  ];
  assert.equal(await oneHot(hidden(), 3).tolist(), rows);
  const hot = compile((index: Tensor) => oneHot(index, 3));
  assert.equal(await hot(hidden()).tolist(), rows);
  assert.equal(await oneHot(tensor([2, 0]), 3).tolist(), [rows[2], rows[1]]);
  assert.throws(() => hot(tensor([-1, 0])), /oneHot: index -1 is out of range for 3 entries; indices run from 0 to 2/);
});

test('where negative indices count from the end, those before the first show as NaN', async () => {
  const index = hidden().sub(1); // -2, -1, 1, 2
  const x = tensor([5, 7]);
  assert.equal(await gather(x, 0, index).tolist(), [5, 7, 7, NaN]);
  assert.equal(await indexSelect(x, 0, index).tolist(), [5, 7, 7, NaN]);
  assert.equal(await scatterAdd(zeros([2]), 0, index.slice([0, 3]), ones([3])).tolist(), [1, 2]);
  // Added nowhere, the term would be lost without a word.
  assert.equal(await scatterAdd(zeros([2]), 0, index, ones([4])).tolist(), [NaN, NaN]);
  const columns = scatterAdd(zeros([2, 2]), 0, index.reshape(2, 2), ones([2, 2]));
  assert.equal(await columns.tolist(), [
    [1, NaN],
    [1, NaN],
  ]);
});

test.run();
