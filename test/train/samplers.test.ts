import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { balancedWeights, resampledEpoch, stratifiedEpoch, weightedSampler } from '../../train/data/samplers.ts';
import { hashedSplit, positionSplit } from '../../train/data/split.ts';

const test = suite('samplers');

const labels = Array.from({ length: 1000 }, (_, i) => (i % 20 === 0 ? 2 : i % 4 === 0 ? 1 : 0)); // 750, 200, 50
const counted = (list: readonly number[]): number[] =>
  [0, 1, 2].map((label) => list.filter((i) => labels[i] === label).length);

test('weighted draws come as often as they weigh, and depend on seed and index alone', () => {
  const weights = [1, 0, 3, 6, 0];
  const sample = weightedSampler(weights, 3);
  const draws = Array.from({ length: 20_000 }, (_, i) => sample(i));
  weights.forEach((weight, i) => {
    const [share, want] = [draws.filter((draw) => draw === i).length / draws.length, weight / 10];
    // Four standard errors.
    assert.ok(
      Math.abs(share - want) <= 4 * Math.sqrt((want * (1 - want)) / draws.length),
      `${i}: ${share}, want ${want}`,
    );
  });
  assert.equal([7, 0, 19_999].map(sample), [draws[7], draws[0], draws[19_999]]);
  const other = weightedSampler(weights, 4);
  assert.ok(draws.slice(0, 100).some((draw, i) => draw !== other(i)));
  assert.is(weightedSampler([0, 0, 1e-300], 0)(5), 2);
  // Of 2^25 examples 24 bits would reach only every second.
  const many = weightedSampler(new Float64Array(1 << 25).fill(1), 0);
  assert.ok(Array.from({ length: 64 }, (_, i) => many(i)).some((draw) => draw % 2 === 1));
});

test('balanced weights draw every class equally often', () => {
  const sample = weightedSampler(balancedWeights(labels), 1);
  const counts = counted(Array.from({ length: 6000 }, (_, i) => sample(i)));
  for (const count of counts) assert.ok(Math.abs(count - 2000) <= 4 * Math.sqrt(6000 * (2 / 9)), `${counts.join()}`);
});

test('an epoch is over- or undersampled to equal classes', () => {
  const of = (kind: 'none' | 'over' | 'under', epoch = 0) => resampledEpoch(labels, kind, { seed: 5, epoch });
  assert.equal(
    [...of('none')].sort((a, b) => a - b),
    labels.map((_, i) => i),
  );
  assert.equal(counted(of('over')), [750, 750, 750]);
  assert.equal(counted(of('under')), [50, 50, 50]);
  const times = new Map<number, number>();
  for (const i of of('over')) times.set(i, (times.get(i) ?? 0) + 1);
  assert.is(times.size, 1000, 'every example is there');
  for (const [i, count] of times) {
    const want = [1, 3.75, 15][labels[i]!]!;
    assert.ok(count === Math.floor(want) || count === Math.ceil(want), `example ${i} comes ${count} times`);
  }
  assert.is(new Set(of('under')).size, 150, 'none twice');
  assert.equal(of('under'), of('under'));
  assert.not.equal(of('under'), of('under', 1));
  assert.ok(new Set([...of('under'), ...of('under', 1)]).size > 200, 'another epoch takes others');
});

test('every stretch of a stratified epoch has the classes in proportion', () => {
  const list = stratifiedEpoch(labels, { seed: 2, epoch: 0 });
  assert.equal(
    [...list].sort((a, b) => a - b),
    labels.map((_, i) => i),
  );
  for (let start = 0; start + 40 <= 1000; start += 7) {
    const counts = counted(list.slice(start, start + 40));
    [30, 8, 2].forEach((want, label) =>
      assert.ok(Math.abs(counts[label]! - want) <= 2, `${counts.join()} at ${start}`),
    );
  }
  assert.equal(stratifiedEpoch(labels, { seed: 2, epoch: 0 }), list);
  assert.not.equal(stratifiedEpoch(labels, { seed: 2, epoch: 1 }), list);
});

test('bad weights and empty sets are refused', () => {
  assert.throws(() => weightedSampler([1, -1], 0), 'weight 1 must be 0 or more and finite, got -1');
  assert.throws(() => weightedSampler([NaN], 0), 'weight 0 must be 0 or more');
  assert.throws(() => weightedSampler([0, 0], 0), 'the weights of 2 examples sum to 0');
  assert.throws(() => weightedSampler([], 0), 'the weights of 0 examples sum to 0');
  assert.throws(() => resampledEpoch([], 'over', { seed: 0, epoch: 0 }), 'there are no examples');
  assert.throws(() => stratifiedEpoch([], { seed: 0, epoch: 0 }), 'there are no examples');
});

test('a split by hash meets its shares and depends on key and seed alone', () => {
  const fractions = { train: 0.8, validation: 0.2, test: 0 };
  const parts = Array.from({ length: 5000 }, (_, key) => hashedSplit(key * 977, fractions, 1));
  const train = parts.filter((part) => part === 'train').length / 5000;
  assert.ok(Math.abs(train - 0.8) <= 4 * Math.sqrt(0.16 / 5000), `${train}`);
  assert.not.ok(parts.includes('test'));
  assert.is(hashedSplit(977, fractions, 1), parts[1]);
  assert.ok(parts.some((part, key) => part !== hashedSplit(key * 977, fractions, 2)));
});

test('a split by position cuts no character in two', () => {
  const halves = { train: 0.5, validation: 0.5, test: 0 };
  assert.equal(positionSplit('abcd', halves), { train: 'ab', validation: 'cd', test: '' });
  assert.equal(positionSplit('a\u{1F600}b', halves), { train: 'a', validation: '\u{1F600}b', test: '' });
  assert.equal(positionSplit('abcdefghij', { train: 0.5, validation: 0.2, test: 0.3 }), {
    train: 'abcde',
    validation: 'fg',
    test: 'hij',
  });
  assert.equal(positionSplit('', halves), { train: '', validation: '', test: '' });
});

test.run();
