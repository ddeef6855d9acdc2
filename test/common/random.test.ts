import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { philox4x32, Random } from '../../common/random.ts';

const test = suite('random');

test('Philox 4x32-10 gives the known answers of Random123 (tests/kat_vectors)', () => {
  assert.equal(philox4x32([0, 0, 0, 0], [0, 0]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  const ones = 0xffffffff;
  assert.equal(philox4x32([ones, ones, ones, ones], [ones, ones]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
  assert.equal(
    philox4x32([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  );
});

test('nextU32 walks the counter: block number in words 0-1, stream in 2-3, seed as the key', () => {
  const random = new Random(2 ** 32 + 5, 7);
  const drawn = Array.from({ length: 8 }, () => random.nextU32());
  assert.equal(drawn, [...philox4x32([0, 0, 7, 0], [5, 1]), ...philox4x32([1, 0, 7, 0], [5, 1])]);
});

test('seeds and streams differ, equal ones agree', () => {
  const take = (seed: number, stream?: number): number[] => {
    const random = new Random(seed, stream);
    return Array.from({ length: 4 }, () => random.nextU32());
  };
  assert.equal(take(1), take(1, 0));
  assert.is.not(String(take(1)), String(take(2)));
  assert.is.not(String(take(1)), String(take(1, 1)));
});

test('uniform lies in [0, 1) on a 24-bit grid with the right mean and variance', () => {
  const random = new Random(3);
  const n = 20000;
  const values = Array.from({ length: n }, () => random.uniform());
  assert.ok(values.every((u) => u >= 0 && u < 1 && Math.fround(u) === u && Number.isInteger(u * 2 ** 24)));
  const mean = values.reduce((a, b) => a + b) / n;
  const variance = values.reduce((a, u) => a + (u - mean) ** 2, 0) / n;
  // Four standard errors of mean and variance of U(0,1).
  assert.ok(Math.abs(mean - 0.5) <= 4 * Math.sqrt(1 / 12 / n), `mean ${mean}`);
  assert.ok(Math.abs(variance - 1 / 12) <= 4 * Math.sqrt(1 / 180 / n), `variance ${variance}`);
});

test('normal has the moments of N(0, 1) and its pairs are uncorrelated', () => {
  const random = new Random(4);
  const n = 20000;
  const values = Array.from({ length: n }, () => random.normal());
  const moment = (k: number): number => values.reduce((a, z) => a + z ** k, 0) / n;
  assert.ok(Math.abs(moment(1)) <= 4 * Math.sqrt(1 / n), `mean ${moment(1)}`);
  assert.ok(Math.abs(moment(2) - 1) <= 4 * Math.sqrt(2 / n), `variance ${moment(2)}`);
  assert.ok(Math.abs(moment(4) - 3) <= 4 * Math.sqrt(96 / n), `fourth moment ${moment(4)}`);
  let product = 0;
  for (let i = 0; i < n; i += 2) product += values[i]! * values[i + 1]!;
  assert.ok(Math.abs(product / (n / 2)) <= 4 / Math.sqrt(n / 2), `covariance ${product / (n / 2)}`);
});

test('int covers [0, n) evenly, also where 2^32 is far from a multiple of n', () => {
  const random = new Random(5);
  const counts = new Array<number>(7).fill(0);
  for (let i = 0; i < 14000; i++) counts[random.int(7)]!++;
  const chi2 = counts.reduce((a, c) => a + (c - 2000) ** 2 / 2000, 0);
  assert.ok(chi2 < 22.46, `chi2 ${chi2}: above the 0.999 quantile for 6 degrees of freedom`);
  // With n = 3 * 2^30 a plain remainder would hit [0, 2^30) half of the time instead of a third.
  let low = 0;
  for (let i = 0; i < 9000; i++) if (random.int(3 * 2 ** 30) < 2 ** 30) low++;
  assert.ok(Math.abs(low - 3000) <= 4 * Math.sqrt(9000 * (1 / 3) * (2 / 3)), `low ${low}`);
  assert.is(random.int(1), 0);
  const word = random.int(2 ** 32);
  assert.ok(Number.isInteger(word) && word >= 0 && word < 2 ** 32);
});

test('shuffle is an unbiased permutation in place', () => {
  const random = new Random(6);
  const counts = new Map<string, number>();
  for (let i = 0; i < 6000; i++) {
    const items = ['a', 'b', 'c'];
    assert.is(random.shuffle(items), items);
    counts.set(items.join(''), (counts.get(items.join('')) ?? 0) + 1);
  }
  assert.is(counts.size, 6);
  const chi2 = [...counts.values()].reduce((a, c) => a + (c - 1000) ** 2 / 1000, 0);
  assert.ok(chi2 < 20.52, `chi2 ${chi2}: above the 0.999 quantile for 5 degrees of freedom`);
  const typed = random.shuffle(Int32Array.from({ length: 100 }, (_, i) => i));
  assert.equal(
    [...typed].sort((a, b) => a - b),
    Array.from({ length: 100 }, (_, i) => i),
  );
  assert.equal(random.shuffle([]), []);
});

test('a stored state goes on where it stopped, at any word of a block and in mid normal pair', () => {
  for (let skip = 0; skip < 9; skip++) {
    const random = new Random(8, 2);
    for (let i = 0; i < skip; i++) random.nextU32();
    random.normal();
    const copy = Random.fromState(JSON.parse(JSON.stringify(random.state())));
    for (let i = 0; i < 9; i++) assert.is(copy.normal(), random.normal());
    for (let i = 0; i < 9; i++) assert.is(copy.nextU32(), random.nextU32());
  }
});

test('bad seeds and ranges are refused by name', () => {
  assert.throws(() => new Random(-1), /seed must be an integer from 0 to 2\^53 - 1, got -1/);
  assert.throws(() => new Random(0.5), /seed .* got 0\.5/);
  assert.throws(() => new Random(NaN), /seed .* got NaN/);
  assert.throws(() => new Random(1, -3), /stream .* got -3/);
  assert.throws(() => new Random(1).int(0), /n must be an integer from 1 to 2\^32, got 0/);
  assert.throws(() => new Random(1).int(2.5), /got 2\.5/);
});

test.run();
