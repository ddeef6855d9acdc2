import { readdir } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { disk } from './file-system.ts';

/** A file to write: its path and its contents, or a function that writes them piece by piece. */
export interface FileToWrite {
  path: string;
  data: string | Uint8Array | ((file: StagedFile) => Promise<void>);
}

// Temporary files and folders not yet renamed, removed if the process exits while one is being written.
const pending = new Set<string>();
let exitHookInstalled = false;

function track(temporary: string): void {
  pending.add(temporary);
  if (exitHookInstalled) return;
  exitHookInstalled = true;
  process.once('exit', () => {
    for (const path of pending) disk.removeSync(path);
  });
}

let counter = 0;

/**
 * The one-line error for a failed write of `path`: what is wrong, that the old file is unchanged, and the
 * mend. The original error is kept as `cause`.
 */
export function writeError(path: string, error: unknown): Error {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  const folder = dirname(resolve(path));
  const reasons: Record<string, string> = {
    ENOSPC: `the disk is full; free some space or save to another folder`,
    EDQUOT: `the disk quota is used up; free some space or save to another folder`,
    EFBIG: `the file would be larger than the system allows (see ulimit -f); raise the limit or save elsewhere`,
    EACCES: `no permission to write in ${folder}; choose a folder you may write to`,
    EPERM: `no permission to write in ${folder}; choose a folder you may write to`,
    EROFS: `${folder} is on a read-only file system; choose another folder`,
    ENOTDIR: `a part of ${folder} is a file, not a folder; choose another folder`,
    EEXIST: `a part of ${folder} is a file, not a folder; choose another folder`,
    EISDIR: `it is a folder; choose a file name`,
  };
  if (code === undefined) return error instanceof Error ? error : new Error(String(error));
  const reason = reasons[code] ?? (error as Error).message;
  return new Error(`cannot write ${path}: ${reason} (nothing was replaced)`, { cause: error });
}

/** A file being written under a temporary name beside its place; it takes its place only by `commit`. */
export class StagedFile {
  readonly path: string;
  private readonly temporary: string;
  private handle: FileHandle | null;
  private written = 0;

  private constructor(path: string, temporary: string, handle: FileHandle) {
    this.path = path;
    this.temporary = temporary;
    this.handle = handle;
  }

  /** Opens the temporary file, making the folder first where it is missing. */
  static async create(path: string): Promise<StagedFile> {
    const folder = dirname(resolve(path));
    const temporary = join(folder, `.${basename(path)}.${process.pid}-${counter++}.tmp`);
    try {
      await disk.makeFolder(folder);
      track(temporary);
      return new StagedFile(path, temporary, await disk.open(temporary, 'wx'));
    } catch (error) {
      pending.delete(temporary);
      throw writeError(path, error);
    }
  }

  /** Appends bytes; a short write (a full disk) is an error, never a shorter file. */
  async write(bytes: Uint8Array): Promise<void> {
    if (!this.handle) throw new Error(`cannot write ${this.path}: the file is already closed`);
    // Node refuses single writes of 2 GiB and more.
    const step = 1 << 28;
    try {
      for (let start = 0; start < bytes.byteLength;) {
        const length = Math.min(step, bytes.byteLength - start);
        const taken = await disk.write(this.handle, bytes.subarray(start, start + length));
        if (taken === 0) throw new Error(`cannot write ${this.path}: the system accepted no more bytes`);
        start += taken;
        this.written += taken;
      }
    } catch (error) {
      throw writeError(this.path, error);
    }
  }

  /** Flushes to the disk and closes, so that what `commit` renames is whole even after a power cut. */
  async finish(): Promise<void> {
    const handle = this.handle;
    this.handle = null;
    if (!handle) return;
    try {
      await disk.sync(handle);
      // Node 18.19 was seen to report bytes as written that a size limit had cut off.
      const { size } = await handle.stat();
      if (size !== this.written) {
        throw new Error(
          `cannot write ${this.path}: the disk is full or the file larger than the system allows, ` +
            `only ${size} of ${this.written} bytes were kept; ` +
            'free some space, raise the limit or save elsewhere (nothing was replaced)',
        );
      }
    } catch (error) {
      throw writeError(this.path, error);
    } finally {
      await handle.close();
    }
  }

  /** Puts the finished file in its place, over an older one. */
  async commit(): Promise<void> {
    await this.finish();
    try {
      await disk.rename(this.temporary, this.path);
    } catch (error) {
      await this.discard();
      throw writeError(this.path, error);
    }
    pending.delete(this.temporary);
  }

  /** Removes the temporary file; what was at `path` stays. */
  async discard(): Promise<void> {
    const handle = this.handle;
    this.handle = null;
    await handle?.close().catch(() => undefined);
    await disk.remove(this.temporary);
    pending.delete(this.temporary);
  }
}

/**
 * Writes several files that belong together (a model, its config, its tokenizer): every one is written whole
 * under a temporary name first, and only when all have succeeded are they renamed into place, in the order
 * given. A failure before that (a full disk, an error while the contents are made) leaves all the old files
 * as they were.
 */
export async function writeFilesAtomic(files: readonly FileToWrite[]): Promise<void> {
  const staged: StagedFile[] = [];
  try {
    for (const { path, data } of files) {
      const file = await StagedFile.create(path);
      staged.push(file);
      if (typeof data === 'function') await data(file);
      else await file.write(typeof data === 'string' ? new TextEncoder().encode(data) : data);
      await file.finish();
    }
    for (const file of staged) await file.commit();
  } catch (error) {
    for (const file of staged) await file.discard();
    throw error;
  }
  for (const folder of new Set(files.map(({ path }) => dirname(resolve(path))))) await disk.syncFolder(folder);
}

/**
 * Writes one file whole or not at all: a temporary file in the same folder, fsync, rename. The folder is made
 * where it is missing. Errors (a full disk, no permission) are one line and leave an older file unchanged.
 */
export async function writeFileAtomic(path: string, data: string | Uint8Array): Promise<void> {
  await writeFilesAtomic([{ path, data }]);
}

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
    await disk.makeFolder(temporary).catch((error: unknown) => Promise.reject(writeError(path, error)));
    const result = await fill(temporary);
    await replace(path, temporary);
    await disk.syncFolder(parent);
    return result;
  } catch (error) {
    await disk.remove(temporary);
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
      `cannot write ${path}: the folder holds other things ` +
        `(${names.slice(0, 3).join(', ')}${names.length > 3 ? ', ...' : ''}) and no ${mark}; ` +
        'choose a new folder (nothing was replaced)',
    );
}

/**
 * No system replaces a folder that is not empty in one step: the old one steps aside, and comes back if the
 * new one cannot take its place.
 */
async function replace(path: string, temporary: string): Promise<void> {
  const old = `${temporary}.old`;
  const hadOld = await disk.rename(path, old).then(
    () => true,
    () => false,
  );
  try {
    await disk.rename(temporary, path);
  } catch (error) {
    if (hadOld) await disk.rename(old, path);
    throw writeError(path, error);
  }
  if (hadOld) await disk.remove(old);
}
