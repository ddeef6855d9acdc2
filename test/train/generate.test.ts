// The script train/generate.ts as a user runs it.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed } from '../../autograd/index.ts';
import { BertModel, BertTokenizer, GPT2LMHeadModel, Tokenizer, writeGenerationConfig } from '../../models/index.ts';
import { Speed } from '../../train/cli/generation.ts';
import { runScript } from '../support/script.ts';
import type { Finished } from '../support/script.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('generate script');
let folder = '';
temporaryFolder(test, (path) => {
  folder = path;
});

const run = (...args: string[]): Promise<Finished> => runScript(['train/generate.ts', ...args]);

test.before.each(async () => {
  manualSeed(1);
  const model = GPT2LMHeadModel.fromConfig({ nEmbd: 8, nLayer: 1, nHead: 2, nPositions: 32, initializerRange: 0.5 });
  await model.savePretrained(join(folder, 'model'), { tokenizer: Tokenizer.gpt2() });
});

function oneLine({ code, stderr, stdout }: Finished, expected: number, pattern: RegExp): void {
  assert.is(code, expected, stderr);
  assert.is(stdout, '');
  assert.is(stderr.trim().split('\n').length, 1, stderr);
  assert.match(stderr, pattern);
}

test('one text is written as it comes; the same seed gives the same; speed goes to stderr', async () => {
  const args = ['--model', join(folder, 'model'), 'Once upon', '--max-new-tokens', '12', '--top-k', '0'];
  const [first, again, other] = [await run(...args), await run(...args), await run(...args, '--seed', '1')];
  assert.is(first.code, 0, first.stderr);
  assert.match(first.stdout, /^Once upon.+\n$/s);
  assert.match(
    first.stderr,
    /^12 tokens in [\d.]+ s: the first 2 in [\d.]+ s \(prompt and compiling\), then [\d.]+ tokens\/s\n$/,
  );
  assert.is(again.stdout, first.stdout);
  assert.is.not(other.stdout, first.stdout);
});

test('a file of prompts: JSONL rows whose seed gives each text alone; the folder recommends options', async () => {
  await writeGenerationConfig(join(folder, 'model'), { maxNewTokens: 6, topK: 20, doSample: true });
  const [prompts, output] = [join(folder, 'prompts.txt'), join(folder, 'out', 'texts.jsonl')];
  writeFileSync(prompts, 'One day\n\nTwo men went out\nThree\n');
  const args = ['--model', join(folder, 'model'), '--batch-size', '2'];
  const finished = await run(...args, '--file', prompts, '--output', output, '--num-return-sequences', '2');
  assert.is(finished.code, 0, finished.stderr);
  const rows = readFileSync(output, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.equal(
    rows.map(({ prompt, seed, sample, tokens, finish }) => [prompt, seed, sample, tokens, finish]),
    ['One day', 'Two men went out', 'Three'].flatMap((prompt, i) =>
      [0, 1].map((sample) => [prompt, 42 + i, sample, 6, 'length']),
    ),
  );
  const alone = await run(...args, '--seed', '44', 'Three');
  assert.is(alone.stdout, `Three${rows[4]!['text'] as string}\n`);
  writeFileSync(join(folder, 'p.jsonl'), '{"prompt": "One day"}\n');
  const printed = await run(...args, '--file', join(folder, 'p.jsonl'), '--greedy', '--stop', 'x\\n');
  assert.is((JSON.parse(printed.stdout) as { prompt: string }).prompt, 'One day');
  const beams = await run(...args, 'One day', '--num-beams', '3', '--num-return-sequences', '2');
  assert.is(beams.stdout.split('One day').length, 3, beams.stdout);
});

test('mistakes are one line each', async () => {
  const model = join(folder, 'model');
  const bert = join(folder, 'bert');
  const tokenizer = BertTokenizer.fromVocab(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a']);
  await BertModel.fromConfig({
    vocabSize: 6,
    hiddenSize: 8,
    numHiddenLayers: 1,
    numAttentionHeads: 1,
    intermediateSize: 8,
  }).savePretrained(bert, { tokenizer });
  const narrow = join(folder, 'narrow');
  await GPT2LMHeadModel.fromConfig({ vocabSize: 9, nEmbd: 8, nLayer: 1, nHead: 1 }).savePretrained(narrow, {
    tokenizer: Tokenizer.gpt2(),
  });
  const empty = join(folder, 'empty.txt');
  writeFileSync(empty, '\n');
  const rows = join(folder, 'rows.jsonl');
  writeFileSync(rows, '{"text": "a"}\n');
  const long = 'word '.repeat(40);
  const bad: [string[], number, RegExp][] = [
    [['--model', join(folder, 'none'), 'x'], 1, /none does not exist: pass a folder/],
    [
      ['--model', bert, 'x'],
      1,
      /config\.json: model_type is "bert", which generates no text here; use one of .*gpt2, .*llama/,
    ],
    [['--model', narrow, 'x'], 1, /^generate: the tokenizer has 50257 ids, the model a vocabulary of 9/],
    [['--model', model, long], 1, /^generate: the prompt has 41 tokens, more than the model's 32 positions/],
    [['--model', model, 'x', '--temperature', '0'], 1, /^generate: temperature is 0: /],
    [['--model', model, 'x', '--top-p', '1.5'], 1, /^generate: topP is 1.5: /],
    [
      ['--model', model, 'x', '--greedy', '--num-return-sequences', '2'],
      1,
      /^generate: 2 texts for each prompt need doSample/,
    ],
    [['--model', model, '--file', rows], 1, /rows\.jsonl:1: no column "prompt" among text; each row needs it/],
    // Before the model is loaded, and the texts are lost.
    [['--model', join(folder, 'none'), '--output', folder, 'x'], 1, /^cannot write .*: it is a folder; choose a file/],
    [['--model', join(folder, 'none'), '--output', join(empty, 'x'), 'x'], 1, /empty\.txt is a file, not a folder/],
    [['--model', model, '--file', empty], 1, /empty\.txt: no prompts; write one a line/],
    [['--model', model, '--file', empty, 'x'], 2, /^generate: give prompts or --file, not both; got "x" too/],
    [['--model', model, '--file', join(folder, 'no.txt')], 2, /^generate: --file: there is no file /],
  ];
  for (const [args, code, says] of bad) oneLine(await run(...args), code, says);
});

test('speed', () => {
  let now = 0;
  const speed = new Speed(() => now);
  for (const at of [500, 3000, 3100, 3200]) {
    now = at;
    speed.addToken();
  }
  assert.is(`${speed}`, '4 tokens in 3.2 s: the first 2 in 3.00 s (prompt and compiling), then 10.0 tokens/s');
  const whole = new Speed(() => now);
  whole.addTexts(30);
  now = 5200;
  assert.is(`${whole}`, '30 tokens in 2.0 s: 15.0 tokens/s');
});

test.run();
