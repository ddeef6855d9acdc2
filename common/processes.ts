import { readFileSync } from 'node:fs';

/** Tells whether there is a process of this number, this user's or another's. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Of /proc/PID/stat: the program's name, and the fields after it: state, parent, group, ... (proc(5)). */
export interface ProcessStat {
  readonly name: string;
  readonly fields: readonly string[];
}

/** Undefined: there is no such process, or the system has no /proc. */
export function processStat(pid: number | 'self'): ProcessStat | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return undefined;
  }
}

/** Reads "pid (name) state parent ..."; a name may hold anything. */
export function parseStat(text: string): ProcessStat {
  const end = text.lastIndexOf(')');
  return { name: text.slice(text.indexOf('(') + 1, end), fields: text.slice(end + 2).split(' ') };
}
