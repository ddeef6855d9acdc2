// Text in, token corpora out: what is in the folder, when it is made again, what is refused.
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BertTokenizer, loadTokenizer } from '../../models/index.ts';
import { idsInPieces } from '../../train/data/corpus/text-tokenizer.ts';
import type { TextTokenizer } from '../../train/data/corpus/text-tokenizer.ts';
import { openPrepared, prepareCorpus } from '../../train/data/corpus/prepare.ts';
import type { PrepareOptions } from '../../train/data/corpus/prepare.ts';
import type { PrepareProgress } from '../../train/data/corpus/watch.ts';
import { Random } from '../../common/random.ts';
import { failure } from '../support/failure.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('prepareCorpus');

let parent = '';
let folder = '';
let text = '';
temporaryFolder(test, (made) => {
  parent = made;
  folder = join(made, 'prepared');
  text = join(made, 'a.txt');
});

/** One id a UTF-16 unit, as character models have it. */
const characters: TextTokenizer = {
  vocabSize: 256,
  idsOf: (value) => Int32Array.from(value, (_, i) => value.charCodeAt(i) & 255),
  filesToSave: (target) => [{ path: join(target, 'tokenizer.json'), data: '{"characters":true}' }],
};

const prepare = (options: Partial<PrepareOptions> = {}) =>
  prepareCorpus({ inputs: [text], tokenizer: characters, folder, ...options });
const plain = { clean: false, duplicates: false } as const;

const words = (seed: number, count: number): string => {
  const random = new Random(seed);
  return Array.from({ length: count }, () =>
    String.fromCharCode(...Array.from({ length: 2 + random.int(7) }, () => 97 + random.int(26))),
  ).join(' ');
};

const PROSE = 'The quick brown fox jumps over the lazy dog and runs away with it.';

test('one document is split by position, to the character', async () => {
  const content = 'First Citizen:\nBefore we proceed any further, hear me speak.\n'.repeat(20) + 'x';
  await writeFile(text, content);
  const corpus = await prepare({ split: 'position' });
  const boundary = Math.floor(content.length * 0.9);
  const read = (part: 'train' | 'validation'): string =>
    String.fromCharCode(...corpus[part]!.read(0, corpus[part]!.tokens));
  assert.is(read('train'), content.slice(0, boundary));
  assert.is(read('validation'), content.slice(boundary));
  assert.is(corpus.test, undefined);
  const files = ['README.md', 'card.json', 'manifest.json', 'tokenizer.json', 'train', 'validation'];
  assert.equal((await readdir(folder)).sort(), files);
  corpus.close();
});

test('a corpus that is there is not made again, until inputs, options or tokenizer change', async () => {
  await writeFile(text, Array.from({ length: 300 }, (_, i) => words(i, 12)).join('\n'));
  const read = { documents: 'line' } as const;
  const first = await prepare({ ...plain, read });
  assert.not(first.cached);
  assert.ok(first.train.tokens > 10 * first.test!.tokens && first.validation!.tokens > 0);
  assert.is(first.train.tokens + first.validation!.tokens + first.test!.tokens, (await readFile(text)).length - 299);
  first.close();
  const again = await prepare({ ...plain, read });
  assert.ok(again.cached);
  assert.is(again.train.hash, first.train.hash);
  again.close();
  const opened = await openPrepared(folder);
  assert.equal(opened.card, first.card);
  opened.close();
  const other = await prepare({ ...plain, read, seed: 1 });
  assert.not(other.cached);
  assert.not.equal(other.train.hash, first.train.hash);
  other.close();
  const tokenizer = { ...characters, vocabSize: 257 };
  const larger = await prepare({ ...plain, read, seed: 1, tokenizer });
  assert.not(larger.cached);
  larger.close();
  await writeFile(text, Array.from({ length: 301 }, (_, i) => words(i, 12)).join('\n'));
  const changed = await prepare({ ...plain, read, seed: 1, tokenizer });
  assert.not(changed.cached);
  changed.close();
  assert.equal((await readdir(parent)).sort(), ['a.txt', 'prepared']);
});

test('empty splits, empty inputs and foreign folders are refused, and nothing is left', async () => {
  await writeFile(text, words(1, 50));
  assert.match(await failure(prepare()), /^the (train|validation) split is empty: there are too few documents/);
  await writeFile(text, '');
  assert.match(await failure(prepare()), 'the file is empty');
  await writeFile(text, ' \n');
  assert.match(await failure(prepare({ ...plain, tokenizer: { ...characters, idsOf: () => [] } })), 'nothing to write');
  await writeFile(text, words(1, 50));
  assert.match(
    await failure(prepare({ fractions: { train: 0.5, validation: 0.1, test: 0.1 } })),
    'must be 0 or more and sum to 1',
  );
  assert.match(
    await failure(prepare({ fractions: { train: 0, validation: 1, test: 0 } })),
    'the share of the train split must be above 0',
  );
  assert.match(
    await failure(prepare({ split: 'position', tokenizer: { ...characters, vocabSize: 100 } })),
    'is outside of the vocabulary',
  );
  assert.not(existsSync(folder));
  await mkdir(folder);
  await writeFile(join(folder, 'thesis.tex'), 'mine');
  assert.match(
    await failure(prepare({ split: 'position' })),
    `cannot write ${folder}: the folder holds other things (thesis.tex)`,
  );
  assert.equal((await readdir(parent)).sort(), ['a.txt', 'prepared']);
  assert.equal(await readdir(folder), ['thesis.tex']);
});

