// The script: all at once is the same as step by step, Ctrl-C leaves nothing, errors are one line.
import { existsSync } from 'node:fs';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BertTokenizer } from '../../models/index.ts';
import { openPrepared } from '../../train/data/corpus/prepare.ts';
import { openTokenCorpus } from '../../train/data/token-files.ts';
import { Random } from '../../common/random.ts';
import { runScript } from '../support/script.ts';
import type { Finished, ScriptOptions } from '../support/script.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('prepare-data');

let folder = '';
temporaryFolder(test, (made) => (folder = made));

const script = (words: readonly string[], options?: ScriptOptions): Promise<Finished> =>
  runScript(['train/prepare-data.ts', ...words], options);
const at = (...names: string[]): string => join(folder, ...names);

/** Paragraphs of random English words; every tenth is a copy of the one before, in capitals. */
async function writeText(path: string, paragraphs: number): Promise<void> {
  const random = new Random(5);
  const words =
    'the of and a ship whale sea captain man old great white harpoon boat line wind water deck crew night'.split(' ');
  let last = '';
  const list = Array.from({ length: paragraphs }, (_, i) => {
    const copy = last;
    last = Array.from({ length: 30 }, () => words[random.int(words.length)]).join(' ');
    return i % 10 === 9 ? `${copy.toUpperCase()}.` : `${last}.  `;
  });
  await writeFile(path, list.join('\n\n'));
}

test('all at once has the tokens of clean, dedupe, split and tokenize one after another', async () => {
  await writeText(at('a.txt'), 300);
  await BertTokenizer.default().save(at('bert'));
  const skip = ['--skip', 'repeated-5-grams', '--skip', 'top-2-gram', '--min-words', '4'];
  const shares = ['--validation', '0.2', '--test', '0.1', '--seed', '3'];
  const steps = [
    [
      'all',
      at('a.txt'),
      '--documents',
      'paragraph',
      ...skip,
      ...shares,
      '--tokenizer',
      at('bert'),
      '--output',
      at('all'),
    ],
    ['clean', at('a.txt'), '--documents', 'paragraph', ...skip, '--output', at('clean.jsonl')],
    ['dedupe', at('clean.jsonl'), '--output', at('distinct.jsonl')],
    ['split', at('distinct.jsonl'), ...shares, '--output', at('parts')],
    ['tokenize', at('parts', 'train.jsonl'), '--tokenizer', at('bert'), '--output', at('tokens')],
    ['card', at('all')],
  ];
  const said: string[] = [];
  for (const words of steps) {
    const { code, stdout, stderr } = await script(words);
    assert.is(code, 0, stderr);
    said.push(stdout);
  }
  const all = await openPrepared(at('all'));
  const train = await openTokenCorpus(at('tokens'));
  assert.is(all.train.hash, train.hash);
  assert.is(all.card.duplicates!.exact, 30);
  assert.match(said[0]!, `train ${all.card.splits.train.documents} documents, ${train.tokens} tokens; validation `);
  assert.match(said[1]!, '300 of 300 documents kept');
  assert.match(said[2]!, '30 were dropped as exact duplicates');
  assert.match(said[4]!, `${train.tokens} tokens, SHA-256 ${train.hash}`);
  assert.is(said[5]!.trimEnd(), (await readFile(at('all', 'README.md'), 'utf8')).trimEnd());
  train.close();
  all.close();
});

test('Ctrl-C leaves nothing half-written', async () => {
  await writeText(at('a.txt'), 20_000);
  await BertTokenizer.default().save(at('bert'));
  const words = ['all', at('a.txt'), '--documents', 'paragraph', '--tokenizer', at('bert'), '--output', at('all')];
  let sent = false;
  const { code, stderr } = await script(words, {
    onStderr: (text, interrupt) => {
      if (!sent && text.includes('MB')) interrupt();
      sent ||= text.includes('MB');
    },
  });
  assert.is(code, 130, stderr);
  assert.match(stderr, 'prepare-data: stopped; nothing was written');
  assert.equal((await readdir(folder)).sort(), ['a.txt', 'bert']);
});

test('errors are one line', async () => {
  const line = async (words: readonly string[], code: number): Promise<string> => {
    const finished = await script(words);
    assert.is(finished.code, code, finished.stderr);
    assert.is(finished.stderr.trimEnd().split('\n').length, 1, finished.stderr);
    return finished.stderr;
  };
  assert.match(
    await line(['claen', 'x'], 2),
    'unknown command "claen"; use one of all, clean, dedupe, split, tokenize, card',
  );
  assert.match(await line(['clean', 'x'], 2), 'prepare-data clean: --output is required');
  await writeFile(at('a.txt'), Buffer.from([0x68, 0xe9, 0x0a]));
  assert.match(
    await line(['clean', at('a.txt'), '--output', at('b.jsonl')], 1),
    `${at('a.txt')}:1: not UTF-8; convert the file first`,
  );
  assert.match(await line(['card', at('nowhere')], 1), 'does not exist');
  assert.not(existsSync(at('b.jsonl')));
});

test.run();
