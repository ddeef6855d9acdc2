import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { filesBelow, root } from './support/files.ts';

/** docs/environment.md lists every environment variable that the sources read, and no other. */
const test = suite('environment variables');

const text = (file: string): string => readFileSync(join(root, file), 'utf8');

/** Variables that a test gives to its own child process. */
const ofTests = ['TARGET', 'DISK', 'KILL_AT', 'LOSE_DEVICE_AT', 'HOLD_FOLDER', 'KEEP_FROM'];
/** Its run.sh lists its own variables, and what it sets for its stages. */
const itsOwn = 'bench/gpu-day/';

/** Names after `process.env` or `env`, and names of the project's and the Vulkan loader's kind anywhere. */
const reads = [
  /\benv(?:\.|\[['"])([A-Z][A-Z0-9_]+)/g,
  /\b((?:TAPEFORM|VK)_[A-Z0-9_]*[A-Z0-9])\b/g,
  /\{ ([A-Z][A-Z0-9_]+)[^}]*\} = process\.env/g,
];

const files = ['common', 'gpu', 'kernels', 'autograd', 'models', 'distributed', 'train', 'bench', 'test']
  .flatMap((room) => filesBelow(room, '.ts'))
  .filter((file) => !file.startsWith(itsOwn) && file !== 'test/environment.test.ts');
const read = new Map<string, string>();
for (const file of files) {
  const source = text(file);
  for (const pattern of reads) for (const [, name] of source.matchAll(pattern)) read.set(name!, file);
}
for (const name of ofTests) read.delete(name);

const listed = [...text('docs/environment.md').matchAll(/^\| `([A-Z0-9_]+)` \|/gm)].map(([, name]) => name!);

test('every variable that is read is in the table', () => {
  assert.ok(read.size > 20, `only ${read.size} variables were found`);
  const missing = [...read].filter(([name]) => !listed.includes(name));
  assert.equal(missing, [], 'add these to docs/environment.md');
});

test('every variable in the table is read, and listed once', () => {
  assert.equal(listed.filter((name) => !read.has(name)), []); // prettier-ignore
  assert.is(new Set(listed).size, listed.length);
});

test.run();
