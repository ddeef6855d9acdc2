import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BertTokenizer, Tokenizer, loadTokenizer } from '../../models/index.ts';
import { HeldOut, longestPieces, tokenizerFacts } from '../../train/tokenizer-training/held-out.ts';
import { runScript } from '../support/script.ts';

const test = suite('train-tokenizer');
const folder = mkdtempSync(join(tmpdir(), 'train-tokenizer-'));
test.after(() => rmSync(folder, { recursive: true }));

const data = join(folder, 'texts.jsonl');
const words = ['the', 'whale', 'and', 'sea', 'Ahab', 'harpoon', 'ocean', 'ship', 'sails'];
const lines = Array.from({ length: 60 }, (_, i) => words.map((_, k) => words[(i * (k + 2)) % words.length]!).join(' '));
writeFileSync(data, lines.map((body) => JSON.stringify({ body })).join('\n'));
const common = ['train/train-tokenizer.ts', '--data', data, '--text-column', 'body'];

test('each type is trained, measured on held-out texts and saved', async () => {
  const wordPiece = join(folder, 'wordpiece');
  const first = await runScript([...common, '--output', wordPiece, '--vocab-size', '60', '--special', '[DOC]']);
  assert.is(first.code, 0, first.stderr);
  assert.match(first.stdout, /60 tokens in .*, saved in/);
  assert.match(first.stdout, /tokens per word +\d\.\d{3}\nbytes per token/);
  assert.match(first.stdout, /longest pieces: "/);
  assert.match(first.stderr, /making tokens: step \d+\/\d+/);
  const loaded = await loadTokenizer(wordPiece);
  assert.instance(loaded, BertTokenizer);
  assert.equal([loaded.vocabSize, loaded.tokenToId('[DOC]')], [60, 5]);

  const bpe = join(folder, 'bpe');
  const second = await runScript([...common, '--output', bpe, '--type', 'bpe', '--vocab-size', '9000']);
  assert.is(second.code, 0, second.stderr);
  assert.match(second.stdout, 'no pair is left that occurs 2 times: 9000 tokens need more text');
  assert.instance(await loadTokenizer(bpe), Tokenizer);

  const characters = join(folder, 'char');
  const third = await runScript([...common, '--output', characters, '--type', 'char', '--max-length', '64']);
  assert.is(third.code, 0, third.stderr);
  assert.is((await loadTokenizer(characters)).vocabSize, new Set(lines.join('')).size);
  const config = JSON.parse(readFileSync(join(characters, 'tokenizer_config.json'), 'utf8')) as Record<string, unknown>;
  assert.is(config['model_max_length'], 64);
});

test('what cannot be done is told before the work, in one line', async () => {
  const full = join(folder, 'full');
  mkdirSync(full);
  writeFileSync(join(full, 'notes.txt'), 'mine');
  const empty = join(folder, 'empty.txt');
  writeFileSync(empty, '');
  const output = join(folder, 'new');
  const cases: [args: string[], code: number, message: RegExp][] = [
    [[...common, '--output', full], 2, /full is not empty; choose another folder, or add --overwrite/],
    [[...common, '--output', data], 2, /is a file, a folder is needed/],
    [['train/train-tokenizer.ts', '--output', output], 1, /no input/],
    [['train/train-tokenizer.ts', '--output', output, '--data', empty], 1, /empty.txt: the file is empty/],
    [[...common, '--output', output, '--type', 'bpe', '--vocab-size', '100'], 1, /vocabSize 100 is too small/],
    [[...common, '--output', output, '--special', '[CLS]'], 1, /"\[CLS\]" is given twice/],
  ];
  for (const [args, code, message] of cases) {
    const done = await runScript(args);
    const errors = done.stderr.split('\n').filter((line) => line !== '' && !/step \d+/.test(line));
    assert.equal([done.code, errors.length], [code, 1], done.stderr);
    assert.match(errors[0]!, message);
  }
  assert.is(readFileSync(join(full, 'notes.txt'), 'utf8'), 'mine');
});

test('of documents every twentieth is held out, of long ones the end', async () => {
  const split = async (texts: string[]): Promise<{ training: string[]; held: string[] }> => {
    const heldOut = new HeldOut();
    const stream = async function* (): AsyncGenerator<string> {
      for (const text of texts) yield await Promise.resolve(text);
    };
    const training: string[] = [];
    for await (const text of heldOut.training(stream())) training.push(text);
    return { training, held: heldOut.texts };
  };
  const many = await split(Array.from({ length: 45 }, (_, i) => `text ${i}`));
  assert.equal(many.held, ['text 19', 'text 39']);
  assert.is(many.training.length, 43);
  const book = 'a line of a book\n'.repeat(20_000);
  const one = await split([book]);
  assert.is(one.training[0]! + one.held[0]!, book);
  assert.ok(one.held[0]!.startsWith('a line') && Math.abs(one.held[0]!.length - book.length / 20) < 40);
  const unbroken = await split(['x'.repeat(300_000)]);
  assert.equal([unbroken.training[0]!.length, unbroken.held], [300_000, []]);
});

test('facts are those of the texts', () => {
  const tokenizer = Tokenizer.fromJson(
    {
      model: { type: 'BPE', vocab: { '<unk>': 0, a: 1, é: 2, ' ': 3 }, merges: [], unk_token: '<unk>' },
      decoder: { type: 'Fuse' },
    },
    { unk_token: '<unk>' },
  );
  const facts = tokenizerFacts(tokenizer, ['aé a', 'x']);
  const expected = {
    bytes: 6,
    words: 3,
    tokens: 5,
    tokensPerWord: 5 / 3,
    bytesPerToken: 6 / 5,
    unknown: 1 / 5,
    used: 1,
  };
  assert.equal(facts, expected);
  assert.equal(longestPieces(tokenizer, 2), ['a', 'é']);
});

test.run();
