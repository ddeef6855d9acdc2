/**
 * Remembers that a GPU was seen to work, so that the probe (half a second) runs once for a set of devices and
 * drivers. Failures are not remembered: a GPU that was busy or broken must be found again without the user's
 * doing.
 */
import type { Environment, Machine } from './choose.ts';
import { cacheBase } from './layout.ts';
import type { Files } from './machine.ts';

interface Verdict {
  readonly machine: Machine;
  readonly description: string;
}

function verdictPath(env: Environment, home: string): string {
  return `${cacheBase(env, home)}/working-gpu.json`;
}

/** The description of the adapter that worked with exactly these devices and drivers, or undefined. */
export function knownAdapter(fs: Files, env: Environment, home: string, machine: Machine): string | undefined {
  try {
    const verdict = JSON.parse(fs.readFileSync(verdictPath(env, home), 'utf8')) as Verdict;
    return JSON.stringify(verdict.machine) === JSON.stringify(machine) ? verdict.description : undefined;
  } catch {
    return undefined;
  }
}

/** Writes it down; where that cannot be done the next process probes again. */
export async function rememberAdapter(env: Environment, home: string, verdict: Verdict): Promise<void> {
  const { mkdirSync, renameSync, writeFileSync } = await import('node:fs');
  const path = verdictPath(env, home);
  try {
    mkdirSync(cacheBase(env, home), { recursive: true });
    writeFileSync(`${path}.${process.pid}`, JSON.stringify(verdict));
    renameSync(`${path}.${process.pid}`, path);
  } catch {
    // A read-only or full disk.
  }
}
