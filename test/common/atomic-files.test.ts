// Files are written whole or not at all: full disks, failures on the way, places that are no places.
import { spawnSync } from 'node:child_process';
import { mkdir, readFile, readdir, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { writeFileAtomic, writeFilesAtomic, writeFolderAtomic } from '../../common/atomic-files.ts';
import { checkOutputFolder, writeError } from '../../common/staged-file.ts';
import { failure } from '../support/failure.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('atomic writes');

let folder = '';
let path = '';
temporaryFolder(test, (made) => {
  folder = made;
  path = join(folder, 'model.safetensors');
});

test('writeFileAtomic makes folders, replaces files and leaves no others', async () => {
  const file = join(folder, 'a', 'b', 'c.txt');
  await writeFileAtomic(file, 'one');
  await writeFileAtomic(file, new TextEncoder().encode('twö'));
  assert.is(await readFile(file, 'utf8'), 'twö');
  assert.equal(await readdir(join(folder, 'a', 'b')), ['c.txt']);
});

test('files that belong together are replaced together', async () => {
  const files = ['a', 'b'].map((name) => join(folder, name));
  await writeFilesAtomic(files.map((file) => ({ path: file, data: 'old' })));
  const failing = () => Promise.reject(new Error('stopped'));
  assert.is(
    await failure(
      writeFilesAtomic([
        { path: files[0]!, data: 'new' },
        { path: files[1]!, data: failing },
      ]),
    ),
    'stopped',
  );
  assert.equal(await Promise.all(files.map((file) => readFile(file, 'utf8'))), ['old', 'old']);
  assert.equal((await readdir(folder)).sort(), ['a', 'b']);
});

test('a place that is no place is named', async () => {
  await writeFile(join(folder, 'file'), '');
  assert.match(
    await failure(writeFileAtomic(join(folder, 'file', 'x'), '')),
    /^cannot write .*x: a part of .* is a file/,
  );
  await mkdir(join(folder, 'inner', 'most'), { recursive: true });
  assert.match(await failure(writeFileAtomic(join(folder, 'inner'), '')), /^cannot write .*inner: it is a folder/);
  assert.equal(await readdir(folder).then((names) => names.sort()), ['file', 'inner']);
});

test('a folder that cannot be written is told before the work', async () => {
  const at = (...names: string[]): string => join(folder, 'places', ...names);
  await mkdir(at('folder'), { recursive: true });
  await writeFile(at('file'), '');
  for (const place of [at('folder'), at('new'), at('new', 'below')]) await checkOutputFolder(place);
  assert.equal((await readdir(at())).sort(), ['file', 'folder']);
  for (const place of [at('file'), at('file', 'below', 'it')])
    assert.match(await failure(checkOutputFolder(place)), /^cannot write .*: .*places.file is a file, not a folder; /);
  if (process.platform === 'win32') return;
  await symlink(at('nowhere'), at('link'));
  assert.match(await failure(checkOutputFolder(at('link', 'run'))), /link is a link that leads nowhere, not a folder/);
});

test('a folder that was not filled leaves none of those made for it', async () => {
  const stopped = (): Promise<void> => Promise.reject(new Error('stopped'));
  assert.is(await failure(writeFolderAtomic(join(folder, 'run', 'corpus', 'new'), 'meta.json', stopped)), 'stopped');
  assert.not.ok((await readdir(folder)).includes('run'));
});

test('errors of the system say what to do', () => {
  const error = (code: string): string => writeError('x', Object.assign(new Error('raw'), { code })).message;
  assert.match(error('ENOSPC'), /^cannot write x: the disk is full; free some space .* \(nothing was replaced\)$/);
  assert.match(error('EDQUOT'), /quota/);
  assert.match(error('EACCES'), /no permission/);
  assert.match(error('EROFS'), /read-only file system/);
  assert.match(error('EBUSY'), /^cannot write x: raw/);
});

const isRoot = process.getuid?.() === 0;
if (isRoot && spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()]).status === 0)
  test('a disk that is only read is told, also of a folder that is not there', async () => {
    const module = new URL('../../common/staged-file.ts', import.meta.url).href;
    const place = join(folder, 'disk');
    await mkdir(place);
    const check = `await (await import(${JSON.stringify(module)})).checkOutputFolder(process.env.TARGET)`;
    const node = `"${process.execPath}" --import tsx --input-type=module -e '${check}'`;
    const script = `mount -t tmpfs -o ro tmpfs "${place}" && ${node}`;
    const { stderr } = spawnSync('unshare', ['-rm', 'sh', '-c', script], {
      encoding: 'utf8',
      env: { ...process.env, TARGET: join(place, 'new', 'run') },
    });
    assert.match(stderr, /cannot write .*run: .*disk is on a read-only file system; choose another folder/);
  });

// Saves 8 MB over an old file in another process, whose disk is too small for it.
const writer = new URL('../../models/io/safetensors.ts', import.meta.url).href;
const saveScript = `
  const { writeSafetensors } = await import(${JSON.stringify(writer)});
  const data = () => new Float32Array(1 << 20);
  const tensors = ['a', 'b'].map((name) => ({ name, dtype: 'F32', shape: [1 << 20], data }));
  await writeSafetensors(process.env.TARGET, tensors).then(() => process.exit(0), (error) => {
    console.log(error.message);
    process.exit(7);
  });`;
const node = [process.execPath, ...process.execArgv, '--input-type=module', '-e', saveScript];

function checkSurvival(shell: string[], environment: Record<string, string>, message: RegExp): void {
  const { status, stdout, stderr } = spawnSync(shell[0]!, [...shell.slice(1), ...node], {
    encoding: 'utf8',
    env: { ...process.env, ...environment },
  });
  assert.is(status, 7, stderr);
  assert.match(stdout, message);
  assert.is(stdout.trim().split('\n').length, 1);
}

if (process.platform !== 'win32') {
  test('a save past the allowed file size fails in one line, and the old file survives', async () => {
    await writeFile(path, 'the old file');
    const shell = ['sh', '-c', 'ulimit -f 8192; exec "$0" "$@"'];
    checkSurvival(shell, { TARGET: path }, /^cannot write .*larger than the system allows.*nothing was replaced/);
    assert.is(await readFile(path, 'utf8'), 'the old file');
    assert.equal(await readdir(folder), ['model.safetensors']);
  });
}

// A file system of 6 MB for one process and its children; not every container allows it.
if (spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()]).status === 0) {
  test('a save to a full disk fails in one line, and the old file survives', () => {
    const mount = 'mount -t tmpfs -o size=6m tmpfs "$DISK" && printf old > "$TARGET"';
    const check = '[ "$(ls -A "$DISK")" = model.safetensors ] && [ "$(cat "$TARGET")" = old ] || exit 9';
    const shell = ['unshare', '-rm', 'sh', '-c', `${mount}; "$0" "$@"; status=$?; ${check}; exit $status`];
    checkSurvival(shell, { DISK: folder, TARGET: path }, /^cannot write .*the disk is full.*nothing was replaced/);
  });
}

test.run();
