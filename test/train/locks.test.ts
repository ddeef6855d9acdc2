import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { lockFolder } from '../../common/lock.ts';
import { train } from '../../train/trainer/trainer.ts';
import { chainRun } from '../support/chain-task.ts';
import { failure } from '../support/failure.ts';
import { refused, runScript } from '../support/script.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('locks');
let folder = '';
temporaryFolder(test, (path) => (folder = path));

const inUse = new RegExp(
  `is in use by process ${process.pid}( \\(node .*\\) since [\\d:]+)?; wait for its end, or choose`,
);

test('every script that writes a folder refuses one that another process writes', async () => {
  const [text, output] = [join(folder, 'text.txt'), join(folder, 'run')];
  writeFileSync(text, 'One line.\n');
  mkdirSync(output);
  const lock = await lockFolder(output);
  const scripts = [
    ['train/finetune-classifier.ts'],
    ['train/pretrain-bert.ts', '--data', text],
    ['train/pretrain-gpt.ts', '--data', text],
    ['train/adapt.ts', '--model', folder, '--data', text],
    ['train/compare-objectives.ts'],
    ['train/train-tokenizer.ts', '--data', text],
    ['train/prepare-data.ts', 'all', text, '--tokenizer', folder],
    ['train/prepare-data.ts', 'clean', text],
    ['train/export.ts', '--model', folder],
  ];
  const ended = await Promise.all(scripts.map((script) => runScript([...script, '--output', output])));
  for (const each of ended) refused(each, 1, inUse);
  lock.release();
  const { code, stderr } = await runScript(['train/train-tokenizer.ts', '--data', text, '--output', output]);
  assert.is(code, 0, stderr);
});

test('two calls of train in one folder: the second is refused, the first goes on', async () => {
  const output = join(folder, 'run');
  const first = train(chainRun(output, { steps: 12, learningRate: 0.01 }));
  const second = await failure(train(chainRun(output, { steps: 12, learningRate: 0.01 })));
  assert.match(second, /is in use by this process itself/);
  assert.is((await first).steps.length, 12);
  assert.is((await train(chainRun(output, { steps: 12, learningRate: 0.01 }))).steps.length, 12);
});

test.run();
