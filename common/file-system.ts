// Every change that common/, models/ and train/ make to a disk is one of these operations, so that a test can
// stand between: count them, let the n-th fail, write less than it was given, or stop the process there
// (test/faults/disk.ts). Reading needs no such place.
import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import {
  access,
  constants,
  copyFile,
  lstat,
  mkdir,
  open,
  rename as renamePath,
  rm,
  rmdir,
  stat,
  symlink,
} from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { devNull } from 'node:os';

/** The operations that change a disk. Tests replace them; nothing else assigns to them. */
export const disk = {
  /** Makes a folder and those above it; one that is there stays. */
  makeFolder: async (path: string): Promise<void> => void (await mkdir(path, { recursive: true })),
  /** Opens a file to write: `wx` makes a new one, `w` an empty one. */
  open: (path: string, flags: 'w' | 'wx'): Promise<FileHandle> => open(path, flags),
  /** Appends; returns how many bytes were taken, which may be fewer than were given. */
  write: async (file: FileHandle, bytes: Uint8Array): Promise<number> => (await file.write(bytes)).bytesWritten,
  /** Waits until a file's bytes are on the disk. */
  sync: (file: FileHandle): Promise<void> => file.sync(),
  /** Makes renames durable. Windows cannot open folders; there the rename alone has to do. */
  async syncFolder(path: string): Promise<void> {
    const folder = await open(path, 'r').catch(() => null);
    await folder?.sync().catch(() => undefined);
    await folder?.close();
  },
  rename: (from: string, to: string): Promise<void> => renamePath(from, to),
  /** Removes a file, or a folder with all in it; none is no error. */
  remove: (path: string): Promise<void> => rm(path, { recursive: true, force: true }),
  /** Removes a folder with nothing in it. */
  removeEmpty: (path: string): Promise<void> => rmdir(path),
  copy: (from: string, to: string): Promise<void> => copyFile(from, to),
  /** Makes a symbolic link at `path`. */
  link: (target: string, path: string): Promise<void> => symlink(target, path),

  // Logs are written between two steps of a training, without awaiting.
  openSync: (path: string, flags: 'a' | 'w'): number => openSync(path, flags),
  writeSync: (file: number, bytes: Uint8Array): number => writeSync(file, bytes),
  syncSync: (file: number): void => fsyncSync(file),
  closeSync: (file: number): void => closeSync(file),
  removeSync: (path: string): void => rmSync(path, { recursive: true, force: true }),
};

/** Whether this process changes no disk: see `changeNothing`. */
let isIdle = false;
export const changesNothing = (): boolean => isIdle;

/**
 * From here on this process seems to write and leaves every disk as it is: one of several that run the same
 * program, of which another does the writing.
 */
export function changeNothing(): void {
  isIdle = true;
  const nothing = async (): Promise<void> => undefined;
  Object.assign(disk, {
    makeFolder: nothing,
    open: () => open(devNull, 'w'),
    syncFolder: nothing,
    rename: nothing,
    remove: nothing,
    removeEmpty: nothing,
    copy: nothing,
    link: nothing,
    openSync: () => openSync(devNull, 'w'),
    removeSync: () => undefined,
  } satisfies Partial<typeof disk>);
}

/** Appends all bytes to a log, or throws: a disk that is nearly full takes less than it is given. */
export function writeAllSync(file: number, bytes: Uint8Array): void {
  for (let start = 0; start < bytes.length;) {
    const written = disk.writeSync(file, bytes.subarray(start));
    if (written === 0) throw Object.assign(new Error('the system accepted no more bytes'), { code: 'ENOSPC' });
    start += written;
  }
}

/** Renames, and makes sure of it: some network disks have said yes and done nothing. */
export async function rename(from: string, to: string): Promise<void> {
  await disk.rename(from, to);
  const stayed = await lstat(from).then(
    () => true,
    () => false,
  );
  if (stayed) throw Object.assign(new Error(`${from} was not renamed, though the system said so`), { code: 'EIO' });
}

/** Throws the system's error where a folder takes no new files. */
export const checkWritable = (folder: string): Promise<void> => access(folder, constants.W_OK | constants.X_OK);

/** Tells a file from a folder, links followed. */
export async function kindOnDisk(path: string): Promise<'file' | 'folder' | 'none'> {
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'file';
  } catch {
    return 'none';
  }
}
