import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { failure } from '../support/failure.ts';
import { evaluationBatches } from '../../models/pipelines/rows.ts';
import { batches, epochBatches } from '../../train/data/batches.ts';
import { duplicateGroups } from '../../train/data/duplicates/groups.ts';
import { normalizedWords } from '../../train/data/duplicates/signature.ts';
import { readTable, readTexts, sortLabels, streamTable } from '../../train/data/read-table.ts';
import type { TableOptions } from '../../train/data/read-table.ts';
import { stratifiedSplit } from '../../train/data/split.ts';
import { Random } from '../../common/random.ts';

const test = suite('train/data');

const folder = mkdtempSync(join(tmpdir(), 'data-'));
test.after(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** The message must be `PATH` + `rest`, on one line. */
async function rejects(promise: Promise<unknown>, path: string, rest: string): Promise<void> {
  try {
    await promise;
  } catch (error) {
    assert.is((error as Error).message, `${path}${rest}`);
    return;
  }
  assert.unreachable(`accepted, want: ${rest}`);
}

test('JSONL, CSV and TSV give the same examples', async () => {
  const expected = {
    examples: [
      { text: 'hello, "world"', label: 1 },
      { text: 'h\u00e9llo \u4f60\u597d', label: 0 },
      { text: '', label: 1 },
    ],
    labels: ['ham', 'spam'],
  };
  const jsonl = file(
    'a.jsonl',
    '{"text":"hello, \\"world\\"","label":"spam","extra":1}\n\n{"label":"ham","text":"h\u00e9llo ' +
      '\u4f60\u597d"}\r\n{"text":"","label":"spam"}',
  );
  const csv = file('a.csv', '\uFEFFlabel,text\nspam,"hello, ""world"""\n\n ham ,h\u00e9llo \u4f60\u597d\nspam,\n');
  const tsv = file('a.tsv', 'text\tlabel\r\nhello, "world"\tspam\r\nh\u00e9llo \u4f60\u597d\tham\r\n\tspam\r\n');
  for (const path of [jsonl, csv, tsv]) assert.equal(await readTable(path), expected);
});

test('columns are chosen by name, pairs have a second text, headers may be given', async () => {
  const options: TableOptions = { textColumn: 'premise', textPairColumn: 'hypothesis', labelColumn: 'gold' };
  const path = file('pairs.csv', 'id,premise,hypothesis,gold\n1,a,b,yes\n2,c,"d\ne",no\n');
  assert.equal(await readTable(path, options), {
    examples: [
      { text: 'a', textPair: 'b', label: 1 },
      { text: 'c', textPair: 'd\ne', label: 0 },
    ],
    labels: ['no', 'yes'],
  });
  const bare = file('bare.txt', '3,a title,a text\n1,b title,b text\n');
  const { examples, labels } = await readTable(bare, {
    format: 'csv',
    columns: ['label', 'title', 'body'],
    textColumn: 'body',
  });
  assert.equal(
    [examples, labels],
    [
      [
        { text: 'a text', label: 1 },
        { text: 'b text', label: 0 },
      ],
      ['1', '3'],
    ],
  );
  assert.equal(await readTexts(path, { textColumn: 'hypothesis' }), [{ text: 'b' }, { text: 'd\ne' }]);
});

test('integer labels sort by value, others by code unit, given labels keep their order', async () => {
  const path = file('ints.jsonl', [10, 9, -1, '10'].map((label) => JSON.stringify({ text: 't', label })).join('\n'));
  const { examples, labels } = await readTable(path);
  assert.equal(labels, ['-1', '9', '10']);
  assert.equal(
    examples.map(({ label }) => label),
    [2, 1, 0, 2],
  );
  assert.equal(sortLabels(['b', 'B', '10', '9']), ['10', '9', 'B', 'b']);
  const given = await readTable(path, { labels: ['10', '9', '8', '-1'] });
  assert.equal(given.labels, ['10', '9', '8', '-1']);
  assert.equal(
    given.examples.map(({ label }) => label),
    [0, 1, 3, 0],
  );
});

test('line numbers survive quoted line ends, blank lines and CR LF', async () => {
  const path = file('lines.csv', 'text,label\r\n"a\r\nb",x\r\n\r\n"c\r\n\r\nd",y\r\ne,z\r\n');
  const rows = [];
  for await (const row of streamTable(path)) rows.push([row.line, row.text, row.label]);
  assert.equal(rows, [
    [2, 'a\r\nb', 'x'],
    [5, 'c\r\n\r\nd', 'y'],
    [8, 'e', 'z'],
  ]);
});

test('lines may end in CR LF and LF in one file, and in CR alone', async () => {
  const files: readonly (readonly [name: string, content: string])[] = [
    ['joined.csv', 'text,label\r\na,x\nb,y\r\n"c\r\nd",z\n'],
    ['other-way.csv', 'text,label\na,x\r\nb,y\n"c\r\nd",z'],
    ['old.csv', 'text,label\ra,x\rb,y\r"c\r\nd",z\r'],
    ['joined.tsv', 'text\tlabel\r\na\tx\nb\ty\r\nc\tz\n'],
  ];
  for (const [name, content] of files) {
    const { examples, labels } = await readTable(file(name, content));
    assert.equal(
      examples.map(({ text, label }) => [text[0], labels[label]]),
      [
        ['a', 'x'],
        ['b', 'y'],
        ['c', 'z'],
      ],
      name,
    );
  }
  const kept = await readTable(file('return-inside.tsv', 'text\tlabel\na\rb\tx\nc\ty\n'));
  assert.is(kept.examples[0]!.text, 'a\rb');
});

test('more labels than a classifier can have are refused at the line', async () => {
  const rows = Array.from({ length: 200_000 }, (_, i) => `a text,label ${i}\n`);
  assert.match(
    await failure(readTable(file('labels.csv', `text,label\n${rows.join('')}`))),
    /labels\.csv:100002: there are more than 100000 different labels; is "label" the column of labels\? Name/,
  );
});

test('files larger than a block stream, characters and rows cut at block ends stay whole', async () => {
  const texts = Array.from({ length: 4000 }, (_, i) => `${'\u20ac'.repeat(i % 97)} row ${i}`);
  const jsonl = file('big.jsonl', texts.map((text, i) => JSON.stringify({ text, label: i % 2 })).join('\n'));
  const csv = file('big.csv', `text,label\n${texts.map((text, i) => `"${text}",${i % 2}`).join('\n')}`);
  for (const path of [jsonl, csv]) {
    const { examples } = await readTable(path);
    assert.equal(
      examples.map(({ text }) => text),
      texts,
    );
  }
  const long = file('long-line.jsonl', `{"text":"${'x'.repeat(300_000)}","label":"a"}\n{"text":"y","label":"b"}`);
  assert.equal(
    (await readTable(long)).examples.map(({ text }) => text.length),
    [300_000, 1],
  );
});

test('bad tables are refused with file, line and mend', async () => {
  const cases: [name: string, content: string | Uint8Array, rest: string, options?: TableOptions][] = [
    [
      '1.csv',
      'text,class\na,b\n',
      ':2: no column "label" among text, class; name the right one as labelColumn (--label-column)',
    ],
    [
      '2.csv',
      'body,label\na,b\n',
      ':2: no column "text" among body, label; name the right one as textColumn (--text-column)',
    ],
    [
      '3.jsonl',
      '{"text":"a","label":"b"}\n{"text":"a"}\n',
      ':2: no column "label" among text; name the right one as labelColumn (--label-column)',
    ],
    ['4.csv', '', ': no rows; a table needs at least one, under its header where it has one'],
    ['5.csv', 'text,label\n', ': no rows; a table needs at least one, under its header where it has one'],
    ['6.jsonl', '\n\n', ': no rows; a table needs at least one, under its header where it has one'],
    ['7.jsonl', '{"text":"a","label":"b"}\n[1]\n', ':2: [1] is no object; JSONL has one object on each line'],
    ['8.csv', 'text,label\na,x\nb,x\n', ': all 2 rows have the label "x"; a classifier needs two classes'],
    ['9.csv', 'text,label\na,x\nb,q\n', ':3: unknown label "q"; the labels are x, y', { labels: ['x', 'y'] }],
    ['10.csv', 'text,label\na,b,c\n', ':2: 3 fields where 2 are expected; quote fields that hold a comma'],
    [
      '10m.csv',
      'text,label\r\na\nb,c\r\n',
      ':2: 1 fields where 2 are expected; ' +
        'quote fields that hold a comma or a line end (the file mixes CR LF and LF)',
    ],
    [
      '10e.csv',
      'text,label\na,x\nb,\x1b[2J\n',
      ':3: unknown label "\\u001b[2J"; the labels are x, \\x1b',
      { labels: ['x', '\x1b'] },
    ],
    ['11.tsv', 'text\tlabel\na\n', ':2: 1 fields where 2 are expected; a field may hold no tab'],
    ['12.csv', 'text,label\na,b\n"c,d\ne,f\n', ':3: a quote opens in this row and never closes'],
    [
      '13.csv',
      'text,label\na "b" c,d\n',
      ':2: a quote stands inside an unquoted field; quote the field and double its quotes',
    ],
    ['14.csv', 'text,label\n"a"b,c\n', ':2: text follows a closing quote; double the quotes inside a quoted field'],
    ['15.csv', 'text,text\na,b\n', ':1: two columns are named "text"'],
    ['16.csv', Buffer.from('text,label\na,x\nb\xe9,y\n', 'latin1'), ':3: not UTF-8; convert the file first (iconv)'],
    ['17.jsonl', Buffer.from('{"text":"\xe9","label":"a"}', 'latin1'), ':1: not UTF-8; convert the file first (iconv)'],
    ['18.jsonl', '{"text":7,"label":"a"}', ':1: "text" is 7, not a string'],
    ['19.jsonl', '{"text":"a","label":0.5}', ':1: label 0.5 is neither a string nor an integer'],
    ['20.jsonl', '{"text":"a","label":null}', ':1: label null is neither a string nor an integer'],
    ['21.csv', 'text,label\na,\n', ':2: the label is empty'],
    ['22.txt', 'text,label\n', ': the ending tells no format; use .jsonl, .csv or .tsv, or give the format'],
  ];
  for (const [name, content, rest, options] of cases) {
    const path = file(name, content);
    await rejects(readTable(path, options), path, rest);
  }
  const broken = file('broken.jsonl', '{"text":"a","label":"b"}\n{"text": oops}\n');
  await readTable(broken).then(
    () => assert.unreachable(),
    (error: Error) =>
      assert.match(error.message, /broken\.jsonl:2: not JSON \(.+\); JSONL has one object on each line$/),
  );
  const lines = Array.from({ length: 5000 }, (_, i) => `{"text":"line ${i + 1} of a long file","label":"${i % 2}"}`);
  const late = file('late.jsonl', [...lines.slice(0, 4321), '{', ...lines.slice(4322)].join('\n'));
  await readTable(late).then(
    () => assert.unreachable(),
    (error: Error) => assert.match(error.message, /late\.jsonl:4322: not JSON/),
  );
  lines[4500] = '{"text":"\xe9","label":"0"}';
  const latin = file('latin.jsonl', Buffer.from(lines.join('\n'), 'latin1'));
  await rejects(readTable(latin), latin, ':4501: not UTF-8; convert the file first (iconv)');
  const missing = join(folder, 'missing.csv');
  await rejects(readTable(missing), missing, ': no such file');
  const directory = join(folder, 'folder.csv');
  mkdirSync(directory);
  await rejects(readTable(directory), directory, ': a folder, where a file is needed');
  const empty = file('empty.csv', 'text\n');
  await rejects(readTexts(empty), empty, ': no rows; a table needs at least one, under its header where it has one');
});

const paragraph = (seed: number, words: number): string[] => {
  const random = new Random(seed);
  return Array.from({ length: words }, () => `w${String.fromCharCode(97 + random.int(26), 97 + random.int(26))}`);
};

test('words are compared in lower case, numbers alike, without punctuation', () => {
  assert.equal(normalizedWords('Call NOW:  555-1234!'), ['call', 'now', '0', '0']);
  assert.equal(normalizedWords('\ufb01ne\u00a0\uff21\u00c9'), ['fine', 'a\u00e9']);
  assert.equal(normalizedWords(' ?! '), ['?!']);
});

test('duplicates are found whatever the case, digits and spacing; short texts and symbols stay apart', () => {
  const texts = ['Buy 100 now!', 'other text here', 'buy  200\nNOW', 'Other text, here.', '!!!', '???', '!!!', '', ' '];
  assert.equal([...duplicateGroups(texts)], [0, 1, 0, 1, 4, 5, 4, 7, 7]);
  assert.equal([...duplicateGroups([])], []);
});

test('near-duplicates join above the threshold and stay apart below it, through chains too', () => {
  const base = paragraph(1, 200);
  // Each replaced word breaks three shingles: 4 far-apart words leave 186 of 210 in common (0.89), 20 leave
  // 138 of 258 (0.53).
  const change = (count: number, mark: string): string =>
    base
      .map((word, i) => (i % Math.floor(200 / count) === 5 ? `${mark}${String.fromCharCode(97 + (i % 26))}` : word))
      .join(' ');
  const texts = [
    base.join(' '),
    paragraph(2, 200).join(' '),
    change(4, 'x'),
    change(20, 'y'),
    paragraph(2, 190).join(' '),
  ];
  assert.equal([...duplicateGroups(texts)], [0, 1, 0, 3, 1]);
  assert.equal([...duplicateGroups(texts, { threshold: 0.95 })], [0, 1, 2, 3, 4], 'both overlap by less than 0.95');
  assert.equal([...duplicateGroups(texts, { threshold: 0.5 })], [0, 1, 0, 0, 1]);
  assert.equal([...duplicateGroups(['one two three four', 'one two three five', 'Four three two one'])], [0, 1, 2]);
  assert.throws(() => duplicateGroups(texts, { threshold: 0 }), 'threshold must be above 0 and at most 1, got 0');
});

test('a thousand copies do not take quadratic time', () => {
  const copies = Array.from({ length: 3000 }, (_, i) => `${paragraph(3, 60).join(' ')} ${i}`);
  const start = performance.now();
  const groups = duplicateGroups(copies);
  assert.ok(groups.every((group) => group === 0));
  assert.ok(performance.now() - start < 10_000);
});

test('a split has each class in proportion, covers every example once and depends on the seed', () => {
  const labels = Array.from({ length: 1000 }, (_, i) => (i % 10 === 0 ? 1 : 0));
  const fractions = { train: 0.7, validation: 0.1, test: 0.2 };
  const split = stratifiedSplit(labels, { fractions, seed: 5 });
  assert.equal(
    [...split.train, ...split.validation, ...split.test].sort((a, b) => a - b),
    labels.map((_, i) => i),
  );
  for (const name of ['train', 'validation', 'test'] as const) {
    const ones = split[name].filter((i) => labels[i] === 1).length;
    assert.is(ones, Math.round(100 * fractions[name]), `${name} has ${ones} of class 1`);
    assert.is(split[name].length, Math.round(1000 * fractions[name]));
  }
  assert.equal(stratifiedSplit(labels, { fractions, seed: 5 }), split);
  assert.not.equal(stratifiedSplit(labels, { fractions, seed: 6 }), split);
});

test('a group goes to one split as a whole', () => {
  const random = new Random(9);
  const groups = Array.from({ length: 600 }, () => random.int(150));
  const labels = groups.map((group) => group % 3);
  const split = stratifiedSplit(labels, { seed: 1, groups });
  const where = new Map<number, string>();
  for (const name of ['train', 'validation', 'test'] as const) {
    assert.ok(split[name].length > 0);
    for (const i of split[name]) {
      assert.is(where.get(groups[i]!) ?? name, name, `group ${groups[i]} is torn`);
      where.set(groups[i]!, name);
    }
  }
  assert.ok(Math.abs(split.train.length - 480) <= 20, `train ${split.train.length}`);
});

test('bad splits are refused', () => {
  const half = { train: 0.5, validation: 0.25, test: 0.5 };
  assert.throws(
    () => stratifiedSplit([0, 1], { seed: 0, fractions: half }),
    'the shares must be 0 or more and sum to 1, got train 0.5, validation 0.25, test 0.5',
  );
  assert.throws(
    () => stratifiedSplit([0, 1], { seed: 0, fractions: { train: 1.5, validation: -0.5, test: 0 } }),
    'must be 0 or more',
  );
  assert.throws(
    () => stratifiedSplit([0, 1], { seed: 0, fractions: { train: NaN, validation: 1, test: 0 } }),
    'sum to 1',
  );
  assert.throws(
    () => stratifiedSplit([0, 1], { seed: 0 }),
    'stratifiedSplit: 2 examples leave the validation split empty; add examples or set its share to 0',
  );
  assert.throws(
    () => stratifiedSplit([0, 0, 1, 1], { seed: 0, groups: [5, 5, 7, 7] }),
    'stratifiedSplit: 4 examples in 2 groups, each kept together, leave the validation split empty;',
  );
  // Of a file: it is named, and there is no share to set.
  assert.throws(
    () => stratifiedSplit([0, 1], { seed: 0, data: 'mails.csv', fractions: { train: 0.9, validation: 0, test: 0.1 } }),
    'mails.csv: 2 examples leave the test split empty; add examples, or give others to test on with --test-data',
  );
  assert.throws(() => stratifiedSplit([0, 1], { seed: 0, groups: [0] }), '2 labels but 1 groups');
  assert.equal(stratifiedSplit([0, 1], { seed: 0, fractions: { train: 1, validation: 0, test: 0 } }).train, [0, 1]);
});

const lengths = Array.from({ length: 1003 }, (_, i) => 5 + ((i * 7919) % 120));
const padded = (list: readonly (readonly number[])[]): number =>
  list.reduce((sum, batch) => sum + batch.length * Math.max(...batch.map((i) => lengths[i]!)), 0);

test('an epoch holds every example once in full batches and one smaller', () => {
  const list = epochBatches(lengths, { batchSize: 16, seed: 1, epoch: 0 });
  assert.equal(
    list.flat().sort((a, b) => a - b),
    lengths.map((_, i) => i),
  );
  assert.is(list.length, 63);
  assert.equal(
    list.map((batch) => batch.length).filter((size) => size !== 16),
    [11],
  );
});

test('batches depend on seed and epoch, and are shuffled, yet hold texts of like length', () => {
  const of = (seed: number, epoch: number) => epochBatches(lengths, { batchSize: 16, seed, epoch });
  assert.equal(of(1, 0), of(1, 0));
  assert.not.equal(of(1, 0), of(1, 1));
  assert.not.equal(of(1, 0), of(2, 0));
  const shortest = of(1, 0).map((batch) => Math.min(...batch.map((i) => lengths[i]!)));
  const falls = shortest.filter((length, i) => i > 0 && length < shortest[i - 1]!).length;
  assert.ok(falls > 18 && falls < 44, `of 62 steps from batch to batch ${falls} go to shorter texts, want about half`);
  const total = lengths.reduce((a, b) => a + b);
  const random = new Random(1).permutation(lengths.length);
  const plain = Array.from({ length: 63 }, (_, i) => random.slice(i * 16, (i + 1) * 16));
  assert.ok(padded(of(1, 0)) < 1.12 * total, `${padded(of(1, 0)) / total} of the tokens with padding`);
  assert.ok(padded(plain) > 1.5 * total, 'unlike a plain shuffle');
});

test('a run goes on at any batch', () => {
  const options = { batchSize: 100, seed: 3, epochs: 3 };
  const all = [...batches(lengths, options)];
  assert.is(all.length, 33);
  assert.equal([all[0]!.epoch, all[0]!.index, all[32]!.epoch, all[32]!.index], [0, 0, 2, 10]);
  for (const from of [0, 1, 10, 11, 25, 32]) {
    const { epoch, index } = all[from]!;
    assert.equal([...batches(lengths, { ...options, start: { epoch, index } })], all.slice(from));
  }
  assert.equal(
    [...batches(lengths, { ...options, start: { epoch: 1, index: 11 } })],
    all.slice(22),
    'after a finished epoch',
  );
  assert.throws(
    () => [...batches(lengths, { ...options, start: { epoch: 0, index: 12 } })],
    'cannot start at batch 12 of an epoch of 11',
  );
});

test('small sets and evaluation', () => {
  assert.equal(epochBatches([3], { batchSize: 8, seed: 0, epoch: 0 }), [[0]]);
  assert.equal(evaluationBatches([5, 9, 7], 2), [[1, 2], [0]]);
  const seen = new Set(
    Array.from({ length: 20 }, (_, epoch) => epochBatches([1, 2, 3, 4], { batchSize: 2, seed: 0, epoch }).join(';')),
  );
  assert.ok(seen.size > 1, 'four examples are still shuffled');
  assert.throws(() => epochBatches([], { batchSize: 8, seed: 0, epoch: 0 }), 'there are no examples');
  assert.throws(() => evaluationBatches([1], 0), 'batchSize must be a positive integer, got 0');
});

test.run();
