import { readdirSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { describeHolder, waitForLock } from '../../common/lock.ts';
import { temporaryName, temporaryState } from '../../common/temporary.ts';

/**
 * Waits until no other process of this machine installs into `folder`; returns what lets the next one. `say`
 * is told once if it has to wait. It saves work, no more: that two installations do no harm is due to the
 * rename at their end, so a system without locks does without.
 */
export async function lock(folder: string, say: (line: string) => void): Promise<() => void> {
  try {
    const held = await waitForLock(`driver ${folder}`, (holder) => {
      say(`waiting for ${describeHolder(holder)}, which is installing the software driver`);
    });
    return () => held.release();
  } catch {
    return () => undefined;
  }
}

/** A name for this process's own work folder beside `folder`. */
export function workFolder(folder: string): string {
  return join(dirname(folder), temporaryName(basename(folder)));
}

/** Removes the work folders that interrupted installations of `folder` left. */
export async function removeLeftovers(folder: string): Promise<void> {
  for (const name of readdirSync(dirname(folder)).filter((each) => each.startsWith(`.${basename(folder)}.`))) {
    const path = join(dirname(folder), name);
    if ((await temporaryState(path)) === 'left') rmSync(path, { recursive: true, force: true });
  }
}
