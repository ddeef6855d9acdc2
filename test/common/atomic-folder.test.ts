// A folder that several processes save and open: who is waited for, who is finished, who is left alone.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, chmod, mkdir, readFile, readdir, rename, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { writeFilesAtomic, writeFolderAtomic } from '../../common/atomic-files.ts';
import { namesIn, readFolder, recoverFolder } from '../../common/atomic-folder.ts';
import { startOf } from '../../common/temporary.ts';
import { failure } from '../support/failure.ts';
import { faultyDisk } from '../support/faulty-disk.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('folders that change as one');

let folder = '';
temporaryFolder(test, (made) => (folder = made));

const names = ['a', 'b', 'c'];
const save = (text: string, files = names): Promise<void> =>
  writeFilesAtomic(
    files.map((name) => ({ path: join(folder, name), data: text })),
    { replaces: () => true },
  );
const read = async (): Promise<string[]> => {
  await recoverFolder(folder);
  return Promise.all(
    (await namesIn(folder)).sort().map(async (name) => name + (await readFile(join(folder, name), 'utf8'))),
  );
};

/** Leaves the stage of a process that died before its n-th operation of this name, and returns the stage. */
async function dieBefore(operation: string, number = 1): Promise<string> {
  await save('probe', ['a', 'd']);
  const watched = faultyDisk();
  await save('probe', ['a', 'd']).finally(() => watched.restore());
  const found = watched.operations.flatMap((name, i) => (name === operation ? [i + 1] : []));
  const broken = faultyDisk('death', found[number - 1]!);
  await save('new', ['a', 'd'])
    .catch(() => undefined)
    .finally(() => broken.restore());
  return (await readdir(folder)).find((name) => name.endsWith('.tmp'))!;
}

test('what a dead process had decided on is finished, what it had not is removed', async () => {
  await save('old');
  await dieBefore('rename', 1); // the journal's
  assert.equal(await read(), ['aprobe', 'dprobe']);
  await dieBefore('rename', 2);
  assert.equal((await readdir(folder)).filter((name) => name.endsWith('.tmp')).length, 1);
  assert.equal(await read(), ['anew', 'dnew']);
  assert.equal((await readdir(folder)).sort(), ['a', 'd']);
});

test('a process that lives is left alone while it writes, and waited for while it commits', async () => {
  await save('old');
  const stage = await dieBefore('rename', 2);
  const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60000)']);
  try {
    const live = stage.replace(/^\.folder\.\d+\.[0-9a-f]+/, `.folder.${child.pid!}.${startOf(child.pid!)!}`);
    await rename(join(folder, stage), join(folder, live));
    let done = false;
    const reading = read().then((found) => ((done = true), found));
    await new Promise((later) => setTimeout(later, 300));
    assert.not(done);
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.equal(await reading, ['anew', 'dnew']);
  } finally {
    child.kill('SIGKILL');
  }
});

