// Names of files and folders that are being written. Each says which process writes it, so that whoever finds
// one knows whether it is work or litter.
import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename } from 'node:path';
import { disk } from './file-system.ts';
import { isAlive, processStat } from './processes.ts';

const hash = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 8);

function attempt(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}

/** Process numbers mean the same to processes of one place: one machine and, in containers, one namespace. */
const place = hash(hostname() + attempt(() => readlinkSync('/proc/self/ns/pid')));

/**
 * When a process began, as a hash that no other process of its number has, not after the machine was started
 * anew either; '0' where the system does not tell (no /proc). Undefined: there is no such process.
 */
export function startOf(pid: number): string | undefined {
  const stat = processStat(pid);
  if (!stat) return process.platform === 'linux' || !isAlive(pid) ? undefined : '0';
  const [state] = stat.fields;
  if (state === 'Z' || state === 'X') return undefined;
  const start = stat.fields[19]!; // in ticks
  return hash(attempt(() => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1')) + start);
}

const own = `${process.pid}.${startOf(process.pid) ?? '0'}.${place}`;
const pattern = /^\..+\.(\d+)\.([0-9a-f]+)\.([0-9a-f]+)-\d+\.tmp$/;

/** Temporary names of this process that are still in use. */
const inUse = new Set<string>();
/** Paths to remove if the process exits in an orderly way. */
const removedAtExit = new Set<string>();
let hooked = false;
let counter = 0;

/** A new name for something of this process that will be called `name`: `.name.<who writes it>.tmp`. */
export function temporaryName(name: string): string {
  const made = `.${name}.${own}-${counter++}.tmp`;
  inUse.add(made);
  return made;
}

/** Removes a path if the process exits before `release` or `keepAtExit`. */
export function removeAtExit(path: string): void {
  removedAtExit.add(path);
  if (hooked) return;
  hooked = true;
  process.once('exit', () => removedAtExit.forEach((each) => disk.removeSync(each)));
}

/** A process that exits now leaves this to the next that looks. */
export function keepAtExit(path: string): void {
  removedAtExit.delete(path);
}

/** This process has done with a path that has a temporary name, whether it is still there or not. */
export function release(path: string): void {
  inUse.delete(basename(path));
  removedAtExit.delete(path);
}

/** Milliseconds after which what a process of another machine has not touched counts as left behind. */
const foreignAge = 24 * 3600_000;

/**
 * Tells what a name is: `none` no temporary one; `live`, its process is writing it; `left`, its process has
 * ended. A process on another machine cannot be asked: it counts as ended after `age` milliseconds without a
 * change.
 */
export async function temporaryState(path: string, age = foreignAge): Promise<'none' | 'live' | 'left'> {
  const name = basename(path);
  const [, pid, start, where] = pattern.exec(name) ?? [];
  if (pid === undefined) return 'none';
  if (where === place) {
    if (name.includes(`.${own}-`)) return inUse.has(name) ? 'live' : 'left';
    return startOf(Number(pid)) === start ? 'live' : 'left';
  }
  const changed = await stat(path).catch(() => undefined);
  return !changed || Math.abs(Date.now() - changed.mtimeMs) > age ? 'left' : 'live';
}

/** The number of the process that writes a temporary name. */
export function writerOf(name: string): string {
  return pattern.exec(basename(name))?.[1] ?? 'unknown';
}

/** Tells names of what is being written, or was left so, from all others. */
export function isTemporary(name: string): boolean {
  return pattern.test(name);
}
