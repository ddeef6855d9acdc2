import { rmSync } from 'node:fs';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { writeError } from './atomic.ts';

// Temporary folders not yet renamed, removed if the process exits while one is being filled.
const pending = new Set<string>();
let exitHookInstalled = false;
let counter = 0;

/**
 * Writes a folder whole or not at all: `fill` writes into a temporary folder beside it, which then takes its
 * name, over an older one. If `fill` fails, or the process ends by `process.exit`, the temporary folder is
 * removed and what was at `path` stays; errors name files as they would have been in `path`. An older folder
 * is replaced only where it is empty or holds the file `mark`, by which it is known to be of the same kind.
 */
export async function writeFolderAtomic<T>(
  path: string,
  mark: string,
  fill: (temporary: string) => Promise<T>,
): Promise<T> {
  await checkReplaceable(path, mark);
  const parent = dirname(resolve(path));
  const temporary = join(parent, `.${basename(resolve(path))}.${process.pid}-${counter++}.tmp`);
  track(temporary);
  try {
    await mkdir(temporary, { recursive: true }).catch((error: unknown) => Promise.reject(writeError(path, error)));
    const result = await fill(temporary);
    await replace(path, temporary);
    await sync(parent);
    return result;
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    if (error instanceof Error) error.message = error.message.replaceAll(temporary, path);
    throw error;
  } finally {
    pending.delete(temporary);
  }
}

async function checkReplaceable(path: string, mark: string): Promise<void> {
  const names = await readdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [] as string[];
    throw writeError(path, error);
  });
  if (names.length > 0 && !names.includes(mark))
    throw new Error(
      `cannot write ${path}: the folder holds other things (${names.slice(0, 3).join(', ')}${names.length > 3 ? ', ...' : ''}) and no ${mark}; choose a new folder (nothing was replaced)`,
    );
}

/**
 * No system replaces a folder that is not empty in one step: the old one steps aside, and comes back if the
 * new one cannot take its place.
 */
async function replace(path: string, temporary: string): Promise<void> {
  const old = `${temporary}.old`;
  const hadOld = await rename(path, old).then(
    () => true,
    () => false,
  );
  try {
    await rename(temporary, path);
  } catch (error) {
    if (hadOld) await rename(old, path);
    throw writeError(path, error);
  }
  if (hadOld) await rm(old, { recursive: true, force: true });
}

async function sync(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => null);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

function track(temporary: string): void {
  pending.add(temporary);
  if (exitHookInstalled) return;
  exitHookInstalled = true;
  process.once('exit', () => {
    for (const path of pending) rmSync(path, { recursive: true, force: true });
  });
}
