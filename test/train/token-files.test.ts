// Token corpora on disk: what is written is what is read, and whatever is not whole or does not match is
// refused.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { corpusOf } from '../../train/data/token-corpus.ts';
import { openTokenCorpus, verifyTokenCorpus, writeTokenCorpus } from '../../train/data/token-files.ts';
import { Random } from '../../common/random.ts';
import { failure } from '../support/failure.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('token files');

let parent = '';
let folder = '';
temporaryFolder(test, (made) => {
  parent = made;
  folder = join(made, 'corpus');
});

function randomDocuments(count: number, vocabSize: number): number[][] {
  const random = new Random(7);
  return Array.from({ length: count }, () => Array.from({ length: random.int(900) }, () => random.int(vocabSize)));
}

for (const vocabSize of [300, 65536, 65537]) {
  test(`what is written is read again, with the hash of a corpus in memory (vocabulary ${vocabSize})`, async () => {
    // More ids than one block of the writer.
    const documents = [[], [0, vocabSize - 1], ...randomDocuments(1000, vocabSize), []];
    const memory = corpusOf(documents, vocabSize);
    async function* stream(): AsyncGenerator<number[]> {
      yield* documents;
    }
    const meta = await writeTokenCorpus(folder, stream(), { vocabSize });
    assert.is(meta.dtype, vocabSize <= 65536 ? 'u16' : 'u32');
    const corpus = await openTokenCorpus(folder, { vocabSize });
    assert.is(corpus.hash, memory.hash);
    assert.is(corpus.tokens, memory.tokens);
    assert.equal(corpus.offsets, memory.offsets);
    assert.equal(corpus.read(0, corpus.tokens), memory.read(0, memory.tokens));
    assert.equal(corpus.read(1, 5), memory.read(1, 5));
    assert.equal(corpus.read(400_001, 400_300), memory.read(400_001, 400_300));
    assert.is(corpus.read(corpus.tokens, corpus.tokens).length, 0);
    assert.throws(() => corpus.read(0, corpus.tokens + 1), /cannot read ids 0 to/);
    assert.throws(() => corpus.read(-1, 1), /cannot read ids -1 to 1/);
    await verifyTokenCorpus(folder);
    corpus.close();
    corpus.close();
    assert.throws(() => corpus.read(0, 1), /the corpus is closed/);
    assert.equal(await readdir(parent), ['corpus']);
  });
}

test('a folder is replaced whole; a failure leaves the old one', async () => {
  await writeTokenCorpus(folder, [[1, 2]], { vocabSize: 4 });
  await writeTokenCorpus(folder, [[3, 3, 3]], { vocabSize: 4 });
  function* failing(): Generator<number[]> {
    yield [1];
    throw new Error('the reader stopped');
  }
  assert.is(await failure(writeTokenCorpus(folder, failing(), { vocabSize: 4 })), 'the reader stopped');
  assert.equal(
    await failure(writeTokenCorpus(folder, [[1], [2, 4]], { vocabSize: 4 })),
    `${folder}: id 4 of document 1 is outside of the vocabulary, 0 to 3; ` +
      'pass the vocabSize of the tokenizer that made it',
  );
  for (const id of [-1, 1.5, NaN])
    assert.match(await failure(writeTokenCorpus(folder, [[id]], { vocabSize: 4 })), `id ${id} of document 0`);
  const corpus = await openTokenCorpus(folder);
  assert.equal([...corpus.read(0, 3)], [3, 3, 3]);
  corpus.close();
  assert.equal(await readdir(parent), ['corpus']);
});

test('no documents and empty ones are refused', async () => {
  assert.match(
    await failure(writeTokenCorpus(folder, [], { vocabSize: 4 })),
    `${folder}: nothing to write, there are no documents;`,
  );
  assert.match(await failure(writeTokenCorpus(folder, [[], []], { vocabSize: 4 })), 'all 2 documents are empty');
  assert.match(await failure(writeTokenCorpus(folder, [[]], { vocabSize: 0 })), 'vocabSize must be an integer from 1');
  assert.not(existsSync(folder));
});

