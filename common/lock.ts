// Locks that die with their process. Node has no flock, so a holder listens on a socket: it answers as long
// as the process lives, and the system closes it however the process ends. On Windows the name of a pipe is
// such a lock by itself. Elsewhere a socket is a file that outlives its process, and no two can remove and
// take one name safely, so each process has a name of its own:
//
//   /tmp/tapeform-locks-1000/8f3c….1234-5e0a.sock    lock 8f3c…, asked for by process 1234
//
// A process shows its socket first and then looks at the others of that lock. One that sees none alive has
// it: of two that ask at once, the later must see the earlier.
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { changesNothing } from './file-system.ts';
import { checkOutputFolder } from './staged-file.ts';

/** A lock that this process has. It goes with `release`, and with the process. */
export interface Lock {
  release(): void;
}

/** Who has a lock. A process that is too busy to answer has one too, but says no more. */
export interface LockHolder {
  pid?: number;
  /** `node train/pretrain-gpt.ts --data texts` */
  readonly command?: string;
  /** ISO 8601. */
  readonly since?: string;
}

type Answer = LockHolder & { readonly asking?: boolean };

const isWindows = process.platform === 'win32';
/** Milliseconds within which a process that lives answers, unless it is busy. */
const answerWithin = 5000;
/** Milliseconds within which a socket gets its final name. */
const startsWithin = 10_000;

/**
 * Takes the lock of a name, of any text. Returns who has it where that is another process, or a call before
 * in this one. Throws where the system gives no locks: no socket can be made.
 */
export async function takeLock(name: string): Promise<Lock | LockHolder> {
  const id = createHash('sha256').update(name).digest('hex').slice(0, 16);
  for (;;) {
    const own = { asking: true };
    const since = new Date().toISOString();
    const server = createServer((socket) => {
      socket.on('error', () => undefined).unref();
      const answer: Answer = { pid: process.pid, command: commandLine(), since, asking: own.asking };
      socket.end(JSON.stringify(answer));
    }).unref();
    const taken = isWindows ? await takePipe(`\\\\.\\pipe\\tapeform-${id}`, server) : await takeSocket(id, server, own);
    if (taken) return taken;
    await sleep(randomInt(5, 50));
  }
}

/** Tells a lock from its holder. */
export function isLock(taken: Lock | LockHolder): taken is Lock {
  return 'release' in taken;
}

/** Waits for a lock, and asks again every 200 ms. `onWait` is told once who has it. */
export async function waitForLock(name: string, onWait: (holder: LockHolder) => void): Promise<Lock> {
  for (let waited = false; ; waited = true) {
    const taken = await takeLock(name);
    if (isLock(taken)) return taken;
    if (!waited) onWait(taken);
    await sleep(200);
  }
}

/**
 * Takes the lock of a folder or a file, which need not be there yet, whatever name leads to it. Other locks
 * of it, for another `use`, are apart from it.
 *
 * Error, one line: another process has it, which is named. Where the system gives no locks, one warning line
 * says so, and the folder is not locked.
 */
export async function lockFolder(folder: string, use = 'output'): Promise<Lock> {
  if (changesNothing()) return { release: () => undefined };
  let taken: Lock | LockHolder;
  try {
    taken = await takeLock(`${use} ${realPath(resolve(folder))}`);
  } catch (error) {
    process.stderr.write(
      `warning: ${folder} cannot be locked (${(error as Error).message}): see to it that no other run writes there\n`,
    );
    return { release: () => undefined };
  }
  if (isLock(taken)) return taken;
  throw new Error(`${folder} is in use by ${describeHolder(taken)}; wait for its end, or choose another place`);
}

/**
 * Before work whose result is written into a folder: checks that it can be, and locks it. Errors: those of
 * `checkOutputFolder` and `lockFolder`.
 */
export async function claimFolder(folder: string, use?: string): Promise<Lock> {
  await checkOutputFolder(folder);
  return lockFolder(folder, use);
}

/** `process 1234 (node train/pretrain-gpt.ts) since 12:01:03` */
export function describeHolder({ pid, command, since }: LockHolder): string {
  const who = pid === process.pid ? 'this process itself' : `process ${pid ?? '(unknown)'}`;
  if (command === undefined || since === undefined) return who;
  return `${who} (${command}) since ${new Date(since).toLocaleTimeString('en-GB')}`;
}

async function takePipe(path: string, server: Server): Promise<Lock | LockHolder> {
  for (;;) {
    try {
      await listen(server, path);
      return { release: () => server.close() };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    }
    const holder = await ask(path);
    if (holder) return holder;
  }
}

