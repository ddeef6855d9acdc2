// `sweep`: the settings that are tried, rounds of halving, and a small sweep from start to end.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { flagsInHelp, rungsOf, settingsOf, wordsOf } from '../../train/sweep/space.ts';
import type { SpaceOptions } from '../../train/sweep/space.ts';
import { reviews, smallClassifier } from '../support/reviews.ts';
import { refused, runScript } from '../support/script.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('sweep');
let folder = '';
temporaryFolder(test, (made) => (folder = made));

const flags = flagsInHelp(`finetune: Trains.

Options:
      --learning-rate NUMBER   default 2e-5 with --model, else 1e-3 (0 or more)
  -o, --output PATH            folder
      --epochs INT             passes over the training examples, of which there are many (1 or more;
                               default 3)
      --batch-size INT         examples a step (1 or more; default 16)
      --[no-]tune-thresholds   tune (default true)
  -h, --help                   print this page`);
const space = (options: Partial<SpaceOptions>) =>
  settingsOf({ grid: [], random: [], trials: 8, seed: 1, ...options }, flags).map((each) => wordsOf(each).join(' '));

test("a script's flags and defaults are those of its --help", () => {
  assert.equal(
    [...flags],
    [
      ['learning-rate', undefined],
      ['output', undefined],
      ['epochs', '3'],
      ['batch-size', '16'],
      ['tune-thresholds', 'true'],
      ['help', undefined],
    ],
  );
});

test('a grid has every pair; draws lie in their range, each at every point', () => {
  assert.equal(space({ grid: ['lr=1e-5,2e-5', 'batchSize=8,16'] }), [
    '--learning-rate=1e-5 --batch-size=8',
    '--learning-rate=1e-5 --batch-size=16',
    '--learning-rate=2e-5 --batch-size=8',
    '--learning-rate=2e-5 --batch-size=16',
  ]);
  const options = { grid: ['epochs=1,2'], random: ['lr=log:1e-6:1e-2', 'batch-size=int:8:9'], trials: 200 };
  const drawn = space(options).map((words) => words.match(/[\d.e-]+(?= |$)/g)!.map(Number));
  assert.is(drawn.length, 400);
  assert.equal(
    drawn.filter((_, i) => i % 2 === 0).map(([epochs]) => epochs),
    new Array(200).fill(1),
  );
  const rates = drawn.map(([, rate]) => rate!);
  assert.ok(rates.every((rate) => rate >= 1e-6 && rate <= 1e-2));
  // Evenly in the logarithm: about half lie below the geometric mean, not a hundredth of them.
  const below = rates.filter((rate) => rate < 1e-4).length / rates.length;
  assert.ok(below > 0.4 && below < 0.6, String(below));
  assert.equal([...new Set(drawn.map(([, , size]) => size))].sort(), [8, 9]);
  assert.equal(space({ ...options, trials: 3 }), space(options).slice(0, 6), 'draw i is the same of any number');
});

const faults: readonly (readonly [options: Partial<SpaceOptions>, says: RegExp])[] = [
  [
    { grid: ['lerning-rate=1'] },
    /^--grid lerning-rate: the script has no flag --lerning-rate; did you mean --learning-rate\?$/,
  ],
  [{ grid: ['lr'] }, /^--grid lr: write a flag and its values/],
  [{ random: ['lr=log:0:1'] }, /^--random lr=log:0:1: needs two numbers above 0, the lower one first$/],
  [{ random: ['lr=2:1'] }, /needs two numbers, the lower one first$/],
  [{ random: ['epochs=int:1:2.5'] }, /needs two whole numbers/],
  [{ random: ['lr=1'] }, /write LOW:HIGH, log:LOW:HIGH/],
  [{ grid: ['lr=1,2'], random: ['learningRate=1:2'] }, /^--learning-rate is in --grid and --random/],
];
for (const [options, says] of faults)
  test(`refused in a line: ${JSON.stringify(options)}`, () => assert.throws(() => space(options), says));

test('halving: the best third of each round has three times as much, up to all of it', () => {
  assert.equal(rungsOf(9, 9), [
    { budget: 1, settings: 9 },
    { budget: 3, settings: 3 },
    { budget: 9, settings: 1 },
  ]);
  assert.equal(rungsOf(8, 3), [
    { budget: 1, settings: 8 },
    { budget: 3, settings: 3 },
  ]);
  assert.equal(rungsOf(2, 100), [{ budget: 100, settings: 2 }]);
});

test('a small sweep: a trial that fails is told, the best goes on, and what is done stays done', async () => {
  const [data, output] = [join(folder, 'reviews.csv'), join(folder, 'sweep')];
  writeFileSync(data, reviews);
  const args = ['--script', 'finetune-classifier', '--grid', 'lr=1e-5,0.02,1e30', '--halving', '--output', output];
  const shared = ['--', '--data', data, '--epochs', '3', ...smallClassifier.slice(0, -2)];
  const sweep = (more: readonly string[] = []) => runScript(['train/sweep.ts', ...args, ...more, ...shared]);
  const { code, stdout, stderr } = await sweep();
  assert.is(code, 0, stderr + stdout);
  const lines = stdout.split('\n');
  assert.match(lines[0]!, /^sweep {2}finetune-classifier: 4 trials into /);
  assert.match(lines[1]!, /^1\/4 {2}000 {2}--learning-rate=1e-5 --epochs=1 {2}loss 0\.\d{4}$/);
  assert.match(lines[2]!, /^2\/4 {2}001 {2}--learning-rate=0\.02 --epochs=1 {2}loss 0\.\d{4}$/);
  assert.match(lines[3]!, /^3\/4 {2}002 .* failed after \d+s \(step \d+: the loss became NaN.*\), see .*002\.log$/);
  const loss = (line: string): number => Number(/loss (0\.\d{4})/.exec(line)![1]);
  const better = loss(lines[1]!) < loss(lines[2]!) ? '1e-5' : '0.02';
  assert.ok(lines[4]!.startsWith(`4/4  003  --learning-rate=${better} --epochs=3  loss 0.`), stdout);
  // Best first, with what differs.
  assert.match(lines[6]!, /^run +learningRate +epochs +steps +time +training loss +loss /);
  const losses = lines.slice(7, 10).map((line) => Number.parseFloat(line.split(/ {2,}/)[6]!));
  assert.equal(
    losses,
    [...losses].sort((x, y) => x - y),
  );
  assert.match(readFileSync(join(output, 'compare.html'), 'utf8'), /<h1>3 runs compared<\/h1>/);

  const log = readFileSync(join(output, '003', 'log.jsonl'), 'utf8');
  const again = await sweep();
  assert.is(again.code, 0, again.stderr);
  assert.is(again.stdout.match(/\(was there\)/g)?.length, 3);
  assert.is(readFileSync(join(output, '003', 'log.jsonl'), 'utf8'), log, 'not trained again');
  refused(
    await sweep(['--trials', '9']),
    2,
    /holds another sweep \(--trials differ\); name another --output, or remove it$/,
  );
});

test('what cannot be swept is refused before a trial', async () => {
  const sweep = (...args: string[]) => runScript(['train/sweep.ts', ...args, '--output', join(folder, 'none')]);
  refused(await sweep('--script', 'finetune-clasifier', '--seeds', '2'), 2, /did you mean finetune-classifier\?$/);
  refused(await sweep('--script', 'doctor', '--seeds', '2'), 2, /--script doctor is no script that trains a run$/);
  refused(await sweep('--script', 'finetune-classifier'), 2, /there is nothing to try; give --grid/);
});

test.run();
