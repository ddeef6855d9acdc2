import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { parseStat } from '../../common/processes.ts';
import { linkerCommand, manifestPath } from './layout.ts';

/**
 * Forwarded to the restarted process. Not SIGUSR1, which opens Node's debugger, nor SIGTSTP and SIGCONT,
 * which stop the group.
 */
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2'] as const;

/** Replaces this process: never returns where it works. Node has it from 22.15 on. */
type Execve = (program: string, argv: readonly string[], env: NodeJS.ProcessEnv) => never;

/** How a process was started, as far as starting it again needs it. */
export interface Invocation {
  readonly argv: readonly string[];
  readonly execArgv: readonly string[];
}

const evalFlag = /^(-e|-p|-pe|--eval|--print)(=|$)/;

/**
 * Node's arguments that run the same program again; undefined for a REPL and for a program read from standard
 * input.
 */
export function sameArguments({ argv, execArgv }: Invocation): string[] | undefined {
  if (execArgv.some((arg) => evalFlag.test(arg))) {
    return argv.length > 1 ? [...execArgv, '--', ...argv.slice(1)] : [...execArgv];
  }
  if (argv[1] === undefined || argv[1] === '-') return undefined;
  return [...execArgv, ...argv.slice(1)];
}

/**
 * Runs this program again from its start on the libraries in `folder` and never resolves: the process is
 * replaced, or it stays as the parent of the new one and ends as that does. Rejects where the new process
 * cannot be started.
 *
 * A process with a message channel to its parent (tsx, `node --watch`, fork) is not replaced, since the
 * channel would be lost. It is safer too: tsx kills a child that does not answer an interrupt within 60 ms,
 * which a busy training loop cannot.
 */
export async function restart(folder: string, args: readonly string[]): Promise<never> {
  const { program, args: linkerArgs } = linkerCommand(folder, process.execPath);
  const all = [...linkerArgs, ...args];
  const env = { ...process.env, VK_DRIVER_FILES: manifestPath(folder), TAPEFORM_NODE: process.execPath };
  // frees its port
  if (process.execArgv.some((arg) => arg.startsWith('--inspect'))) (await import('node:inspector')).close();
  const execve = (process as { execve?: Execve }).execve;
  if (execve && !process.send) execve(program, [program, ...all], env);
  return stayAsParent(program, all, env);
}

function stayAsParent(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<never> {
  const channel = process.send !== undefined;
  const child = spawn(program, args, {
    stdio: ['inherit', 'inherit', 'inherit', ...(channel ? ['ipc' as const] : [])],
    env: { ...env, TAPEFORM_PARENT: String(process.pid) },
  });
  for (const signal of signals) {
    process.on(signal, () => {
      if (signal === 'SIGTERM' || signal === 'SIGUSR2' || !ownsTerminal()) child.kill(signal);
    });
  }
  if (channel) {
    child.on('message', (message) => process.send?.(message));
    process.on('message', (message: object) => child.connected && child.send(message));
    process.on('disconnect', () => child.connected && child.disconnect());
  }
  return new Promise((_, reject) => {
    child.on('error', (error) => {
      for (const signal of signals) process.removeAllListeners(signal);
      reject(error);
    });
    child.on('close', (code, signal) => {
      if (!signal) process.exit(code ?? 1);
      // End by the same signal, so that shells and CI see what happened; where a hidden listener swallows it,
      // by its number.
      for (const name of signals) process.removeAllListeners(name);
      process.kill(process.pid, signal);
      void import('node:os').then(({ constants }) => {
        setTimeout(() => process.exit(128 + constants.signals[signal]), 100);
      });
    });
  });
}

/**
 * Whether this process is in its terminal's foreground group: what is typed there (Ctrl-C) then reached the
 * child as well, and a forwarded copy would be a second one.
 */
function ownsTerminal(): boolean {
  try {
    return inForeground(readFileSync('/proc/self/stat', 'latin1'));
  } catch {
    return false;
  }
}

/** `stat` is the text of /proc/PID/stat. */
export function inForeground(stat: string): boolean {
  const [, , group, , terminal, foreground] = parseStat(stat).fields;
  return terminal !== '0' && group === foreground;
}
