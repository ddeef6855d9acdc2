import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BertTokenizer, pipeline } from '../../models/index.ts';
import { Random } from '../../common/random.ts';
import { entityDictionary } from '../../train/token-labels/baseline.ts';
import { iob2, loadTokenData, wordsOf } from '../../train/token-labels/data.ts';
import type { TaggedText } from '../../train/token-labels/data.ts';
import { readTokenRows } from '../../train/token-labels/read.ts';
import type { TokenColumns } from '../../train/token-labels/read.ts';
import { labelledRows } from '../../train/token-labels/rows.ts';
import { rejects } from '../support/failure.ts';
import { goldenFile } from '../support/golden.ts';
import { lossesIn, refused, runScript } from '../support/script.ts';

const test = suite('token labels');
const folder = mkdtempSync(join(tmpdir(), 'tapeform-tokens-'));
test.after(() => rmSync(folder, { recursive: true }));
const model = goldenFile('tiny-bert-qa');

const write = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};

/** Words as a text, each with its tag. */
const tagged = (words: readonly string[], tags: readonly string[] = words.map(() => 'O')): TaggedText => {
  let at = 0;
  const places = words.map((word) => ({ start: at, end: (at += word.length + 1) - 1 }));
  return { where: 'here', text: words.join(' '), words: places, tags };
};

test('ids, words and labels of nasty sentences are those of run_ner', async () => {
  const tokenizer = await BertTokenizer.fromPretrained(model);
  interface Case {
    readonly sentence: readonly string[];
    readonly maxLength: number;
    readonly ids: readonly number[];
    /** The word of each token. */
    readonly words: readonly number[];
    readonly labels: readonly number[];
  }
  const cases = JSON.parse(readFileSync(goldenFile('token-labels.json'), 'utf8')) as readonly Case[];
  for (const { sentence, maxLength, ids, words, labels } of cases) {
    const numbers = sentence.map((_, i) => String(i));
    const { rows, vanished } = labelledRows(tokenizer, [tagged(sentence, numbers)], numbers, { maxLength, stride: 0 });
    const [row] = rows;
    assert.equal([...row!.inputIds], ids);
    assert.equal([...row!.labels], labels);
    assert.equal(
      [...row!.words],
      words.map((word, i) => (labels[i] === -100 ? -1 : word)),
    );
    // No word is lost that run_ner cuts away.
    const labelled = rows.flatMap(({ words: own }) => [...own].filter((word) => word !== -1));
    assert.is(labelled.length + vanished, sentence.length);
    assert.is(new Set(labelled).size, labelled.length);
  }
});

test('of parts that share a word, the one where most stands around it has the label', async () => {
  const tokenizer = await BertTokenizer.fromPretrained(model);
  const words = Array.from('abcdefghijkl');
  const numbers = words.map((_, i) => String(i));
  const { rows } = labelledRows(tokenizer, [tagged(words, numbers)], numbers, { maxLength: 8, stride: 4 });
  // Parts of abcdef, cdefgh, efghij, ghijkl.
  assert.equal(
    rows.map(({ words: own }) =>
      [...own]
        .filter((word) => word !== -1)
        .map((word) => words[word])
        .join(''),
    ),
    ['abcd', 'ef', 'gh', 'ijkl'],
  );
});

test('words are those of the tokenizer, and give the same ids as the whole text', async () => {
  const tokenizer = await BertTokenizer.fromPretrained(model);
  for (const text of ['Press Ctrl+S, 北京 cafe\u0301.', 'a\u200bb \u200b c\u00a0d', '🔥🔥 x [MASK]y']) {
    const words = wordsOf(tokenizer, text);
    const { rows } = labelledRows(tokenizer, [{ text, words, tags: words.map(() => 'O') }], ['O'], {
      maxLength: 64,
      stride: 0,
    });
    assert.equal([...rows[0]!.inputIds], [...tokenizer.encodeToArrays(text).inputIds], text);
  }
});

const rowsOf = (name: string, text: string, columns?: TokenColumns) => readTokenRows(write(name, text), columns);

