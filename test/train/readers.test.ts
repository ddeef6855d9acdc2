// Readers of documents: every format gives the same texts; broken and empty files are refused by name and
// line.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ReadOptions } from '../../train/data/readers/document.ts';
import { expandInputs, readDocuments } from '../../train/data/readers/inputs.ts';
import { failure } from '../support/failure.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('readers');

let folder = '';
temporaryFolder(test, (made) => (folder = made));

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder, name);
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, content);
  return path;
}

async function read(inputs: string | string[], options: ReadOptions = {}): Promise<{ text: string; source: string }[]> {
  const found = [];
  const expanded = await expandInputs([inputs].flat());
  for await (const document of readDocuments(expanded, options)) found.push(document);
  return found;
}

const texts = ['caf\u00e9, \u4f60\u597d', 'two "quoted"\nlines', 'three'];
const parquet = (codec: 'SNAPPY' | 'UNCOMPRESSED'): Uint8Array =>
  new Uint8Array(
    parquetWriteBuffer({
      columnData: [
        { name: 'id', data: [1, 2, 3], type: 'INT32' },
        { name: 'text', data: texts, type: 'STRING' },
      ],
      rowGroupSize: 2,
      codec,
    }),
  );

test('JSONL, CSV, TSV and Parquet give the same texts', async () => {
  const rows = texts.map((text) => JSON.stringify({ text })).join('\n');
  const csv = `id,text\n1,"${texts[0]}"\n2,"two ""quoted""\nlines"\n3,three\n`;
  for (const [name, content, sources] of [
    ['a.jsonl', rows, [1, 2, 3]],
    ['a.csv', csv, [2, 3, 5]],
    ['a.parquet', parquet('SNAPPY'), [1, 2, 3]],
    ['b.parquet', parquet('UNCOMPRESSED'), [1, 2, 3]],
  ] as const) {
    const path = await file(name, content);
    let bytes = 0;
    const found = await read(path, { onBytes: (count) => (bytes += count) });
    assert.equal(
      found,
      texts.map((text, i) => ({ text, source: `${path}:${sources[i]}` })),
    );
    assert.ok(bytes > 0 && bytes <= Buffer.from(content).length, `${name}: ${bytes} bytes`);
  }
  const tsv = await file('a.tsv', 'body\tid\nx "y"\t1\n');
  assert.equal(await read(tsv, { textColumn: 'body' }), [{ text: 'x "y"', source: `${tsv}:2` }]);
});

test('a text file is one document, or its lines, or its paragraphs', async () => {
  const content = '\uFEFFone\r\ntwo\r\n\r\n \t\r\nthree\nfour\n\n\nfive';
  const path = await file('a.txt', content);
  assert.equal(await read(path), [{ text: content.slice(1), source: path }]);
  assert.equal(
    await read(path, { documents: 'line' }),
    [
      ['one', 1],
      ['two', 2],
      ['three', 5],
      ['four', 6],
      ['five', 9],
    ].map(([text, line]) => ({ text, source: `${path}:${line}` })),
  );
  assert.equal(await read(path, { documents: 'paragraph' }), [
    { text: 'one\ntwo', source: `${path}:1` },
    { text: 'three\nfour', source: `${path}:5` },
    { text: 'five', source: `${path}:9` },
  ]);
  // More than one block of the file, cut inside a paragraph.
  const long = await file('long.txt', `${'word '.repeat(60_000)}\n`.repeat(3) + '\nend\n');
  assert.equal(
    (await read(long, { documents: 'paragraph' })).map(({ text }) => text.length),
    [900_002, 3],
  );
});

test('folders, several inputs and named corpora', async () => {
  await file('corpus/b.txt', 'b');
  await file('corpus/a/a.jsonl', '{"text":"a"}\n');
  await file('corpus/empty.txt', '');
  await file('corpus/picture.png', 'x');
  const other = await file('other.txt', 'c');
  const found = await read([join(folder, 'corpus'), other]);
  assert.equal(
    found.map(({ text }) => text),
    ['a', 'b', 'c'],
  );
  const chapters = await read('moby-dick');
  assert.is(chapters.length, 139);
  assert.is(chapters[5]!.source, 'moby-dick/3 The Spouter-Inn.');
  assert.match(chapters[5]!.text, /^Entering that gable-ended Spouter-Inn/);
  const both = await read(`sotu+${other}`);
  assert.equal([both.length, both[0]!.source, both.at(-1)!.text], [234, 'sotu/1790 George Washington', 'c']);
});