/** Undefined: gave way to one that asks too, and that may give way itself; ask again. */
async function takeSocket(
  id: string,
  server: Server,
  own: { asking: boolean },
): Promise<Lock | LockHolder | undefined> {
  const folder = socketFolder();
  const name = `${id}.${process.pid}-${randomBytes(4).toString('hex')}.sock`;
  // It gets its final name when it answers: one that does not answer is that of a process that has ended.
  await listen(server, join(folder, `.${name}`));
  const give = (): void => {
    server.close();
    process.off('exit', give);
    rmSync(join(folder, name), { force: true });
  };
  process.on('exit', give);
  try {
    renameSync(join(folder, `.${name}`), join(folder, name));
    for (;;) {
      const holder = await otherHolder(folder, id, name);
      if (holder && !holder.asking) {
        give();
        return holder;
      }
      if (!holder) {
        own.asking = false;
        return { release: give };
      }
      // Of two that ask, the lesser name goes first.
      if (holder.name < name) {
        give();
        return undefined;
      }
      await sleep(10);
    }
  } catch (error) {
    give();
    throw error;
  }
}

/**
 * Who else has, or asks for, a lock. Removes the sockets of processes that have ended: those of this lock,
 * and of others those that are a day old.
 */
async function otherHolder(
  folder: string,
  id: string,
  own: string,
): Promise<(Answer & { readonly name: string }) | undefined> {
  let asking: (Answer & { readonly name: string }) | undefined;
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (name === own) continue;
    const hidden = name.startsWith('.');
    const ours = name.startsWith(`${id}.`);
    if (!ours && !isOlder(path, hidden ? startsWithin : 24 * 3600_000)) continue;
    const answer = await ask(path);
    if (answer && ours) {
      answer.pid ??= Number(/\.(\d+)-/.exec(name)?.[1]);
      if (!answer.asking) return { ...answer, name };
      if (!asking || name < asking.name) asking = { ...answer, name };
    } else if (!answer) rmSync(path, { force: true });
  }
  return asking;
}

function isOlder(path: string, milliseconds: number): boolean {
  const made = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
  return made !== undefined && Math.abs(Date.now() - made) > milliseconds;
}

/**
 * What the process behind a socket says; undefined where there is none. One that hangs up without a word was
 * letting go, or ending, at that moment: it is asked again.
 */
async function ask(path: string): Promise<Answer | undefined> {
  for (let tries = 1; ; tries++) {
    const answer = await askOnce(path);
    if (answer !== 'hung up') return answer;
    if (tries === 5) return {};
    await sleep(10 * tries);
  }
}

function askOnce(path: string): Promise<Answer | 'hung up' | undefined> {
  return new Promise((done, fail) => {
    let text = '';
    const socket = connect(path);
    const timer = setTimeout(() => end({}), answerWithin);
    const end = (answer: Answer | 'hung up' | undefined): void => {
      clearTimeout(timer);
      socket.destroy();
      done(answer);
    };
    socket.setEncoding('utf8');
    socket.on('data', (part: string) => (text += part));
    socket.on('end', () => end(text === '' ? 'hung up' : readAnswer(text)));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (['ECONNREFUSED', 'ENOENT'].includes(error.code ?? '')) end(undefined);
      else if (['ECONNRESET', 'EPIPE'].includes(error.code ?? '')) end('hung up');
      else if (error.code === 'EAGAIN') end({});
      else fail(error);
    });
  });
}

function readAnswer(text: string): Answer {
  try {
    const { pid, command, since, asking } = JSON.parse(text) as Answer;
    return { pid: Number(pid), command: String(command), since: String(since), asking: asking === true };
  } catch {
    return {};
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((done, fail) => {
    server.once('error', fail);
    server.listen(path, () => {
      server.off('error', fail);
      done();
    });
  });
}

/** A folder of this user's that no other may write to, the same whatever TMPDIR says. */
function socketFolder(): string {
  const parent = statSync('/tmp', { throwIfNoEntry: false })?.isDirectory() ? '/tmp' : tmpdir();
  const user = process.getuid?.() ?? 0;
  const folder = join(parent, `tapeform-locks-${user}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const facts = lstatSync(folder);
  if (!facts.isDirectory() || facts.uid !== user || (facts.mode & 0o022) !== 0)
    throw new Error(`${folder} belongs to another user or may be written by others; remove it`);
  return folder;
}

/** The path with all links followed, also of what is not there yet. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const parent = dirname(path);
    return parent === path ? path : join(realPath(parent), basename(path));
  }
}

/** How this process was started, at most 120 characters. */
function commandLine(): string {
  const [, script = '', ...rest] = process.argv;
  const words = ['node', relative(process.cwd(), script), ...rest].join(' ');
  return words.length > 120 ? `${words.slice(0, 117)}...` : words;
}