test('columns: sentences, documents, columns by number and name, comments', async () => {
  const text = '-DOCSTART- -X- O\n\nEU NNP B-ORG\r\nrejects VBZ O\r\n\n-DOCSTART- -X- O\n\n# # O\nOh UH O\n';
  const path = join(folder, 'a.conll');
  assert.equal(await rowsOf('a.conll', text), [
    { where: `${path}:3`, tokens: ['EU', 'rejects'], tags: ['B-ORG', 'O'], group: 'document 1' },
    { where: `${path}:8`, tokens: ['#', 'Oh'], tags: ['O', 'O'], group: 'document 2' },
  ]);
  const [sentence] = await rowsOf('a.conll', text, { tokenColumn: '2', tagColumn: '1' });
  assert.equal(sentence, { where: `${path}:3`, tokens: ['NNP', 'VBZ'], tags: ['EU', 'rejects'], group: 'document 1' });
  const named = 'TAG\tWORD\nB-X\ta b\n';
  assert.equal(await rowsOf('n.tsv', named, { tokenColumn: 'WORD', tagColumn: 'TAG' }), [
    { where: `${join(folder, 'n.tsv')}:2`, tokens: ['a b'], tags: ['B-X'] },
  ]);
  const universal = '# global.columns = ID FORM TAG\n# text = Oh no\n1 Oh B-X\n2 no O\n';
  assert.equal(await rowsOf('u.conllu', universal, { tokenColumn: 'FORM', tagColumn: 'TAG' }), [
    { where: `${join(folder, 'u.conllu')}:3`, tokens: ['Oh', 'no'], tags: ['B-X', 'O'] },
  ]);
});

test('broken columns are named by file and line', async () => {
  const bad = (text: string, pattern: RegExp, columns?: TokenColumns) =>
    rejects(rowsOf('b.txt', text, columns), pattern);
  await bad('a O\nb\n', /b\.txt:2: 1 columns, where the first row has 2; a blank line ends a sentence/);
  await bad('a\n', /b\.txt:1: word and tag are both column 1 of 1; see --token-column/);
  await bad('a O\n', /b\.txt:1: no column 3, it has 2; see --tag-column/, { tagColumn: '3' });
  await bad('W T\na O\n', /b\.txt:2: no column "NER" among W, T; see --tag-column/, {
    tokenColumn: 'W',
    tagColumn: 'NER',
  });
  await bad('\tO\n', /b\.txt:1: its word is empty/);
  await bad('\n\n', /b\.txt: no rows; give columns of words and tags/);
});

test('broken JSONL is named by file and line', async () => {
  const bad = (row: object, pattern: RegExp) => rejects(rowsOf('b.jsonl', `\n${JSON.stringify(row)}\n`), pattern);
  const spans = (...list: readonly (readonly [start: unknown, end: unknown, label?: unknown])[]) => ({
    text: 'the 🔥 fox',
    spans: list.map(([start, end, label = 'X']) => ({ start, end, label })),
  });
  await bad({ words: [] }, /b\.jsonl:2: neither "tokens" nor "text"/);
  await bad({ tokens: ['a', 'b'], tags: ['O'] }, /b\.jsonl:2: 2 tokens but 1 tags; each token has one/);
  await bad({ tokens: ['a'], tags: [3] }, /b\.jsonl:2: tags\[0\] is 3; tags are strings/);
  await bad({ tokens: ['a'] }, /b\.jsonl:2: its tags are undefined, not a list of strings/);
  await bad({ tokens: [], tags: [] }, /b\.jsonl:2: its tokens are empty; leave the row out/);
  await bad({ text: ' ', spans: [] }, /b\.jsonl:2: its text is empty; leave the row out/);
  await bad({ text: 'x' }, /b\.jsonl:2: its spans are undefined; a list of/);
  await bad(spans([0, 11]), /b\.jsonl:2: spans\[0\], "X" \[0, 11\), reaches beyond its text of 10 UTF-16 units/);
  await bad(spans([5, 6]), /spans\[0\], "X" \[5, 6\), cuts 🔥 in two at 5; offsets count UTF-16 units/);
  await bad(spans([3, 3]), /spans\[0\], "X" \[3, 3\), is empty/);
  await bad(spans([-1, 3]), /spans\[0\] has the start -1; a whole number of at least 0/);
  await bad(spans([0, 3, '']), /spans\[0\] is .* it needs "start", "end", and a "label"/);
  await bad(spans([4, 10, 'Y'], [0, 6]), /the spans "X" \[0, 6\) and "Y" \[4, 10\) overlap; .* keep one of them/);
});

