// Near-duplicates planted at known overlap: how many are found, and how many of what is found are so.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DisjointSets, duplicateGroups, joinBand } from '../../train/data/duplicates/groups.ts';
import { NearDuplicates, RowStore } from '../../train/data/duplicates/near-duplicates.ts';
import { Random } from '../../common/random.ts';

const test = suite('near-duplicates');

const WORDS = 300;

function randomText(random: Random): string[] {
  const letters = 'abcdefghijklmnopqrstuvwxyz';
  return Array.from({ length: WORDS }, () => Array.from({ length: 3 }, () => letters[random.int(26)]).join(''));
}

/** `edits` words replaced at random places. */
function edited(text: readonly string[], edits: number, random: Random): string[] {
  const copy = [...text];
  for (const place of random.permutation(WORDS).slice(0, edits)) copy[place] = `q${copy[place]}`;
  return copy;
}

/** Overlap of the sets of three-word runs, as strings: independent of the code under test. */
function overlap(a: readonly string[], b: readonly string[]): number {
  const runs = (words: readonly string[]) => new Set(words.slice(2).map((_, i) => words.slice(i, i + 3).join(' ')));
  const [x, y] = [runs(a), runs(b)];
  const shared = [...x].filter((run) => y.has(run)).length;
  return shared / (x.size + y.size - shared);
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b) / values.length;

/** Of the standard normal distribution, by Simpson's rule. */
function normalCdf(z: number): number {
  const end = Math.max(-8, Math.min(8, z));
  const steps = 400;
  const density = (x: number): number => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
  const h = (end + 8) / steps;
  let sum = 0;
  for (let i = 0; i <= steps; i++) sum += density(-8 + i * h) * (i === 0 || i === steps ? 1 : i % 2 ? 4 : 2);
  return (sum * h) / 3;
}

interface Planted {
  readonly texts: readonly string[];
  /** Of text 2i and 2i + 1. */
  readonly overlaps: readonly number[];
}

function plant(pairs: number, edits: readonly number[], seed: number): Planted {
  const random = new Random(seed);
  const texts: string[] = [];
  const overlaps: number[] = [];
  for (let i = 0; i < pairs; i++) {
    const base = randomText(random);
    const copy = edited(base, edits[i % edits.length]!, random);
    texts.push(base.join(' '), copy.join(' '));
    overlaps.push(overlap(base, copy));
  }
  return { texts, overlaps };
}

function streamed(texts: readonly string[]): NearDuplicates {
  const index = new NearDuplicates();
  for (const text of texts) index.add(text);
  return index;
}

/** Which planted pairs are in one group; every group must be of one planted pair. */
function foundPairs(groups: Int32Array): boolean[] {
  groups.forEach((group, i) => assert.is(Math.floor(group / 2), Math.floor(i / 2), 'unrelated texts were joined'));
  return Array.from({ length: groups.length / 2 }, (_, i) => groups[2 * i] === groups[2 * i + 1]);
}