test('broken encodings are refused by file and line, or read as asked', async () => {
  const path = await file(
    'a.txt',
    Buffer.concat([Buffer.from('one\ntwo\nthr'), Buffer.from([0xe9, 0x93]), Buffer.from('e\n')]),
  );
  assert.is(
    await failure(read(path, { encoding: 'utf8' })),
    `${path}:3: not UTF-8; convert the file first (iconv), or read it with the encoding "replace" or "latin1"`,
  );
  const lines = async (encoding: 'replace' | 'latin1'): Promise<string> =>
    (await read(path, { encoding, documents: 'line' })).at(-1)!.text;
  assert.is(await lines('latin1'), 'thr\u00e9\u201ce');
  assert.match(await lines('replace'), /^thr\uFFFD+e$/);
  const table = await file(
    'a.jsonl',
    Buffer.concat([Buffer.from('{"text":"x'), Buffer.from([0xff]), Buffer.from('"}')]),
  );
  assert.match(await failure(read(table)), `${table}:1: not UTF-8`);
  assert.is((await read(table, { encoding: 'latin1' }))[0]!.text, 'x\u00ff');
});

test('empty, missing, damaged and unknown files are refused', async () => {
  for (const name of ['a.txt', 'a.jsonl', 'a.csv']) {
    const path = await file(name, '');
    assert.is(await failure(read(path)), `${path}: the file is empty; a corpus needs at least one text`);
  }
  const blank = await file('blank.txt', ' \n\n');
  assert.match(await failure(read(blank, { documents: 'line' })), 'the file is empty');
  const header = await file('header.csv', 'text\n');
  assert.match(await failure(read(header)), 'the file is empty');
  const broken = await file('b.jsonl', '{"text":"a"}\n{"text":\n');
  assert.match(await failure(read(broken)), `${broken}:2: not JSON`);
  assert.match(await failure(read(await file('c.jsonl', '{"text":7}'))), '"text" is 7, not a string');
  assert.match(await failure(read(await file('d.jsonl', '{"body":"a"}'))), 'no column "text" among body');
  assert.match(
    await failure(read('nowhere')),
    /^nowhere: no such file or folder, and no corpus of that name \(there are sotu, /,
  );
  assert.match(await failure(read(await file('a.doc', 'x'))), 'the ending tells no format');
  await mkdir(join(folder, 'none'));
  assert.match(await failure(read(join(folder, 'none'))), 'no file to read in it');
  assert.match(await failure(read([])), 'no input');

  const whole = parquet('SNAPPY');
  const cut = await file('cut.parquet', whole.subarray(0, whole.length - 20));
  assert.match(await failure(read(cut)), `${cut}: no Parquet file, or a damaged one (`);
  assert.match(
    await failure(read(await file('e.parquet', whole), { textColumn: 'body' })),
    'no column "body" among id, text',
  );
});

test("a Parquet file that keeps its parser busy for ever is refused, and the next file's texts are whole", async () => {
  // Found by the fuzzer: the header of a page has no size, so that the parser reads it again and again.
  const endless =
    'UEFSMRUGFTZjKGCyis2Q4QYVABUEFQAAAAMHGRgDAAAAb25lAQc0dHdvBwAAAGdyw7bDnwAAAAMHGRgDAAAAb25lAQc0dHdvBwAAAGdyw7bD' +
    'n2UVBBksSARyb290FQIAFQwlAhgEdGV4dCUAABYGGRwZHCYIHBUMGRVvbmUBBzR0d28HAAAAZ3LDtsOfZRUEGSxIBHJvb3QVAgAVDCUCGAR0' +
    'ZXh0JQAAFgYZHBkcJggcFQwZFQAZGAR0ZXh0FQIWBhZgFmImCDw2ACgDdHdvGAdncsO2w59lABkcFQYVABUCAAAAFmAWBjZiACgJaHlwYXJx' +
    'dWV0GRwcAAAAbgAAAFBBUjE=';
  const path = await file('endless.parquet', Buffer.from(endless, 'base64'));
  const whole = await file('whole.parquet', parquet('SNAPPY'));
  const [told, found] = await Promise.all([failure(read(path)), read(whole)]);
  assert.is(told, `${path}: no Parquet file, or a damaged one (its pages do not end within 5 s); fetch it again`);
  assert.equal(found.map(({ text }) => text), texts); // prettier-ignore
});

test('what a parser quotes of a line has no line ends of its own', async () => {
  const path = await file('return.jsonl', 'text\r');
  assert.match(await failure(read(path)), /return\.jsonl:1: not JSON \(.*\\r.*\); JSONL has one object on each line$/);
});

test.run();
