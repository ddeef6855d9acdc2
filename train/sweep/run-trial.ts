import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { disk } from '../../common/file-system.ts';
import { runCommand, tellingLine } from '../../common/run-command.ts';
import { canResume } from '../trainer/run-state.ts';

/** Of this file: TypeScript in the clone, JavaScript in the package. */
const extension = import.meta.url.slice(-3);

/** The file of a script of train/, by its name. */
export const scriptPath = (name: string): string => fileURLToPath(new URL(`../${name}${extension}`, import.meta.url));

/** How Node was started for this process: TypeScript needs its loader. */
const nodeArguments = (path: string): string[] => [...process.execArgv, path];

/** The page that a script prints for --help. */
export function helpOf(name: string): Promise<string> {
  return runCommand(process.execPath, [...nodeArguments(scriptPath(name)), '--help']);
}

export interface Trial {
  readonly script: string;
  /** All flags but the output folder. */
  readonly words: readonly string[];
  /** The run's folder; what the script prints goes into a file of this name with .log behind it. */
  readonly folder: string;
  /** Asks whether to stop it. */
  readonly isStopped: () => boolean;
}

/** How a trial ended: its exit code, and of a failure the line that tells why. */
export interface Ended {
  readonly code: number;
  readonly line: string;
}

/** Runs a trial in a process of its own; one that was stopped on its way goes on. */
export async function runTrial({ script, words, folder, isStopped }: Trial): Promise<Ended> {
  const log = `${folder}.log`;
  const resume = (await canResume(folder)) ? ['--resume'] : [];
  const file = disk.openSync(log, 'w');
  try {
    const args = [...nodeArguments(scriptPath(script)), ...words, '--output', folder, ...resume];
    const child = spawn(process.execPath, args, { stdio: ['ignore', file, file] });
    // Ctrl-C at a terminal reaches the child too, which takes two within a second for one.
    const watch = setInterval(() => {
      if (!isStopped()) return;
      clearInterval(watch);
      child.kill('SIGINT');
    }, 100);
    const code = await new Promise<number>((done, failed) => {
      child.on('error', failed);
      child.on('close', (code) => done(code ?? 1));
    }).finally(() => clearInterval(watch));
    return { code, line: code === 0 ? '' : tellingLine(readFileSync(log, 'utf8')) };
  } finally {
    disk.closeSync(file);
  }
}
