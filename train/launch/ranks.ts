import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { lostOthers } from '../../distributed/errors.ts';
import { isStopCode, onInterrupt } from '../cli/interrupt.ts';

export interface Rank {
  readonly rank: number;
  /** Variables that it has besides those of this process. */
  readonly env: Readonly<Record<string, string>>;
}

interface Ended {
  readonly rank: number;
  readonly code: number;
  readonly signal: NodeJS.Signals | null;
}

/** Milliseconds that the others have to end by themselves when one has failed, and then after SIGTERM. */
const patience = 5000;

/** A rank that failed; the others were ended with it. */
class RankFailed extends Error {
  override readonly name = 'RankFailed';
  readonly exitCode: number;

  constructor(message: string, exitCode: number) {
    super(message);
    this.exitCode = exitCode;
  }
}

/**
 * Runs a command of Node's in a process for each rank, until all have ended. Their lines are printed behind
 * their rank. Ctrl-C reaches all, which save themselves; a second one ends them.
 *
 * Error: a rank failed. The others are ended, and it says which was the first and how it ended; it has that
 * exit code.
 */
export async function runRanks(command: readonly string[], ranks: readonly Rank[]): Promise<void> {
  const failures: Ended[] = [];
  const children: ChildProcess[] = [];
  let ending: NodeJS.Timeout | undefined;
  const endAll = (signal: NodeJS.Signals): void => children.forEach((child) => void child.kill(signal));
  // The terminal sends Ctrl-C to all processes; what it does not send is passed on.
  const stopListening = onInterrupt(() => endAll('SIGINT'));
  const failed = (ended: Ended): void => {
    failures.push(ended);
    ending ??= setTimeout(() => {
      endAll('SIGTERM');
      ending = setTimeout(() => endAll('SIGKILL'), patience);
    }, patience);
  };
  await Promise.all(
    ranks.map(async ({ rank, env }) => {
      // By the channel the process sees when this one is gone.
      const child = spawn(process.execPath, command, {
        env: { ...process.env, ...env },
        stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      });
      children.push(child);
      const width = String(ranks.at(-1)!.rank).length;
      const label = ranks.length > 1 ? `[${String(rank).padStart(width)}] ` : '';
      const outputs = [
        printLines(child.stdout!, process.stdout, label),
        printLines(child.stderr!, process.stderr, label),
      ];
      const ended = await new Promise<Ended>((done, impossible) => {
        child.on('error', impossible);
        child.on('exit', (code, signal) =>
          done({ rank, signal, code: code ?? 128 + (signal ? constants.signals[signal] : 0) }),
        );
      });
      if (ended.code !== 0) failed(ended);
      await Promise.all(outputs);
    }),
  ).finally(() => {
    clearTimeout(ending);
    stopListening();
  });
  const first = failures.find(({ code }) => code !== lostOthers) ?? failures[0];
  if (!first) return;
  const how = first.signal ? `was ended by ${first.signal}` : `ended with code ${first.code}`;
  // Who pressed Ctrl-C has been told by rank 0.
  if (failures.every(({ code }) => isStopCode(code))) process.exit(first.code);
  throw new RankFailed(
    `launch: rank ${first.rank} ${how}${ranks.length > 1 ? ', and the others with it' : ''}`,
    first.code,
  );
}

/** Prints whole lines behind a label, until the end. */
function printLines(from: Readable, to: Writable, label: string): Promise<void> {
  let rest = '';
  from.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    if (lines.length > 0) to.write(lines.map((line) => `${label}${line}\n`).join(''));
  });
  return new Promise((done) =>
    from.on('close', () => {
      if (rest !== '') to.write(`${label}${rest}\n`);
      done();
    }),
  );
}
