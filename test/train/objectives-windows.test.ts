import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { corpusOf } from '../../train/data/token-corpus.ts';
import {
  documentWindows,
  mixedRows,
  randomWindows,
  blockWindows,
  withSeparators,
  wrapRows,
} from '../../train/objectives/index.ts';
import type { Rows } from '../../train/objectives/index.ts';
import { permutation } from '../../train/objectives/random-order.ts';
import { batchOf } from '../../train/objectives/rows.ts';
import { checkShare, countingCorpus, refuses } from '../support/objectives.ts';

const test = suite('objectives: windows');

const all = (rows: Rows, pass = 0): number[][] =>
  Array.from({ length: rows.count }, (_, i) => Array.from(rows.row(pass * rows.count + i)));

const sorted = (values: Iterable<number>): number[] => [...values].sort((a, b) => a - b);
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

test('permutation: each number once, other streams other orders, every place equally likely', () => {
  for (const n of [1, 2, 3, 4, 5, 17, 1000]) {
    const order = permutation(n, 3, 8);
    assert.equal(sorted(range(0, n).map(order)), range(0, n), `n ${n}`);
  }
  const counts = range(0, 5).map(() => [0, 0, 0, 0, 0]);
  for (let stream = 0; stream < 4000; stream++) {
    const order = permutation(5, 1, stream);
    for (let i = 0; i < 5; i++) counts[i]![order(i)]!++;
  }
  for (const count of counts.flat()) checkShare(count, 4000, 1 / 5, 'a number at a place');
  const large = permutation(2 ** 47 + 5, 1, 0);
  const values = range(0, 2000).map(large);
  assert.is(new Set(values).size, 2000);
  checkShare(values.filter((value) => value < 2 ** 46).length, 2000, 0.5, 'values in the lower half');
});

test('random windows lie in the corpus, are pure, and begin anywhere', () => {
  const corpus = countingCorpus([70, 30]);
  const rows = randomWindows(corpus, { length: 10, seed: 4 });
  const begins = range(0, 3000).map((i) => {
    const row = Array.from(rows.row(i));
    assert.equal(row, range(row[0]!, row[0]! + 10));
    return row[0]! - 5;
  });
  assert.is(Math.min(...begins), 0);
  assert.is(Math.max(...begins), 90);
  checkShare(begins.filter((begin) => begin < 45).length, 3000, 45 / 91, 'beginnings in the first half');
  assert.equal(randomWindows(corpus, { length: 10, seed: 4 }).row(77), rows.row(77));
  assert.not.equal(randomWindows(corpus, { length: 10, seed: 5 }).row(77), rows.row(77));
  assert.is(rows.count, 10);
});

test('blocks: each token once a pass, passes in other orders and from other beginnings', () => {
  const rows = blockWindows(countingCorpus([60, 37]), { length: 8, seed: 2 });
  assert.is(rows.count, 12);
  const passes = range(0, 6).map((pass) => all(rows, pass));
  for (const pass of passes) {
    const tokens = sorted(pass.flat());
    assert.equal(tokens, range(tokens[0]!, tokens[0]! + 96), 'the windows lie side by side');
  }
  assert.is(new Set(passes.map(String)).size, 6);
  assert.equal(new Set(passes.map((pass) => Math.min(...pass.flat()))), new Set([5, 6]));
});

test('blocks that overlap by one predict each token but the first once', () => {
  const rows = blockWindows(countingCorpus([25]), { length: 9, overlap: 1, seed: 2 });
  const predicted = all(rows).flatMap((row) => row.slice(1));
  assert.equal(sorted(predicted), range(6, 30));
  const ordered = blockWindows(countingCorpus([30]), { length: 9, overlap: 1 });
  assert.equal(
    all(ordered).map((row) => [row[0], row.length]),
    [
      [5, 9],
      [13, 9],
      [21, 9],
      [29, 6],
    ],
  );
});

test('in order, nothing is left out, and the last batch is filled up with nothing', () => {
  const rows = blockWindows(countingCorpus([25]), { length: 4 });
  assert.equal(all(rows).flat(), range(5, 30));
  const batch = batchOf(rows, 5, 1);
  assert.equal(
    batch.map(({ ids }) => ids.length),
    [4, 1, 0, 0, 0],
  );
  assert.equal(batchOf(rows, 5, 3), batch, 'passes repeat');
});

test('separators stand at the end of each document, empty ones too, wherever a window begins', () => {
  const corpus = withSeparators(corpusOf([[5, 6], [], [7], [8, 9, 10]], 20), 1);
  const whole = [5, 6, 1, 1, 7, 1, 8, 9, 10, 1];
  assert.is(corpus.tokens, whole.length);
  for (let start = 0; start < whole.length; start++)
    for (let end = start; end <= whole.length; end++)
      assert.equal(Array.from(corpus.read(start, end)), whole.slice(start, end), `${start} to ${end}`);
  assert.equal(Array.from(corpus.offsets), [0, 3, 4, 6, 10]);
  refuses(() => withSeparators(corpus, 20), /id 20 is outside of the vocabulary, 0 to 19/);
});