test('a journal that leads out of the folder is refused, and one that nobody may finish says so', async () => {
  await save('old');
  const stage = await dieBefore('rename', 2);
  const journal = join(folder, stage, 'journal.json');
  const text = await readFile(journal, 'utf8');
  await writeFile(journal, JSON.stringify({ files: [], remove: ['../outside'] }));
  assert.match(
    await failure(recoverFolder(folder)),
    /a save into it is not finished \(.*journal\.json is damaged; remove/,
  );
  const [again] = (await readdir(folder)).filter((name) => name.endsWith('.tmp'));
  await writeFile(join(folder, again!, 'journal.json'), text);
  if (process.getuid?.() !== 0) {
    await chmod(folder, 0o555);
    assert.match(await failure(recoverFolder(folder)), 'open it once as a user who may write there');
    await chmod(folder, 0o755);
  }
  assert.equal(await read(), ['anew', 'dnew']);
});

test('a stage of another machine is finished when a minute has passed, litter goes after a day', async () => {
  await save('old');
  const stage = await dieBefore('rename', 2);
  const foreign = stage.replace(/[0-9a-f]+-(\d+)\.tmp$/, '00000000-$1.tmp');
  await rename(join(folder, stage), join(folder, foreign));
  const minutesAgo = (minutes: number): number => Date.now() / 1000 - 60 * minutes;
  await utimes(join(folder, foreign), minutesAgo(2), minutesAgo(2));
  assert.equal(await read(), ['anew', 'dnew']);
  const litter = join(folder, `.folder.1.0.00000000-0.tmp`);
  await mkdir(litter);
  await recoverFolder(folder);
  assert.ok((await readdir(folder)).includes('.folder.1.0.00000000-0.tmp'));
  await utimes(litter, minutesAgo(25 * 60), minutesAgo(25 * 60));
  await recoverFolder(folder);
  assert.equal((await readdir(folder)).sort(), ['a', 'd']);
});

test('a first save that was cut off does not stand in the way of the next', async () => {
  const path = join(folder, 'corpus');
  const fill = (place: string): Promise<void> => writeFile(join(place, 'meta.json'), '{}');
  const watched = faultyDisk();
  await writeFolderAtomic(path, 'meta.json', fill).finally(() => watched.restore());
  for (let at = 1; at <= watched.operations.length; at++) {
    const other = join(folder, `corpus-${at}`);
    const broken = faultyDisk('death', at);
    await writeFolderAtomic(other, 'meta.json', fill)
      .catch(() => undefined)
      .finally(() => broken.restore());
    await writeFolderAtomic(other, 'meta.json', fill);
    assert.equal(await readdir(other), ['meta.json']);
  }
});

const atomicFiles = new URL('../../common/atomic-files.ts', import.meta.url).href;

test('many that save at once leave the folder of one of them', async () => {
  const script = `
    const { writeFilesAtomic } = await import(${JSON.stringify(atomicFiles)});
    const { join } = await import('node:path');
    const [folder, name] = process.argv.slice(1);
    for (let i = 0; i < 10; i++)
      await writeFilesAtomic(['a', 'b', name].map((file) => ({ path: join(folder, file), data: name + i })), {
        replaces: () => true,
      });`;
  const writers = ['x', 'y', 'z'].map((name) => {
    const args = [...process.execArgv, '--input-type=module', '-e', script, folder, name];
    return once(spawn(process.execPath, args, { stdio: 'inherit' }), 'exit');
  });
  // A fourth, in this process, two at a time.
  for (let i = 0; i < 5; i++) await Promise.all([save(`u${i}`, ['a', 'b', 'u']), save(`v${i}`, ['a', 'b', 'v'])]);
  for (const exit of writers) assert.equal(await exit, [0, null]);
  const found = await read();
  assert.is(found.length, 3);
  const [, writer] = /^a((.)\d)$/.exec(found[0]!) ?? [];
  assert.equal(found, [`a${writer!}`, `b${writer!}`, `${writer![0]!}${writer!}`]);
  assert.is((await readdir(folder)).length, 3);
});

/** Reads a, lets something happen the first time, and reads c. */
function readAround(happens: () => Promise<unknown>): { read: () => Promise<string[]>; times: () => number } {
  let times = 0;
  const read = async (): Promise<string[]> => {
    const first = await readFile(join(folder, 'a'), 'utf8');
    if (times++ === 0) await happens();
    return [first, await readFile(join(folder, 'c'), 'utf8')];
  };
  return { read, times: () => times };
}

test('files that are read as one are of one save', async () => {
  await save('old');
  const discarded: string[][] = [];
  const { read, times } = readAround(() => save('new'));
  const found = await readFolder(folder, read, { discard: (each) => discarded.push(each) });
  assert.equal(found, ['new', 'new']);
  assert.equal(discarded, [['old', 'new']]);
  assert.is(times(), 2);
});

test('an error counts unless a save caused it', async () => {
  await save('old');
  let times = 0;
  const read = async (): Promise<string> => {
    if (times++ > 0) return readFile(join(folder, 'a'), 'utf8');
    await save('new');
    throw new Error('half of it is missing');
  };
  assert.is(await readFolder(folder, read), 'new');
  const failing = (): Promise<never> => Promise.reject(new Error('damaged'));
  assert.is(await failure(readFolder(folder, failing)), 'damaged');
});

test('what a process that died in the midst had decided on is finished, then read', async () => {
  const files = ['a', 'd'];
  await save('old', files);
  let times = 0;
  const read = async (): Promise<string[]> => {
    if (times++ === 0) await dieBefore('rename', 3);
    return Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')));
  };
  assert.equal(await readFolder(folder, read), ['new', 'new']);
  assert.is(times, 2);
});

test('files that do not belong to it, and a log that grows, are no save', async () => {
  await save('old');
  await writeFile(join(folder, 'log.jsonl'), '1');
  const { read, times } = readAround(async () => {
    await appendFile(join(folder, 'log.jsonl'), '2');
    await writeFilesAtomic([{ path: join(folder, 'report.html'), data: '<p>' }]);
    await mkdir(join(folder, 'checkpoint-1'));
  });
  const files = (name: string): boolean => names.includes(name) || name === 'log.jsonl';
  assert.equal(await readFolder(folder, read, { files }), ['old', 'old']);
  assert.is(times(), 1);
});

test.run();