test('recall and precision on 1200 planted pairs at 12 rates of edits', () => {
  const edits = [0, 1, 2, 4, 6, 8, 10, 12, 16, 24, 40, 80];
  const { texts, overlaps } = plant(1200, edits, 11);
  const index = streamed(texts);
  const ways = { streamed: foundPairs(index.groups(0.8)), exact: foundPairs(duplicateGroups(texts)) };
  const share = (found: readonly boolean[], test: (overlap: number) => boolean): number => {
    const chosen = found.filter((_, i) => test(overlaps[i]!));
    assert.ok(chosen.length >= 80);
    return chosen.filter(Boolean).length / chosen.length;
  };
  const precision = (found: readonly boolean[], least: number): number => {
    const pairs = overlaps.filter((_, i) => found[i]);
    return pairs.filter((value) => value >= least).length / pairs.length;
  };
  // Verified exactly: what is below the threshold is never found, above it all but what no band shows (1 in
  // 3000 at 0.8).
  assert.is(precision(ways.exact, 0.8), 1);
  assert.ok(share(ways.exact, (value) => value >= 0.8) >= 0.998);
  // Estimated with a standard error of sqrt(J (1 - J) / 128): what is near the threshold falls on either side
  // as often as the normal distribution says.
  const sure = (value: number): number => normalCdf((value - 0.8) / Math.sqrt((value * (1 - value)) / 128 || 1e-9));
  const expectedRecall = mean(overlaps.filter((value) => value >= 0.8).map(sure));
  const expectedWrong = overlaps.filter((value) => value < 0.8).reduce((sum, value) => sum + sure(value), 0);
  const wrong = overlaps.filter((value, i) => value < 0.8 && ways.streamed[i]).length;
  const recall = share(ways.streamed, (value) => value >= 0.8);
  assert.ok(recall >= expectedRecall - 0.02, `recall ${recall}, want ${expectedRecall}`);
  assert.ok(wrong <= expectedWrong + 10, `${wrong} of too little overlap, want ${expectedWrong}`);
  assert.ok(share(ways.streamed, (value) => value >= 0.9) >= 0.998);
  assert.ok(share(ways.streamed, (value) => value < 0.7) <= 0.005);
  if (process.env['SHOW_RECALL']) {
    for (const edit of edits) {
      const rows = overlaps.flatMap((value, i) => (i % edits.length === edits.indexOf(edit) ? [{ value, i }] : []));
      const rate = (found: readonly boolean[]): string =>
        (rows.filter(({ i }) => found[i]).length / rows.length).toFixed(2);
      console.log(
        `${edit} edits  Jaccard ${mean(rows.map(({ value }) => value)).toFixed(3)}  exact ${rate(ways.exact)}  ` +
          `streamed ${rate(ways.streamed)}`,
      );
    }
    for (const [name, found] of Object.entries(ways))
      console.log(
        name,
        'recall',
        share(found, (value) => value >= 0.8).toFixed(4),
        'precision',
        precision(found, 0.8).toFixed(4),
      );
  }
});

test('estimated overlaps are unbiased within their standard error, for long, short and tiny texts', () => {
  for (const take of [300, 40, 5]) {
    const random = new Random(5, take);
    let variance = 0;
    const errors = Array.from({ length: 400 }, (_, i) => {
      const base = randomText(random).slice(0, take);
      const copy = base.map((word, k) =>
        k === 1 + (i % (take - 1)) || (take > 100 && k % 40 === 7) ? `q${word}` : word,
      );
      const exact = overlap(base, copy);
      variance += (exact * (1 - exact)) / 128 / 400;
      return streamed([base.join(' '), copy.join(' ')]).similarity(0, 1) - exact;
    });
    const bias = mean(errors);
    // Of five words there are three runs: one more or less that is taken for equal weighs much.
    const most = take === 5 ? 0.05 : 1.05 * Math.sqrt(variance);
    const deviation = Math.sqrt(errors.reduce((sum, error) => sum + error * error, 0) / errors.length);
    assert.ok(Math.abs(bias) <= 0.006, `bias ${bias} at ${take} words`);
    assert.ok(deviation <= most, `standard error ${deviation} at ${take} words`);
  }
  const same = streamed(['some words that are the same', 'Some words that are THE same!']);
  assert.is(same.similarity(0, 1), 1);
});

test('exact duplicates differ in case and white space alone', () => {
  const index = streamed(['One two three', 'other', 'one  two\nthree', 'one two three.', 'OTHER ']);
  assert.equal([...index.exactGroups()], [0, 1, 0, 3, 1]);
  assert.equal([...index.groups(0.8)], [0, 1, 0, 0, 1]);
  assert.is(index.key(0), index.key(2));
  assert.ok(Number.isSafeInteger(index.key(0)));
  assert.throws(() => index.groups(0), 'threshold must be above 0 and at most 1, got 0');
  assert.equal([...new NearDuplicates().groups()], []);
});

test('a bucket of many that are not similar does not take quadratic time', () => {
  const sets = new DisjointSets(20_000);
  let compared = 0;
  joinBand(
    sets,
    20_000,
    () => 7,
    () => {
      compared++;
      return false;
    },
  );
  assert.ok(compared < 20_000 * 256);
  assert.ok(sets.names().every((name, i) => name === i));
});

test('rows are kept over the ends of blocks', () => {
  const rows = new RowStore(3, (length) => new Uint32Array(length));
  for (let i = 0; i < 40_000; i++) rows.push().set([i, 2 * i, 3 * i]);
  for (const i of [0, 16_383, 16_384, 39_999]) {
    const start = rows.startOf(i);
    assert.equal([...rows.blockOf(i).subarray(start, start + 3)], [i, 2 * i, 3 * i]);
  }
});

test.run();