test('windows within documents: equal pieces, none of two documents, each token once', () => {
  const lengths = [21, 3, 0, 40, 1];
  const rows = documentWindows(countingCorpus(lengths), { length: 10 });
  const pieces = all(rows);
  assert.equal(pieces.flat(), range(5, 70));
  assert.equal(
    pieces.map(({ length }) => length),
    [7, 7, 7, 3, 10, 10, 10, 10, 1],
  );
  const shuffled = documentWindows(countingCorpus(lengths), { length: 10, seed: 1 });
  assert.equal(
    sorted(all(shuffled).map(([first]) => first!)),
    pieces.map(([first]) => first!),
  );
  assert.not.equal(all(shuffled), pieces);
  assert.not.equal(all(shuffled, 1), all(shuffled));
  const wrapped = wrapRows(rows, { before: [2], after: [3] });
  assert.is(wrapped.length, 12);
  assert.equal(Array.from(wrapped.row(3)), [2, 26, 27, 28, 3]);
});

test('a mix has its shares exactly in each thousand rows, and each source in its order', () => {
  const source = (first: number): Rows => ({
    count: 50,
    length: 2,
    full: true,
    ordered: false,
    vocabSize: 10,
    row: (index) => Int32Array.of(first, index),
  });
  const mix = mixedRows(
    [
      { rows: source(1), weight: 2 },
      { rows: source(2), weight: 1 },
      { rows: source(3), weight: 0.1 },
    ],
    { seed: 5 },
  );
  const rows = range(0, 3000).map((i) => Array.from(mix.row(i)));
  for (const [name, share] of [
    [1, 645],
    [2, 323],
    [3, 32],
  ] as const) {
    const own = rows.filter(([first]) => first === name).map(([, index]) => index!);
    assert.equal(own, range(0, 3 * share), `rows of source ${name}`);
    for (let cycle = 0; cycle < 3; cycle++)
      assert.is(rows.slice(cycle * 1000, cycle * 1000 + 1000).filter(([first]) => first === name).length, share);
  }
  assert.is(mix.count, Math.ceil(50_000 / 645));
  assert.equal(Array.from(mix.row(2345)), rows[2345], 'asked for out of order');
  assert.equal(Array.from(mix.row(17)), rows[17]);
  assert.is.not(
    String(rows.slice(0, 100).map(([first]) => first)),
    String(rows.slice(1000, 1100).map(([first]) => first)),
  );
});

test('bad input is refused in one line', () => {
  const corpus = countingCorpus([5, 6]);
  refuses(() => randomWindows(corpus, { length: 12, seed: 1 }), /11 tokens.*12 are needed.*smaller length/);
  refuses(() => blockWindows(corpus, { length: 12, seed: 1 }), /11 tokens.*12 are needed/);
  refuses(() => blockWindows(corpusOf([], 9), { length: 4 }), /0 tokens/);
  refuses(() => blockWindows(corpus, { length: 4, overlap: 4 }), /overlap.*4/);
  refuses(() => blockWindows(corpus, { length: 1.5 }), /length.*1.5/);
  refuses(() => documentWindows(corpusOf([[], []], 9), { length: 4 }), /0 tokens/);
  const rows = blockWindows(corpus, { length: 4, seed: 1 });
  refuses(() => mixedRows([], { seed: 1 }), /no sources/);
  refuses(() => mixedRows([{ rows, weight: 0 }], { seed: 1 }), /weights.*0/);
  refuses(
    () =>
      mixedRows(
        [
          { rows, weight: 1 },
          { rows, weight: 1e6 },
        ],
        { seed: 1 },
      ),
    /less than one row in 1000/,
  );
  refuses(
    () =>
      mixedRows(
        [
          { rows, weight: 1 },
          { rows: blockWindows(corpus, { length: 5, seed: 1 }), weight: 1 },
        ],
        { seed: 1 },
      ),
    /5 tokens.*4 of/,
  );
  refuses(() => mixedRows([{ rows: blockWindows(corpus, { length: 4 }), weight: 1 }], { seed: 1 }), /seed/);
  refuses(() => batchOf(rows, 0, 0), /batchSize.*0/);
  refuses(() => batchOf(rows, 2, -1), /-1/);
  refuses(() => permutation(0, 1, 1), /got 0/);
  refuses(() => permutation(5, 1, 1)(5), /0 to 4, got 5/);
});

test.run();
