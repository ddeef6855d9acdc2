import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { assign, crossEntropy, embedding, knownRange, tensor, zeros } from '../../autograd/index.ts';

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

test.run();
