import { readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';

/** No installation takes this long: a lock or folder older than that was left behind, whoever made it. */
const abandonedAfter = 30 * 60_000;

/**
 * Waits for the lock file and takes it; returns what gives it back. `say` is told once if it has to wait. A
 * lock whose process has ended is taken over. It saves work, no more: that two installations do no harm is
 * due to the rename at their end.
 */
export async function lock(path: string, say: (line: string) => void): Promise<() => void> {
  for (let waited = false; ;) {
    try {
      writeFileSync(path, owner(), { flag: 'wx' });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    if (isAbandoned(path, readOwner(path))) {
      rmSync(path, { force: true });
      continue;
    }
    if (!waited) say('waiting for another process, which is installing the software driver');
    waited = true;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** The name of this process's own work folder beside `folder`. */
export function workFolder(folder: string): string {
  return `${folder}.part-${owner()}`;
}

/** Removes the work folders that interrupted installations of `folder` left. */
export function removeLeftovers(folder: string): void {
  const prefix = `${basename(folder)}.part-`;
  for (const name of readdirSync(dirname(folder)).filter((name) => name.startsWith(prefix))) {
    const path = join(dirname(folder), name);
    if (isAbandoned(path, name.slice(prefix.length))) rmSync(path, { recursive: true, force: true });
  }
}

/** Names a process among the machines and containers that may share a home folder. */
function owner(): string {
  return `${process.pid}@${hostname().replace(/[^\w.-]/g, '_')}`;
}

function readOwner(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function isAbandoned(path: string, by: string): boolean {
  const age = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
  const [pid = '', host] = by.split('@');
  return age > abandonedAfter || (host === owner().split('@')[1] && !isAlive(Number(pid)));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