test('another vocabulary or tokenizer is refused', async () => {
  await writeTokenCorpus(folder, [[1]], { vocabSize: 4, tokenizer: 'abc' });
  assert.is(
    await failure(openTokenCorpus(folder, { vocabSize: 5 })),
    `${folder}: its ids are of a vocabulary of 4, but 5 is expected; tokenize the texts with the model's own tokenizer`,
  );
  assert.match(
    await failure(openTokenCorpus(folder, { vocabSize: 4, tokenizer: 'abd' })),
    'its ids are of another tokenizer',
  );
  (await openTokenCorpus(folder, { vocabSize: 4, tokenizer: 'abc' })).close();
});

test('damaged files are refused', async () => {
  const meta = join(folder, 'meta.json');
  const tokens = join(folder, 'tokens.bin');
  const offsets = join(folder, 'offsets.bin');
  assert.match(await failure(openTokenCorpus(folder)), `${meta} does not exist`);
  await writeTokenCorpus(folder, [[1, 2], [3]], { vocabSize: 4 });

  const ids = await readFile(tokens);
  await truncate(tokens, 4);
  assert.match(await failure(openTokenCorpus(folder)), `${tokens} is damaged: 4 bytes where meta.json says 6`);
  await writeFile(tokens, Buffer.from([...ids.subarray(0, 4), 2, 0]));
  for (const open of [openTokenCorpus, verifyTokenCorpus])
    assert.match(
      await failure(open(folder)),
      `${tokens} is damaged: its SHA-256 is not the one in manifest.json; copy`,
    );
  (await openTokenCorpus(folder, {}, { verify: false })).close();
  // As an earlier version left it.
  const manifest = await readFile(join(folder, 'manifest.json'));
  await rm(join(folder, 'manifest.json'));
  assert.match(await failure(verifyTokenCorpus(folder)), `${folder}: tokens.bin is not what was written`);
  await writeFile(join(folder, 'manifest.json'), manifest);
  await writeFile(tokens, ids);

  const places = await readFile(offsets);
  await truncate(offsets, 8);
  assert.match(await failure(openTokenCorpus(folder)), `${offsets} is damaged: 8 bytes where meta.json says 24`);
  await writeFile(offsets, Buffer.from(new Float64Array([0, 3, 2]).buffer));
  assert.match(await failure(openTokenCorpus(folder)), `${offsets} is damaged: its SHA-256 is not`);
  assert.match(
    await failure(openTokenCorpus(folder, {}, { verify: false })),
    `${offsets} is damaged: it does not ascend from 0 to 3`,
  );
  await writeFile(offsets, places);

  const json = await readFile(meta, 'utf8');
  await writeFile(meta, json.replace('"u16"', '"u8"'));
  assert.match(await failure(openTokenCorpus(folder)), `${meta} is no token corpus's (dtype: `);
  await writeFile(meta, json.slice(0, 30));
  assert.match(await failure(openTokenCorpus(folder)), `${meta} is not valid JSON`);
  await writeFile(meta, json);
  await verifyTokenCorpus(folder);
});

// A file system of 2 MB for one process and its children; not every container allows it.
if (spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()]).status === 0) {
  test('a full disk fails in one line and leaves nothing', () => {
    const writer = new URL('../../train/data/token-files.ts', import.meta.url).href;
    const script = `
      const { writeTokenCorpus } = await import(${JSON.stringify(writer)});
      const documents = Array.from({ length: 100 }, () => new Int32Array(1 << 16));
      await writeTokenCorpus(process.env.TARGET, documents, { vocabSize: 4 }).then(() => process.exit(0), (error) => {
        console.log(error.message);
        process.exit(7);
      });`;
    const mount = 'mount -t tmpfs -o size=2m tmpfs "$DISK"';
    const check = '[ -z "$(ls -A "$DISK")" ] || exit 9';
    const shell = ['-rm', 'sh', '-c', `${mount}; "$0" "$@"; status=$?; ${check}; exit $status`];
    const { status, stdout, stderr } = spawnSync(
      'unshare',
      [...shell, process.execPath, ...process.execArgv, '--input-type=module', '-e', script],
      { encoding: 'utf8', env: { ...process.env, DISK: parent, TARGET: folder } },
    );
    assert.is(status, 7, stderr);
    assert.match(stdout, new RegExp(`^cannot write ${folder}/tokens.bin: the disk is full; .*\\n$`));
  });
}

test.run();
