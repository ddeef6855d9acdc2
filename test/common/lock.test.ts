import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { describeHolder, isLock, lockFolder, takeLock, waitForLock } from '../../common/lock.ts';
import { root } from '../support/files.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

let folder = '';
temporaryFolder(test, (path) => (folder = path));

/** A process that runs `body`, with the functions of common/lock.ts and the test's folder at hand. */
function start(body: string): ChildProcess {
  const script = join(folder, `worker-${readdirSync(folder).length}.mts`);
  const from = JSON.stringify(join(root, 'common/lock.ts'));
  const fs = `import { readFileSync, writeFileSync } from 'node:fs';`;
  const own = `import { takeLock, waitForLock } from ${from};\nconst folder = ${JSON.stringify(folder)};`;
  writeFileSync(script, `${fs}\n${own}\n${body}\n`);
  return spawn(process.execPath, ['--import', 'tsx', script], { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
}

test('a folder has one holder, who is named, and is free when that releases it', async () => {
  const run = join(folder, 'run');
  const lock = await lockFolder(run);
  await lockFolder(run).then(
    () => assert.unreachable(),
    (error: Error) => {
      assert.match(
        error.message,
        /run is in use by this process itself \(node .+\) since \d\d:\d\d:\d\d; wait for its end/,
      );
    },
  );
  (await lockFolder(join(folder, 'other'))).release();
  (await lockFolder(run, 'training')).release();
  lock.release();
  (await lockFolder(run)).release();
});

test('a folder is the same by whatever name, there or not', async () => {
  mkdirSync(join(folder, 'real'));
  symlinkSync(join(folder, 'real'), join(folder, 'link'));
  for (const [one, other] of [
    ['real', 'link'],
    ['real/new/deep', 'link/new/../new/deep'],
  ] as const) {
    const lock = await lockFolder(join(folder, one));
    await lockFolder(join(folder, other)).then(
      () => assert.unreachable(),
      (error: Error) => assert.match(error.message, /in use/),
    );
    lock.release();
  }
});

test('a lock dies with its process, by kill -9 too', async () => {
  const child = start(`await takeLock(folder); console.log('taken'); setTimeout(() => undefined, 60_000);`);
  await once(child.stdout!, 'data');
  const holder = await takeLock(folder);
  assert.not(isLock(holder));
  if (!isLock(holder)) {
    assert.is(holder.pid, child.pid);
    assert.match(describeHolder(holder), new RegExp(`^process ${child.pid} \\(node .*worker-\\d\\.mts\\) since `));
  }
  child.kill('SIGKILL');
  await once(child, 'exit');
  const taken = await takeLock(folder);
  assert.ok(isLock(taken));
  if (isLock(taken)) taken.release();
});

test('a holder too busy to answer still holds', async () => {
  const child = start(`await takeLock(folder); console.log('taken'); for (;;);`);
  await once(child.stdout!, 'data');
  const holder = await takeLock(folder);
  child.kill('SIGKILL');
  assert.not(isLock(holder));
  if (!isLock(holder)) assert.is(describeHolder(holder), `process ${child.pid}`);
});

test('of many that ask at once, one at a time has it, though some are killed', async () => {
  const log = join(folder, 'count');
  writeFileSync(log, '0');
  const children = Array.from({ length: 5 }, (_, i) =>
    start(`
      for (let i = 0; i < 8; i++) {
        const lock = await waitForLock(folder, () => undefined);
        const count = Number(readFileSync(${JSON.stringify(log)}, 'utf8'));
        await new Promise((done) => setTimeout(done, 2));
        if (${i === 0} && i === 4) process.kill(process.pid, 'SIGKILL');
        writeFileSync(${JSON.stringify(log)}, String(count + 1));
        lock.release();
      }`),
  );
  const codes = await Promise.all(children.map(async (child) => (await once(child, 'exit')) as [number | null]));
  assert.equal(
    codes.map(([code]) => code),
    [null, 0, 0, 0, 0],
  );
  assert.is(readFileSync(log, 'utf8'), String(4 + 4 * 8));
});

test('one that asks too and gives way is no holder', async () => {
  const id = createHash('sha256').update(folder).digest('hex').slice(0, 16);
  const path = join('/tmp', `tapeform-locks-${process.getuid!()}`, `${id}.0-00000000.sock`);
  const server = createServer((socket) => socket.end(JSON.stringify({ pid: 1, command: '', since: '', asking: true })));
  await new Promise<void>((done) => server.listen(path, done));
  const taken = takeLock(folder);
  await new Promise((done) => setTimeout(done, 300));
  server.close();
  const lock = await taken;
  assert.ok(isLock(lock));
  if (isLock(lock)) lock.release();
});

test('one that hangs up without a word is asked again, and is no holder when it has gone', async () => {
  const id = createHash('sha256').update(folder).digest('hex').slice(0, 16);
  const path = join('/tmp', `tapeform-locks-${process.getuid!()}`, `${id}.0-00000001.sock`);
  const server = createServer((socket) => {
    socket.destroy();
    server.close();
  });
  await new Promise<void>((done) => server.listen(path, done));
  const lock = await takeLock(folder);
  assert.ok(isLock(lock));
  if (isLock(lock)) lock.release();
});

test('the waiting is told once', async () => {
  const lines = join(folder, 'lines');
  const first = await waitForLock(folder, () => assert.unreachable());
  const second = waitForLock(folder, ({ pid }) => appendFileSync(lines, `${pid}\n`));
  await new Promise((done) => setTimeout(done, 500));
  first.release();
  (await second).release();
  assert.is(readFileSync(lines, 'utf8'), `${process.pid}\n`);
});

test.run();
