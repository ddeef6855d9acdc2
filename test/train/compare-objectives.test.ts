import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { runScript } from '../support/script.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('compare-objectives');

let folder = '';
temporaryFolder(test, (path) => (folder = path));

test('two objectives, two seeds: a table and every number in results.json', async () => {
  const sizes = '--layers 1 --hidden 16 --batch-size 4 --context 32 --steps 3 --evaluation-batches 2 --vocab-size 400';
  const args = [...sizes.split(' '), '--seeds', '2', '--probe-steps', '0', '--data', 'moby-dick', '--output', folder];
  const { code, stdout, stderr } = await runScript(['train/compare-objectives.ts', ...args]);
  assert.is(code, 0, stderr);
  assert.match(stdout, /mlm .* mlm +\d\.\d{3} ± /);
  assert.match(stdout, /rotary-fill .* fill +\d\.\d{3} ± /);
  const { runs } = JSON.parse(await readFile(join(folder, 'results.json'), 'utf8')) as {
    runs: { objective: string; seed: number; losses: Record<string, number>; tokens: number }[];
  };
  assert.equal(
    runs.map(({ objective, seed, losses }) => [objective, seed, Object.keys(losses)]),
    [0, 1].flatMap((seed) => [
      ['mlm', seed, ['mlm']],
      ['rotary-fill', seed, ['fill', 'detect']],
    ]),
  );
  assert.ok(
    runs.every(({ tokens }) => tokens === 3 * 4 * 32),
    'equal tokens',
  );
});

test('bad options are refused in one line', async () => {
  const says = async (args: readonly string[], message: RegExp): Promise<void> => {
    const { code, stderr } = await runScript(['train/compare-objectives.ts', ...args]);
    assert.is(code, 2);
    assert.match(stderr, message);
    assert.is(stderr.trim().split('\n').length, 1);
  };
  await says(['--objectives', 'mlm,foo'], /there is no objective "foo"; choose among mlm, /);
  await says(['--hidden', '10', '--heads', '3'], /--hidden 10 must be a multiple of --heads 3/);
});

test.run();