/** A word of so many letters, another for each number. */
const nameOf = (i: number, letters: number): string => {
  const random = new Random(3, i);
  return Array.from({ length: letters }, () => 'bcdeghkmnp'[random.int(10)]!).join('');
};

/** Texts of few lengths and no near-duplicates, with a fox or a dog to find. */
const line = (i: number): string => {
  const animal = ['red fox', 'dog'][i % 2]!;
  const text = `${nameOf(i, 5)} saw the ${animal}, ${nameOf(i + 1000, 4)}${i % 2 === 0 ? '' : ' so'}!`;
  const start = text.indexOf(animal);
  return JSON.stringify({ text, spans: [{ start, end: start + animal.length, label: 'ANIMAL' }] });
};
const lines = (count: number): string => Array.from({ length: count }, (_, i) => line(i)).join('\n');

test('data: any scheme becomes IOB2 or stays, groups stay together, what cannot be learnt is refused', async () => {
  const tokenizer = await BertTokenizer.fromPretrained(model);
  const words = (i: number): string[] => Array.from({ length: 5 }, (_, k) => nameOf(5 * i + k, 4));
  const rows = (tags: readonly string[]): string =>
    Array.from({ length: 40 }, (_, i) =>
      words(i)
        .map((word, k) => `${word} ${tags[k]}`)
        .join('\n'),
    ).join('\n\n');
  const load = (tags: readonly string[], keepTags = false, testData?: string) =>
    loadTokenData(tokenizer, { data: write('t.txt', rows(tags)), testData, keepTags, seed: 1 });
  const expected = ['B-P', 'I-P', 'B-P', 'O', 'B-Q'];
  for (const tags of [
    ['I-P', 'I-P', 'B-P', 'O', 'I-Q'],
    ['B-P', 'E-P', 'S-P', 'O', 'S-Q'],
    ['B-P', 'L-P', 'U-P', 'O', 'U-Q'],
  ]) {
    const converted = await load(tags);
    assert.equal(converted.train[0]!.tags, expected);
    assert.equal(converted.labels, ['O', 'B-P', 'I-P', 'B-Q', 'I-Q']);
    const kept = await load(tags, true);
    assert.equal(kept.train[0]!.tags, tags);
    assert.is(kept.scheme, tags[1] === 'L-P' ? 'BILOU' : undefined);
  }
  await rejects(
    load(['NOUN', 'O', 'O', 'O', 'O']),
    /t\.txt:1: "NOUN" is no tag; a tag is O, or a label with B, I, E or S/,
  );
  await rejects(load(['O', 'O', 'O', 'O', 'O']), /t\.txt: no word has a label; there is nothing to learn/);
  const other = write('other.txt', 'x O\n\ny B-Z\n');
  await rejects(
    load(expected, false, other),
    /other\.txt:3: the tag "B-Z" is on no word of .*, whose tags are O, B-P, I-P/,
  );

  const near = (row: object): Promise<unknown> =>
    loadTokenData(tokenizer, {
      data: write('s.jsonl', `${lines(40)}\n${JSON.stringify(row)}`),
      keepTags: false,
      seed: 1,
    });
  const spans = (list: readonly (readonly [start: number, end: number])[]) =>
    list.map(([start, end]) => ({ start, end, label: 'ANIMAL' }));
  await rejects(
    near({
      text: 'foxdog',
      spans: spans([
        [0, 3],
        [3, 6],
      ]),
    }),
    /:41: two spans meet in the word "foxdog" at 0/,
  );
  await rejects(near({ text: 'a \u200b b', spans: spans([[1, 4]]) }), /:41: the span "ANIMAL" \[1, 4\) holds no word/);
  const { origin } = (await near({ text: 'oh foxdog', spans: spans([[3, 6]]) })) as { origin: readonly string[] };
  assert.match(origin.join('\n'), /1 spans begin or end inside of a word, and are taken with the whole word/);
});

