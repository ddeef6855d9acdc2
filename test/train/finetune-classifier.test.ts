import { spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  cpSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { lossesIn, refused, runScript } from '../support/script.ts';
import { reviews, smallClassifier } from '../support/reviews.ts';
import type { Finished, ScriptOptions } from '../support/script.ts';

const test = suite('finetune-classifier');
const folder = mkdtempSync(join(tmpdir(), 'tapeform-finetune-'));
const data = join(folder, 'reviews.csv');
const small = smallClassifier;
writeFileSync(data, reviews);

const run = (args: readonly string[], options?: ScriptOptions): Promise<Finished> =>
  runScript(['train/finetune-classifier.ts', ...args], options);

const whole = join(folder, 'whole');

test('trains, tests, saves a folder in the Hugging Face layout, predicts from it', async () => {
  const done = await run(['--data', data, '--output', whole, '--epochs', '6', ...small]);
  assert.is(done.code, 0, done.stderr);
  assert.match(done.stdout, /macro avg/);
  assert.match(done.stdout, /F1 of good 1\.000; always "/);
  const word = '\\S+ [+-]\\d\\.\\d\\d';
  assert.match(
    done.stdout,
    new RegExp(`^which words count, .*\\n(?:(?:good|bad) {2}${word}(?:, ${word})*\\n?){3}`, 'm'),
  );
  const files = readdirSync(whole);
  for (const name of [
    'config.json',
    'model.safetensors',
    'tokenizer.json',
    'vocab.txt',
    'curves.svg',
    'explanations.html',
    'report.html',
    'log.jsonl',
    'run.json',
    'trainer_state.json',
  ])
    assert.ok(files.includes(name), name);
  const config = JSON.parse(readFileSync(join(whole, 'config.json'), 'utf8')) as Record<string, unknown>;
  assert.equal(config['id2label'], { 0: 'bad', 1: 'good' });
  assert.equal(config['architectures'], ['BertForSequenceClassification']);

  const predicted = await run(['--predict', '--model', whole, 'wonderful day', 'terrible day']);
  assert.is(predicted.code, 0, predicted.stderr);
  assert.match(predicted.stdout.trim(), /^good {2}0\.\d+ {2}wonderful day\nbad {3}0\.\d+ {2}terrible day$/);
});

test('Ctrl-C saves, --resume goes on to the losses of a run never stopped', async () => {
  const output = join(folder, 'stopped');
  const args = ['--data', data, '--output', output, '--epochs', '6', ...small];
  let sent = false;
  const stopped = await run(args, {
    onStderr: (text, interrupt) => {
      if (sent || !/step \d+\/36/.test(text)) return;
      sent = true;
      interrupt();
    },
  });
  assert.is(stopped.code, 130, stopped.stderr);
  assert.match(stopped.stderr, /stopped at step \d+ of 36, saved in .*checkpoint-\d+; /);
  assert.match(stopped.stderr, /; go on with: node --import tsx train\/finetune-classifier\.ts .*--resume\n$/);
  const resumed = await run([...args, '--resume']);
  assert.is(resumed.code, 0, resumed.stderr);
  assert.equal(lossesIn(output), lossesIn(whole));
  assert.is(lossesIn(whole).length, 36);
});

test('a resumed run must be the same run', async () => {
  const output = join(folder, 'every');
  let sent = false;
  const first = await run(['--data', data, '--output', output, '--epochs', '4', '--save-every', '2', ...small], {
    onStderr: (text, interrupt) => {
      if (sent || !/step \d+\/24/.test(text)) return;
      sent = true;
      interrupt();
    },
  });
  assert.is(first.code, 130, first.stderr);
  refused(
    await run(['--data', data, '--output', output, '--epochs', '2', '--resume', ...small]),
    1,
    /belongs to a run with other options or data \(steps 24 -> 12, .*epochs 4 -> 2\)/,
  );
  const args = ['--output', output, '--epochs', '4', '--save-every', '2', ...small];
  const text = readFileSync(data, 'utf8');
  const other = join(folder, 'other.csv');
  // As many texts of as many words: one word is another.
  writeFileSync(other, text.replace('wonderful', 'terrible'));
  const hash = '"?[0-9a-f]{12}"?';
  refused(
    await run(['--data', other, '--resume', ...args]),
    1,
    new RegExp(`other options or data \\(data ${hash} -> ${hash}(, validation ${hash} -> ${hash})?\\); resume with`),
  );
  refused(await run(['--data', data, '--resume', ...args, '--max-length', '5']), 1, /maxLength \d+ -> 5, data/);
  const anyway = await run(['--data', other, '--resume-anyway', ...args]);
  assert.is(anyway.code, 0, anyway.stderr);
  assert.match(anyway.stderr, /^warning: .* belongs to a run with other options or data .*, and goes on anyway$/m);
});

// A small disk of its own needs a user namespace, which some containers refuse; there
// test/models/atomic.test.ts still covers the writes.
const canMount = spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()]).status === 0;
if (canMount) {
  test('a full disk: one line, and the older model is as it was', async () => {
    const disk = join(folder, 'disk');
    mkdirSync(disk);
    const bytes = (folder: string): number =>
      readdirSync(folder, { withFileTypes: true })
        .map((entry) =>
          entry.isDirectory() ? bytes(join(folder, entry.name)) : statSync(join(folder, entry.name)).size,
        )
        .reduce((a, b) => a + b, 0);
    const size = Math.ceil(bytes(whole) / 1024) + 500;
    const script = `mount -t tmpfs -o size=${size}k tmpfs ${disk} && cp -r ${whole}/* ${disk} && "$@"; status=$?
for file in model.safetensors config.json vocab.txt best/model.safetensors; do
  cmp ${disk}/$file ${whole}/$file || exit 99
done
find ${disk} -name '*.tmp*' | grep . && exit 98; exit $status`;
    const failed = await run(['--data', data, '--output', disk, '--epochs', '1', ...small], {
      under: ['unshare', '-rm', 'sh', '-c', script, 'sh'],
    });
    assert.is(failed.code, 1, failed.stderr + failed.stdout);
    assert.match(failed.stderr.trim().split('\n').at(-1)!, /^cannot write .*disk is full.*\(nothing was replaced\)$/);
  });
}

