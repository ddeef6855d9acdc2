// Signals and pipes: scripts are interrupted, hung up and orphaned at any moment; what they print is read by
// nobody, by one who waits, or by a terminal that goes away.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { lockFolder } from '../../common/lock.ts';
import { Random } from '../../common/random.ts';
import { canResume, latestCheckpoint } from '../../train/trainer/run-state.ts';
import { Tally } from '../support/faults.ts';
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';
import { root } from '../support/files.ts';
import { runScript, underNpm } from '../support/script.ts';
import { outputName, resultOf, smallCommands, withOutput } from '../support/small-commands.ts';
import type { SmallCommand } from '../support/small-commands.ts';

export const name = 'signals and pipes';

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
type Signal = (typeof signals)[number];
/** Milliseconds to wait for a process, on however busy a machine. */
const patience = 10 * 60_000;

/** A command with what it writes when nothing goes wrong. */
interface Known extends SmallCommand {
  readonly output: string;
  readonly result: string;
  /** Operations on the disk from its start to its end. */
  readonly operations: number;
}

export async function run({ seed, short }: FaultOptions): Promise<FaultOutcome[]> {
  const parent = await mkdtemp(join(tmpdir(), 'tapeform-'));
  const random = new Random(seed);
  const [stopped, piped, gone] = [new Tally(), new Tally(), new Tally()];
  try {
    for (const command of await smallCommands(parent)) {
      // The short form has one that trains, stopped once, and one that does not, whose pipes break.
      if (short && command.what !== 'pretrain-gpt' && command.what !== 'prepare-data clean') continue;
      const known = await runUndisturbed(command, parent);
      const moments = short ? [signals[random.int(3)]!] : signals;
      if (command.trains || !short)
        for (const [i, signal] of moments.entries())
          await stopped.try(`${command.what}, ${signal}`, () => stopAt(known, signal, momentOf(known, random, i)));
      if (!short || !command.trains)
        for (const pipe of short ? [pipes[0]!] : /bert|adapt/.test(command.what) ? pipes.slice(-2) : pipes)
          await piped.try(`${command.what} ${pipe}`, () => runPiped(known, pipe, parent));
      if (!command.trains || short) continue;
      await stopped.try(`${command.what}, loading`, () => stopAt(known, signals[random.int(3)]!, random.int(2000)));
      await gone.try(`${command.what}, its npm was killed`, () => orphan(known));
      for (const group of ['', 'setsid -w '])
        await gone.try(`${command.what}, ${group}the terminal is gone`, () => hangUp(known, group));
    }
    if (!short) await stopped.try('the second Ctrl-C', () => interruptTwice(parent));
  } finally {
    await rm(parent, { recursive: true, force: true });
  }
  const outcomes = [stopped.outcome('scripts interrupted and resumed'), piped.outcome('broken and full pipes')];
  return short ? outcomes : [...outcomes, gone.outcome('parents and terminals that go away')];
}

const watched = ['--import', './test/support/kill-at.ts'];

async function runUndisturbed(command: SmallCommand, parent: string): Promise<Known> {
  const output = join(parent, outputName(command));
  await rm(output, { recursive: true, force: true });
  const { code, stderr } = await runScript([...watched, ...withOutput(command, output)], { env: { KILL_AT: '0' } });
  if (code !== 0) throw new Error(`${command.what}: ${stderr}`);
  const operations = Number(/operations on the disk: (\d+)/.exec(stderr)![1]);
  return { ...command, output, result: await resultOf(output), operations };
}

/** Before which operation on the disk: a log is written at each step, so that they are of all moments. */
interface Moment {
  readonly operation: number;
}

/** The i-th moment: they are spread from the first operation to the last. */
function momentOf({ operations }: Known, random: Random, i: number): Moment {
  const share = (((i * 0.381966) % 1) + random.uniform()) % 1; // golden section
  return { operation: 1 + Math.floor(share * operations) };
}

