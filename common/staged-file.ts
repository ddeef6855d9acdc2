import { lstat, readdir, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { checkWritable, disk, rename } from './file-system.ts';
import { release, removeAtExit, temporaryName, temporaryState } from './temporary.ts';

/**
 * The one-line error for a failed write of `path`: what is wrong, that the old file is unchanged, and the
 * mend. The original error is kept as `cause`. `folder` is the one that refused it.
 */
export function writeError(path: string, error: unknown, folder = dirname(resolve(path))): Error {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  const reasons: Record<string, string> = {
    ENOSPC: `the disk is full; free some space or save to another folder`,
    EDQUOT: `the disk quota is used up; free some space or save to another folder`,
    EFBIG: `the file would be larger than the system allows (see ulimit -f); raise the limit or save elsewhere`,
    EIO: `the disk failed; save to another one, and have this one checked`,
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

/**
 * Throws, one line, where `folder` is no folder to write in and can become none: before work whose result
 * would have no place.
 */
export async function checkOutputFolder(folder: string): Promise<void> {
  let place = resolve(folder);
  for (;;) {
    const found = await lstat(place).catch(() => undefined);
    if (found || dirname(place) === place) break;
    place = dirname(place);
  }
  const refuse = (what: string): Error =>
    new Error(`cannot write ${folder}: ${place} is ${what}, not a folder; choose another folder`);
  const found = await stat(place).catch(() => undefined);
  if (!found) throw refuse('a link that leads nowhere');
  if (!found.isDirectory()) throw refuse('a file');
  await checkWritable(place).catch((error: unknown) => {
    throw writeError(folder, error, place);
  });
}

/** The same of a file. */
export async function checkOutputFile(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory()) throw writeError(path, { code: 'EISDIR' });
  await checkOutputFolder(dirname(resolve(path)));
}

/** What a file will hold, or a function that writes it piece by piece. */
export type FileContents = string | Uint8Array | ((file: FileSink) => Promise<void>);

/** A file that is being written, piece by piece. */
export interface FileSink {
  write(bytes: Uint8Array): Promise<void>;
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

  /**
   * Opens the temporary file, making the folder first where it is missing, and removes those that ended
   * processes left beside it. With `place` the file lies there instead, for whoever moves it on.
   */
  static async create(path: string, place?: string): Promise<StagedFile> {
    const folder = dirname(resolve(place ?? path));
    const temporary = place ?? join(folder, temporaryName(basename(path)));
    try {
      await disk.makeFolder(folder);
      if (!place) {
        await removeLeftFiles(folder);
        removeAtExit(temporary);
      }
      return new StagedFile(path, temporary, await disk.open(temporary, 'wx'));
    } catch (error) {
      release(temporary);
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
        const taken = await disk.write(this.handle, bytes.subarray(start, start + step));
        if (taken === 0) throw new Error(`cannot write ${this.path}: the system accepted no more bytes`);
        start += taken;
        this.written += taken;
      }
    } catch (error) {
      throw writeError(this.path, error);
    }
  }

  /** Writes all of it and closes; `discard`s the file if that fails. */
  async fill(data: FileContents): Promise<void> {
    try {
      if (typeof data === 'function') await data(this);
      else await this.write(typeof data === 'string' ? new TextEncoder().encode(data) : data);
      await this.finish();
    } catch (error) {
      await this.discard();
      throw error;
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
      await rename(this.temporary, this.path);
    } catch (error) {
      await this.discard();
      throw writeError(this.path, error);
    }
    release(this.temporary);
  }

  /** Removes the temporary file; what was at `path` stays. */
  async discard(): Promise<void> {
    const handle = this.handle;
    this.handle = null;
    try {
      await handle?.close().catch(() => undefined);
      // What cannot be removed now is removed by the next that writes here.
      await disk.remove(this.temporary).catch(() => undefined);
    } finally {
      release(this.temporary);
    }
  }
}

/** Removes the temporary files of a folder whose processes have ended. */
async function removeLeftFiles(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) continue; // see `recoverFolder`
    const path = join(folder, entry.name);
    if ((await temporaryState(path)) === 'left') await disk.remove(path).catch(() => undefined);
  }
}
