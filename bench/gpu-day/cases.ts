/** Cases that survive each other: a failure, a crash or a hang of one costs none of the others. */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { ready } from '../../autograd/index.ts';
import { emit, message, rehearse } from './shared.ts';

const { env } = process;

/** Cases that a process before this one began, which run.sh starts again after a crash. */
const startedFile = env.GPU_DAY_STARTED;
const started = new Set(
  startedFile && existsSync(startedFile) ? readFileSync(startedFile, 'utf8').split('\n').filter(Boolean) : [],
);

/** Seconds since the epoch at which the stage must have ended. */
const until = Number(env.GPU_DAY_UNTIL ?? Infinity);

/** Failures to rehearse: how a case fails, by a part of its name. */
const failures = (env.GPU_DAY_FAIL ?? '')
  .split(',')
  .filter(Boolean)
  .map((part) => part.split('=') as [part: string, how: string]);

/** Cases that there was no time for. */
const left: string[] = [];

/** Seconds left of the case that runs; 0 where none does. */
const secondsLeft = new Int32Array(new SharedArrayBuffer(4));
let watchdog: Worker | undefined;

/** Ends the process from a thread beside it when a case hangs, in native code too. */
function watch(seconds: number): void {
  watchdog ??= new Worker(
    `const { workerData: left } = require('node:worker_threads');
    setInterval(() => {
      if (Atomics.load(left, 0) === 0 || Atomics.sub(left, 0, 1) !== 1) return;
      require('node:fs').writeSync(2, 'the case above took too long, killed\\n');
      process.kill(process.pid, 'SIGKILL');
    }, 1000);`,
    { eval: true, workerData: secondsLeft, execArgv: [] },
  );
  watchdog.unref();
  Atomics.store(secondsLeft, 0, seconds);
}

/**
 * Runs a case of at most `limit` seconds unless a process before this one began it. A failure becomes a
 * result. Where the device has failed too the process ends with code 75, to be started again for the cases
 * after it.
 */
export async function attempt(name: string, run: () => unknown, limit = 30): Promise<void> {
  if (started.has(name) || (env.GPU_DAY_FILTER && !name.includes(env.GPU_DAY_FILTER))) return;
  if (Date.now() / 1000 > until - 2) {
    left.push(name);
    return;
  }
  started.add(name);
  if (startedFile) appendFileSync(startedFile, `${name}\n`);
  watch(Number(env.GPU_DAY_LIMIT ?? (rehearse ? 6 * limit : limit)));
  try {
    failFor(name);
    await run();
  } catch (error) {
    emit({ key: name, error: message(error) });
    const broken = await ready()
      .then((gpu) => gpu.synchronize())
      .then(
        () => false,
        () => true,
      );
    if (broken) process.exit(75);
  } finally {
    Atomics.store(secondsLeft, 0, 0);
  }
}

/** Fails as GPU_DAY_FAIL="part of a case's name=abort|hang|throw,..." asks. */
export function failFor(name: string): void {
  for (const [part, how] of failures) {
    if (!name.includes(part)) continue;
    if (how === 'abort') process.abort();
    if (how === 'hang') for (;;);
    throw new Error(`asked to fail (${how})`);
  }
}

/** Reports the cases that there was no time for and ends the process, which the device would keep alive. */
export function done(): never {
  if (left.length > 0) emit({ who: 'run', key: `unfinished ${process.argv.slice(2).join(' ')}`, cases: left });
  process.exit(0);
}