/**
 * Sends a signal, at a moment or after milliseconds; then goes on as a user would. The end must be that of a
 * run never stopped, with one line for the signal and one for where the run was saved.
 */
async function stopAt(command: Known, signal: Signal, when: Moment | number): Promise<void> {
  const { output, trains, result } = command;
  await rm(output, { recursive: true, force: true });
  const words = withOutput(command, output);
  const { code, stderr } =
    typeof when === 'number'
      ? await stopLater(words, signal, when)
      : await runScript([...watched, ...words], { env: { KILL_AT: String(when.operation), KILL_WITH: signal } });
  const at = typeof when === 'number' ? `after ${when} ms` : `before ${when.operation} of ${command.operations}`;
  try {
    const stopped = code === 128 + constants.signals[signal];
    checkLines(code, stopped, stderr, trains);
    const isSaved = trains && (await canResume(output));
    if (trains && stopped && !isSaved) throw new Error('it saved nothing');
    if (code !== 0 || !trains) {
      const again = await runScript([...words, ...(isSaved ? ['--resume'] : [])]);
      if (again.code !== 0) throw new Error(`the next run ended with ${again.code}: ${again.stderr.slice(-300)}`);
    }
    if ((await resultOf(output)) !== result) throw new Error('the result is not that of a run never stopped');
  } catch (error) {
    throw new Error(`${at}, code ${code}: ${(error as Error).message}`, { cause: error });
  }
}

/** A run that had something to save ends with the code of the signal, others by it; or it was at its end. */
function checkLines(code: number | null, stopped: boolean, stderr: string, trains: boolean): void {
  if (!stopped && code !== null && code !== 0) throw new Error(`it failed: ${stderr.slice(-300)}`);
  const count = (pattern: RegExp): number => stderr.match(pattern)?.length ?? 0;
  const told = count(/^stopping (after this step|when the model is saved)/gm);
  const ended = count(/^.*stopped.*$/gm);
  if (stopped && (ended !== 1 || told !== Number(trains)))
    throw new Error(`${told} lines say that it stops, ${ended} that it did: ${stderr.slice(-300)}`);
  if (/^ {4}at /m.test(stderr)) throw new Error(`a stack: ${stderr.slice(-300)}`);
}

function stopLater(words: readonly string[], signal: Signal, milliseconds: number) {
  const child = start([process.execPath, '--import', 'tsx', ...words]);
  setTimeout(() => child.kill(signal), milliseconds);
  return ended(child);
}

function start([program, ...words]: readonly string[], more: NodeJS.ProcessEnv = {}): ChildProcess {
  const env = { ...process.env, TAPEFORM_QUIET: '1', HF_HUB_OFFLINE: '1', ...more };
  return spawn(program!, words, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
}

async function ended(child: ChildProcess): Promise<{ code: number | null; stderr: string }> {
  let stderr = '';
  child.stdout!.resume();
  child.stderr!.setEncoding('utf8').on('data', (part: string) => (stderr += part));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stderr };
}

/**
 * A second Ctrl-C, more than a second after the first, ends a run at once and saves nothing; one at the same
 * moment is the same key press.
 */
async function interruptTwice(parent: string): Promise<void> {
  const script = join(root, 'test/support/never-stops.ts');
  const child = start([process.execPath, '--import', 'tsx', script, parent]);
  let said = '';
  child.stderr!.on('data', (part: Buffer) => (said += part.toString()));
  const finished = ended(child);
  await once(child.stdout!, 'data');
  child.kill('SIGINT');
  child.kill('SIGINT');
  while (child.exitCode === null && !said.includes('stopping')) await sleep(20);
  await sleep(1500);
  if (child.exitCode !== null) throw new Error('one key press counted twice');
  child.kill('SIGINT');
  const { code, stderr } = await finished;
  if (code !== 130 || stderr.includes('stopped at step')) throw new Error(`it ended with ${code}: ${stderr}`);
}

// What is printed. CMD is the command; its exit code goes to the file CODE.

