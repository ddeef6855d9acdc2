import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { goldenFile } from '../support/golden.ts';
import { questionLines } from '../support/questions.ts';
import { refused, resumesAs, runScript } from '../support/script.ts';
import type { Finished, ScriptOptions } from '../support/script.ts';

const test = suite('finetune-qa');
const folder = mkdtempSync(join(tmpdir(), 'tapeform-finetune-qa-'));
const data = join(folder, 'animals.jsonl');
writeFileSync(data, questionLines(30));
const small = ['--data', data, '--model', goldenFile('tiny-bert-qa'), '--max-length', '32', '--batch-size', '8'];
const training = [...small, '--epochs', '5', '--learning-rate', '0.03', '--save-every', '3'];
const run = (args: readonly string[], options?: ScriptOptions): Promise<Finished> =>
  runScript(['train/finetune-qa.ts', ...args], options);
const whole = join(folder, 'whole');

test('trains, tests beside the baseline, saves a folder in the Hugging Face layout, answers from it', async () => {
  const done = await run([...training, '--output', whole]);
  assert.is(done.code, 0, done.stderr);
  assert.match(done.stdout, /60 questions about 30 texts\n {7}\d+ to train, \d+ to validate, \d+ to test/);
  const [, f1] = /^this model +\d+\.\d +(\d+\.\d)$/m.exec(done.stdout)!;
  const [, simple] = /^the sentence with .* +(\d+\.\d)$/m.exec(done.stdout)!;
  assert.ok(Number(f1) > Number(simple) + 20, done.stdout);
  const report = readFileSync(join(whole, 'report.html'), 'utf8');
  assert.match(report, /<h2>Test<\/h2>[^]*>this model<[^]*<h2>Samples<\/h2>/);
  assert.ok(report.includes(`<dt>test F1</dt><dd>${f1}`), 'the page has the score that was printed');
  const config = JSON.parse(readFileSync(join(whole, 'config.json'), 'utf8')) as Record<string, unknown>;
  assert.equal(config['architectures'], ['BertForQuestionAnswering']);

  const context = 'in b9 an dog ran x to the fire.';
  const asked = await run(['--model', whole, '--ask', 'who ran?', '--ask', 'where?', '--context', context]);
  assert.is(asked.code, 0, asked.stderr);
  assert.match(asked.stdout, /^who ran\?\n0\.\d+ {2}\S.* {3}\.\.\..*\[\d+, \d+\)/);
  assert.match(asked.stdout, /\nwhere\?\n0\.\d+ {2}/);
});

test('kill -9, then --resume: the losses and the weights of a run never stopped, bit for bit', async () => {
  const output = join(folder, 'killed');
  await run([...training, '--output', output], { killAt: join(output, 'checkpoint-6') });
  await resumesAs(whole, output, () => run([...training, '--output', output, '--resume']));
});

test('bad input: one line that names the mend', async () => {
  const wrong = join(folder, 'wrong.jsonl');
  const row = { question: 'who?', context: 'the fox ran', answers: [{ text: 'fox', answer_start: 5 }] };
  writeFileSync(wrong, JSON.stringify(row));
  const cases: readonly (readonly [args: readonly string[], code: number, pattern: RegExp])[] = [
    [[], 2, /needs questions to train on: --data FILE, SQuAD's JSON, or JSONL/],
    [
      ['--ask', 'who?', '--model', whole, '--context', 'boook.txt'],
      2,
      /--context boook\.txt is no file; give a file, or/,
    ],
    [['--data', wrong], 1, /wrong\.jsonl:1: its answer "fox" is not at 5 .* set answer_start to 4/],
    [
      ['--ask', 'who?', '--model', goldenFile('tiny-bert'), '--context', 'x'],
      1,
      /holds a "BertForPreTraining" without the head/,
    ],
    [[...small, '--max-length', '999', '--output', join(folder, 'long')], 1, /the model has positions for 128; make/],
  ];
  const finished = await Promise.all(cases.map(([args]) => run(args)));
  cases.forEach(([, code, pattern], i) => refused(finished[i]!, code, pattern));
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();