test('the dictionary: the longest entry, its most frequent label; pruned, nothing that is mostly outside', () => {
  const texts = [
    tagged(['Save', 'As', 'saves'], ['B-UI', 'I-UI', 'O']),
    tagged(['Click', 'Save', 'or', 'press', 'Save'], ['O', 'B-UI', 'O', 'O', 'B-KEY']),
    tagged(['Save', 'Text', 'Text'], ['B-UI', 'O', 'B-UI']),
    tagged(['The', 'Text', 'and', 'Text', 'here'], ['O', 'O', 'O', 'O', 'O']),
  ];
  const [find, findPruned] = [entityDictionary(texts), entityDictionary(texts, { pruned: true })];
  // Save is UI twice and KEY once; Text is once UI and three times nothing.
  const text = tagged(['Save', 'Save', 'As', 'Text', 'As']);
  assert.equal(find(text), ['B-UI', 'B-UI', 'I-UI', 'B-UI', 'O']);
  assert.equal(findPruned(text), ['B-UI', 'B-UI', 'I-UI', 'O', 'O']);
  assert.equal(find(tagged(['save', 'AS'])), ['O', 'O']);
  assert.equal(iob2(4, [{ type: 'A', start: 1, end: 3 }]), ['O', 'B-A', 'I-A', 'O']);
});

test('finetune-tokens learns, goes on bit for bit after Ctrl-C, labels texts', async () => {
  const args = ['train/finetune-tokens.ts', '--data', write('animals.jsonl', lines(60)), '--model', model];
  args.push(...'--max-length 32 --stride 4 --epochs 4 --learning-rate 0.02 --save-every 3 --batch-size 8'.split(' '));
  const whole = join(folder, 'whole');
  const done = await runScript([...args, '--output', whole]);
  assert.is(done.code, 0, done.stderr);
  assert.match(done.stdout, /^this model( +[01]\.\d{3}){3}$/m);
  assert.match(done.stdout, /^a dictionary of the entities trained on( +[01]\.\d{3}){3}$/m);
  const report = readFileSync(join(whole, 'report.html'), 'utf8');
  assert.match(report, /<h2>Test<\/h2>[^]*>this model<[^]*<h2>Samples<\/h2>/);
  const losses = lossesIn(whole);
  assert.ok(losses.at(-1)! < 0.3 * losses[0]!, `${losses[0]} -> ${losses.at(-1)}`);

  const stoppedIn = join(folder, 'stopped');
  let sent = false;
  const stopped = await runScript([...args, '--output', stoppedIn], {
    onStderr: (text, interrupt) => {
      if (sent || !/step \d+\//.test(text)) return;
      sent = true;
      interrupt();
    },
  });
  assert.is(stopped.code, 130, stopped.stderr);
  const resumed = await runScript([...args, '--output', stoppedIn, '--resume']);
  assert.is(resumed.code, 0, resumed.stderr);
  assert.equal(lossesIn(stoppedIn), losses);
  const weights = (of: string): Buffer => readFileSync(join(of, 'model.safetensors'));
  assert.ok(weights(stoppedIn).equals(weights(whole)));

  const text = 'mmmmm saw the dog, mmmm so!';
  const label = await pipeline('token-classification', whole);
  const [found] = await label(text, { aggregationStrategy: 'first' });
  assert.equal([found!.entity_group, text.slice(found!.start, found!.end)], ['ANIMAL', 'dog']);
  const shown = await runScript(['train/finetune-tokens.ts', '--predict', '--model', whole, text]);
  assert.match(shown.stdout, /^mmmmm saw the dog, mmmm so!\n {2}ANIMAL {2}[01]\.\d{3} {2}dog {2}\[14, 17\)\n/);

  refused(
    await runScript([...args, '--stride', '30', '--output', join(folder, 'x')]),
    2,
    /--stride 30 must be less than/,
  );
});

test.run();