const pipes: readonly string[] = [
  '{ CMD 2>&1; echo $? > CODE; } | head -n 1',
  '{ CMD; echo $? > CODE; } | true',
  '{ CMD 2>&1 >&3; echo $? > CODE; } 3>/dev/null | true',
  'CMD >&-; echo $? > CODE',
  'CMD 2>&-; echo $? > CODE',
  'CMD <&- >&- 2>&-; echo $? > CODE',
  '{ CMD 2>&1; echo $? > CODE; } | { sleep 4; cat > /dev/null; }',
];

const quoted = (words: readonly string[]): string => words.map((word) => `'${word}'`).join(' ');

async function runPiped(command: Known, pipe: string, parent: string): Promise<void> {
  const { output, result } = command;
  await rm(output, { recursive: true, force: true });
  const code = join(parent, 'code');
  await rm(code, { force: true });
  const words = quoted([process.execPath, '--import', 'tsx', ...withOutput(command, output)]);
  // With its ops on stderr it prints more than a pipe holds.
  const debug = pipe.includes('sleep') ? { TAPEFORM_DEBUG: '1' } : {};
  await ended(start(['sh', '-c', pipe.replace('CMD', () => words).replace('CODE', () => code)], debug));
  const ending = existsSync(code) ? readFileSync(code, 'utf8').trim() : 'none';
  if (ending !== '0') throw new Error(`it ended with ${ending}`);
  if ((await resultOf(output)) !== result) throw new Error('the result is not that of a run undisturbed');
}

// Who started it goes away.

/** Waits until a run has written some steps, and is in their midst. */
async function waitForSteps(output: string, steps: number): Promise<void> {
  const log = join(output, 'log.jsonl');
  for (const deadline = Date.now() + patience; Date.now() < deadline; await sleep(20))
    if (existsSync(log) && readFileSync(log, 'utf8').split('\n').length > steps) return;
  throw new Error('it takes no steps');
}

/** Waits until no process has a run's folder. */
async function waitForEnd(output: string): Promise<void> {
  for (const deadline = Date.now() + patience; Date.now() < deadline; await sleep(100)) {
    const lock = await lockFolder(output).catch(() => undefined);
    lock?.release();
    if (lock) return;
  }
  throw new Error('it lives on');
}

/** Resumes a run that has saved itself, or was at its end. */
async function goOn(command: Known): Promise<void> {
  const { output, result } = command;
  if (await latestCheckpoint(output)) {
    const { code, stderr } = await runScript([...withOutput(command, output), '--resume']);
    if (code !== 0) throw new Error(`resumed, it ended with ${code}: ${stderr.slice(-300)}`);
  } else if (!(await canResume(output))) throw new Error('it saved nothing');
  if ((await resultOf(output)) !== result) throw new Error('the result is not that of a run never stopped');
}

async function orphan(command: Known): Promise<void> {
  const { output } = command;
  await rm(output, { recursive: true, force: true });
  const { words, env } = underNpm([process.execPath, '--import', 'tsx', ...withOutput(command, output)]);
  const npm = start(words, env);
  npm.stdout!.resume();
  npm.stderr!.resume();
  await waitForSteps(output, 1);
  npm.kill('SIGKILL');
  await waitForEnd(output);
  await goOn(command);
}

/** Kills the terminal: `script`, of util-linux, is one. With setsid the run is not of its session. */
async function hangUp(command: Known, group: string): Promise<void> {
  const { output } = command;
  await rm(output, { recursive: true, force: true });
  const line = `${group}${quoted([process.execPath, '--import', 'tsx', ...withOutput(command, output)])}`;
  const terminal = start(['script', '-qec', line, '/dev/null']);
  const failed = once(terminal, 'error').then(() => true);
  terminal.stdout?.resume();
  terminal.stderr?.resume();
  if (await Promise.race([failed, sleep(100, false)])) return; // no `script` here
  await waitForSteps(output, 1);
  terminal.kill('SIGKILL');
  await waitForEnd(output);
  await goOn(command);
}