test('bad input: one line that names the mend', async () => {
  const file = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };
  const damaged = join(folder, 'damaged');
  cpSync(whole, damaged, { recursive: true });
  const weights = join(damaged, 'model.safetensors');
  truncateSync(weights, statSync(weights).size - 100);
  const foreign = join(folder, 'foreign');
  cpSync(whole, foreign, { recursive: true });
  writeFileSync(join(foreign, 'model.safetensors'), 'not a checkpoint at all');

  const cases: readonly (readonly [args: readonly string[], code: number, pattern: RegExp])[] = [
    [['--epoch', '3'], 2, /unknown flag --epoch; did you mean --epochs\?/],
    [['--epochs', '0'], 2, /--epochs/],
    [['--learning-rate', 'fast'], 2, /--learning-rate/],
    [['--predict', 'some text'], 2, /--predict needs a trained model: --model FOLDER/],
    [['--resume', '--output', join(folder, 'none')], 2, /has no checkpoint to resume/],
    [
      ['--from-scratch', '--hidden', '10', '--heads', '4', '--data', data],
      2,
      /--hidden 10 must be a multiple of --heads 4/,
    ],
    [['--from-scratch', '--model', whole], 2, /give --model or --from-scratch, not both/],
    [['--lora', '4', '--quantize-aware', '4'], 2, /--quantize-aware trains the weights, and an adapter leaves them/],
    [['--data', join(folder, 'absent.csv')], 1, /absent\.csv/],
    // Where it cannot write is told before it reads.
    [
      ['--data', join(folder, 'absent.csv'), '--output', join(data, 'run')],
      1,
      /^cannot write .*run: .*reviews\.csv is a file, not a folder; choose another folder$/,
    ],
    [['--data', file('empty.csv', '')], 1, /empty\.csv/],
    [['--data', file('header.csv', 'text,label\n')], 1, /header\.csv/],
    [
      ['--data', file('one-class.csv', 'text,label\na b,x\nc d,x\n')],
      1,
      /one-class\.csv: all 2 rows have the label "x"/,
    ],
    [['--data', file('columns.csv', 'sentence,label\na b,x\n')], 1, /columns\.csv.*text/],
    [
      ['--data', data, '--test-data', file('other.csv', 'text,label\na b,ugly\n')],
      1,
      /other\.csv:2: unknown label "ugly"/,
    ],
    [['--data', data, '--model', join(folder, 'nowhere')], 1, /nowhere does not exist: pass a folder/],
    [['--data', data, '--model', damaged], 1, /model\.safetensors.*truncated|truncated.*model\.safetensors/],
    [['--data', data, '--model', foreign], 1, /model\.safetensors is no safetensors file/],
  ];
  for (const [args, code, pattern] of cases) refused(await run(args), code, pattern);
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();