for (const stage of ['count lines', 'clean', 'tokenize']) {
  test(`a signal stops it with its reason in the stage "${stage}", and what was there stays`, async () => {
    await writeFile(text, Array.from({ length: 100 }, (_, i) => `${PROSE} ${words(i, 12)}`).join('\n'));
    const read = { documents: 'line' } as const;
    (await prepare({ read })).close();
    const controller = new AbortController();
    let documents = 0;
    const onProgress = (progress: PrepareProgress): void => {
      if (progress.stage === stage && ++documents === 50) controller.abort(new Error('stopped by hand'));
    };
    assert.is(await failure(prepare({ read, seed: 3, signal: controller.signal, onProgress })), 'stopped by hand');
    assert.is(documents, 50);
    const kept = await prepare({ read });
    assert.ok(kept.cached);
    kept.close();
    assert.equal((await readdir(parent)).sort(), ['a.txt', 'prepared']);
  });
}

test('texts are cleaned, near-duplicates dropped, relations kept in one split; the card says so', async () => {
  const rows: { text: string }[] = [];
  const family = (i: number): string => words(i, 60);
  for (let i = 0; i < 120; i++) {
    const base = family(i).split(' ');
    // The text, a copy with a word changed (dropped), and a relation with its last fifth changed (kept, same
    // split).
    const related = [...base.slice(0, 48), ...words(1000 + i, 12).split(' ')];
    rows.push(
      { text: base.join(' ') },
      { text: `${base.slice(0, 59).join('  ')} changed` },
      { text: related.join(' ') },
    );
  }
  rows.push({ text: 'caf\u00c3\u00a9 is how this one is written' }, { text: 'too short' }, { text: ' ' });
  const path = join(parent, 'b.jsonl');
  await writeFile(path, rows.map((one) => JSON.stringify(one)).join('\n'));
  const corpus = await prepare({ inputs: [path], fractions: { train: 0.6, validation: 0.2, test: 0.2 } });
  const { cleaning, duplicates, splits, documentsRead } = corpus.card;
  assert.equal([documentsRead, cleaning!.documents, cleaning!.kept], [363, 363, 361]);
  assert.equal([duplicates!.documents, duplicates!.exact, duplicates!.near, duplicates!.groups], [361, 0, 120, 120]);
  assert.ok(
    duplicates!.relatedDocuments >= 220 && duplicates!.relatedDocuments <= 240,
    `${duplicates!.relatedDocuments} related`,
  );
  assert.ok(duplicates!.examples[0]!.similarity > 0.8);
  assert.match(duplicates!.examples[0]!.dropped.text, / changed$|^\w+/);
  assert.is(splits.train.documents + splits.validation!.documents + splits.test!.documents, 241);
  // What two documents of different splits share: only relations that no band showed (1 in 27 at their
  // overlap of 0.66).
  const where = new Map<string, string>();
  let torn = 0;
  for (const name of ['train', 'validation', 'test'] as const) {
    const part = corpus[name]!;
    for (let i = 0; i + 1 < part.offsets.length; i++) {
      const document = String.fromCharCode(...part.read(part.offsets[i]!, part.offsets[i + 1]!));
      const start = document.split(' ').slice(0, 10).join(' ');
      if (where.has(start) && where.get(start) !== name) torn++;
      where.set(start, name);
    }
  }
  const unrelated = (240 - duplicates!.relatedDocuments) / 2;
  assert.ok(torn <= unrelated, `${torn} torn apart, of ${unrelated} that were not seen`);
  const page = await readFile(join(folder, 'README.md'), 'utf8');
  for (const part of [
    '# Data card',
    '361 of 363 documents kept',
    'changed: mojibake | 1 |',
    '120 as near ones',
    '| train | ',
  ])
    assert.ok(page.includes(part), `${part} is not on the page`);
  assert.equal((await readdir(folder)).sort(), [
    'README.md',
    'card.json',
    'manifest.json',
    'test',
    'tokenizer.json',
    'train',
    'validation',
  ]);
  corpus.close();
  assert.match(
    await failure(prepare({ inputs: [path], clean: { minWords: 1000 } })),
    'nothing is left: all 363 documents were dropped, by too-short (',
  );
  assert.match(
    await failure(prepare({ inputs: [path], duplicates: { related: 0.9 } })),
    'related must be at most the threshold 0.8, got 0.9',
  );
  assert.match(
    await failure(prepare({ inputs: [path], split: 'position', duplicates: {} })),
    'cannot be kept apart by likeness',
  );
});

test("BERT's tokenizer is loaded from a folder, and its files go into the corpus's", async () => {
  await BertTokenizer.default().save(join(parent, 'bert'));
  const tokenizer = await loadTokenizer(join(parent, 'bert'));
  await writeFile(text, 'Hello, tokenizers! '.repeat(50));
  const corpus = await prepare({ tokenizer, split: 'position' });
  assert.equal(
    [...corpus.train.read(0, 6)],
    BertTokenizer.default().encodeText('Hello, tokenizers! ').ids.concat(7592).slice(0, 6),
  );
  assert.ok(existsSync(join(folder, 'vocab.txt')));
  corpus.close();
});

test('a long text is tokenised in pieces as it is in one', () => {
  const bert = BertTokenizer.default();
  const tokenizer = { ...characters, idsOf: (value: string) => bert.encodeText(value).ids };
  const long = `${'The quick brown fox. '.repeat(53_000)}end`;
  const pieces = [...idsInPieces(tokenizer, long)];
  assert.ok(pieces.length > 1);
  assert.equal(
    pieces.flatMap((ids) => [...(ids as number[])]),
    bert.encodeText(long).ids,
  );
  const odd = '\u{1F600}'.repeat(530_000);
  const units = [...idsInPieces({ ...characters, idsOf: (value) => [...value].map((c) => c.length) }, odd)];
  assert.ok(
    units.every((ids) => [...(ids as number[])].every((length) => length === 2)),
    'no character is cut in two',
  );
});

test.run();
