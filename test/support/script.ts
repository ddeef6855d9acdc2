import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { isStep } from '../../train/trainer/callback.ts';
import { readLog } from '../../train/trainer/run-log.ts';
import { root } from './files.ts';

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ScriptOptions {
  /** Called with all of stderr so far whenever there is more; `interrupt` sends Ctrl-C. */
  readonly onStderr?: (text: string, interrupt: () => void) => void;
  /** The same of stdout. */
  readonly onStdout?: (text: string, interrupt: () => void) => void;
  /** A command that runs the script, which it gets as its further arguments. */
  readonly under?: readonly string[];
  /** Environment variables beside the usual ones. */
  readonly env?: Readonly<Record<string, string>>;
  /** What it reads from standard input, which is closed without it. */
  readonly input?: string;
  /** Where it runs; default the repository's root. */
  readonly cwd?: string;
  /** Milliseconds after which it is killed, and all that it started with it. */
  readonly killAfter?: number;
  /** The same when this is there. */
  readonly killAt?: string;
}

/** Runs a module that is given as text, from the repository's root: `import ... from './models/index.ts'`. */
export function runModule(text: string): { readonly stdout: string; readonly stderr: string } {
  const args = ['--import', 'tsx', '--input-type=module', '-e', text];
  return spawnSync(process.execPath, args, { encoding: 'utf8', cwd: root });
}

/** Runs a script of the repository as a user would, from its root. */
export function runScript(
  args: readonly string[],
  { onStderr, onStdout, under = [], env: more = {}, input, cwd = root, killAfter, killAt }: ScriptOptions = {},
): Promise<Finished> {
  const [command, ...rest] = [...under, process.execPath, '--import', 'tsx', ...args];
  const env = { ...process.env, TAPEFORM_QUIET: '1', HF_HUB_OFFLINE: '1', ...more };
  // Detached, it leads a group of its own, which has a negative number.
  const detached = killAfter !== undefined || killAt !== undefined;
  const child = spawn(command!, rest, { cwd, env, stdio: ['pipe', 'pipe', 'pipe'], detached });
  child.stdin.on('error', () => undefined).end(input); // it may not wait for its input
  const kill = (): void => void (child.exitCode === null && process.kill(-child.pid!, 'SIGKILL'));
  const timer = killAfter === undefined ? undefined : setTimeout(kill, killAfter);
  const watch = killAt === undefined ? undefined : setInterval(() => existsSync(killAt) && kill(), 5);
  let [stdout, stderr] = ['', ''];
  const interrupt = (): void => void child.kill('SIGINT');
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
    onStdout?.(stdout, interrupt);
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
    onStderr?.(stderr, interrupt);
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    // Dawn's own notes about the driver are not the script's.
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      clearInterval(watch);
      resolve({ code, signal, stdout, stderr: stderr.replace(/^Warning: max.*\n/gm, '') });
    });
  });
}

/** Fails unless a script ended with this code, the last line on stderr matching and no stack beside it. */
export function refused({ code, stderr }: Finished, expectedCode: number, pattern: RegExp): void {
  assert.is(code, expectedCode, stderr);
  assert.match(stderr.trim().split('\n').at(-1)!, pattern);
  assert.not.match(stderr, /^ {4}at /m);
}

/** The loss of each step of a run. */
export function lossesIn(output: string): number[] {
  return readLog(join(output, 'log.jsonl'))
    .filter(isStep)
    .map(({ loss }) => loss);
}

/**
 * Fails unless the run in `killed`, which ended before the one in `whole`, is that run to the bit once it is
 * resumed by `resume`: all losses, and the weights.
 */
export async function resumesAs(whole: string, killed: string, resume: () => Promise<Finished>): Promise<void> {
  assert.ok(lossesIn(killed).length < lossesIn(whole).length, 'it was killed on its way');
  const resumed = await resume();
  assert.is(resumed.code, 0, resumed.stderr);
  assert.equal(lossesIn(killed), lossesIn(whole));
  const name = existsSync(join(whole, 'model.safetensors')) ? 'model.safetensors' : 'adapter_model.safetensors';
  const weights = (of: string): Buffer => readFileSync(join(of, name));
  assert.ok(weights(killed).equals(weights(whole)));
}

/** A command as npm starts it, by a shell that outlives it; Node stands for npm. `env`: beside the usual. */
export function underNpm(words: readonly string[]): { words: string[]; env: Record<string, string> } {
  const shell = JSON.stringify(`${words.map((word) => `'${word}'`).join(' ')}; true`);
  const script = `require('node:child_process').spawn('sh', ['-c', ${shell}], { stdio: 'inherit' })`;
  return { words: [process.execPath, '-e', script], env: { npm_lifecycle_event: 'start' } };
}
