import { spawn } from 'node:child_process';
import { printable } from './printable.ts';

interface CommandOptions {
  readonly cwd?: string;
  /** Milliseconds. */
  readonly timeout?: number;
  readonly env?: Record<string, string | undefined>;
  /** Asked each second: a reason ends the program, and is its error. */
  readonly giveUp?: () => string | undefined;
}

/**
 * Runs a program and resolves to what it printed. Rejects with one line that names the program and the
 * telling line of its errors. Asynchronous, since a process that blocks while a terminal interrupts it is
 * killed by tsx after 60 ms, leaving files behind.
 */
export function runCommand(program: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: options.cwd,
      env: { ...process.env, LC_ALL: 'C.UTF-8', ...options.env },
    });
    // Not spawn's own timeout, which goes on where the program is missing and keeps the process alive.
    const timer = setTimeout(() => child.kill(), options.timeout ?? 600_000);
    let reason: string | undefined;
    const watch = setInterval(() => {
      reason ??= options.giveUp?.();
      if (reason) child.kill('SIGKILL');
    }, 1000).unref();
    let output = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
    child.on('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      clearInterval(watch);
      reject(new Error(error.code === 'ENOENT' ? `${program} is not installed` : `${program}: ${error.message}`));
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      clearInterval(watch);
      if (code === 0) resolve(output);
      else
        reject(
          new Error(`${program} failed (${reason || tellingLine(errors || output) || (signal ?? `exit ${code}`)})`),
        );
    });
  });
}

/**
 * The line that names the cause: apt-get, npm and tar end with one that does not, Node begins with its
 * source.
 */
export function tellingLine(text: string): string {
  const lines = text.trim().split('\n');
  const cause = [/no space left/i, /^(E: |npm (ERR!|error) (?!code|errno|syscall)|\w*Error: |[\w-]+: (fatal )?error)/];
  for (const pattern of cause) {
    const line = lines.find((line) => pattern.test(line));
    if (line) return line.trim();
  }
  return (lines.at(-1) ?? '').trim();
}

/** The message of anything thrown, in one line; a server's words may be in it, so controls are spelt out. */
export function messageOf(error: unknown): string {
  return printable((error instanceof Error ? error.message : String(error)).trim().replace(/\s+/g, ' '));
}
