// The command `tapeform`: its list is the scripts that are there, and it starts them as Node would.
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../support/files.ts';
import { runScript } from '../support/script.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('tapeform');
let folder = '';
temporaryFolder(test, (made) => (folder = made));

const tapeform = (...args: string[]) => runScript(['train/tapeform.ts', ...args]);

test('lists every script of train/, a line each, and nothing else of it', async () => {
  const { code, stdout } = await tapeform('--help');
  assert.is(code, 0);
  const listed = new Set(stdout.split('\n').map((line) => /^ {2}([\w-]+) +\S/.exec(line)?.[1]));
  for (const name of await readdir(join(root, 'train'))) {
    if (!name.endsWith('.ts') || name === 'index.ts' || name === 'tapeform.ts') continue;
    const text = await readFile(join(root, 'train', name), 'utf8');
    assert.is(listed.has(name.slice(0, -3)), /^main\(/m.test(text), name);
  }
  for (const line of stdout.trimEnd().split('\n')) assert.ok(line.length <= 100, line);
});

test('a name that is none is refused in a line that names the nearest', async () => {
  const { code, stderr } = await tapeform('genrate');
  assert.is(code, 2);
  assert.is(stderr, 'tapeform: there is no command "genrate" here; did you mean generate? (--help lists them)\n');
});

test('a command gets its own arguments, and its errors are those of the script', async () => {
  const help = await tapeform('export', '--help');
  assert.is(help.code, 0);
  assert.match(help.stdout, /^export: Writes a trained model/);
  const wrong = await tapeform('export', '--output', 'x');
  assert.is(wrong.code, 2);
  assert.match(wrong.stderr, /^export: --model is required/);
});

test('shells complete the names', async () => {
  const { stdout } = await tapeform('completion', 'bash');
  assert.match(stdout, /^complete -o default -W 'new doctor .* completion' tapeform/);
  const { code, stderr } = await tapeform('completion');
  assert.is(code, 2);
  assert.is(stderr, 'completion: name your shell, bash, zsh or fish, got ""\n');
});

test('doctor looks at everything, and a driver that is none is bad, with the mend', async () => {
  const good = await tapeform('doctor');
  assert.is(good.code, 0, good.stdout + good.stderr);
  for (const about of ['Node', 'tapeform', 'webgpu', 'adapter', 'driver', 'memory', 'cache', 'small models'])
    assert.match(good.stdout, new RegExp(`^(ok|note) +${about} `, 'm'));
  assert.match(good.stdout, /a product +is computed right/);
  assert.is(good.stdout.includes('\u001b'), false);
  // Node as it was installed: the driver's own brings one.
  const env = { ...process.env, VK_DRIVER_FILES: '/none', TAPEFORM_DRIVER: 'system' };
  const node = process.env.TAPEFORM_NODE ?? process.execPath;
  const args = ['--import', 'tsx', 'train/tapeform.ts', 'doctor'];
  const works = promisify(execFile)(node, args, { cwd: root, env }).then(({ stdout }) => ({ code: 0, stdout }));
  const bad = await works.catch((error: { readonly code: number; readonly stdout: string }) => error);
  assert.is(bad.code, 1);
  assert.match(bad.stdout, /^BAD +adapter +none\n +-> .+; .+\n/m);
  assert.match(bad.stdout, /\n1 of these must be mended first\n$/);
});

test('a starter project is written into a folder of its own', async () => {
  const path = join(folder, 'my-model');
  const { code, stdout } = await tapeform('new', path);
  assert.is(code, 0);
  assert.is(stdout, `wrote  ${path}; go on with: cd ${path} && npm install && npm start\n`);
  assert.equal((await readdir(path)).sort(), ['.gitignore', 'data', 'main.ts', 'package.json', 'tsconfig.json']);
  const again = await tapeform('new', path);
  assert.is(again.code, 2);
  assert.match(again.stderr, /^new: .*my-model is there and not empty; name another\n$/);
  const { stderr } = await tapeform('new', join(folder, 'My Model'));
  assert.match(stderr, /^new: "My Model" is no name of a package/);
});

test.run();
