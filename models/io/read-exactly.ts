import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { readError } from '../../common/json-file.ts';

// Node refuses single reads of 2 GiB and more.
const step = 2 ** 28;

/**
 * Opens a file of weights and reads its head, for what stays open. Where that fails the file is closed;
 * errors of the system are one line, see `readError`.
 */
export async function openFile<T>(path: string, readHead: (handle: FileHandle) => Promise<T>): Promise<T> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, 'r');
    return await readHead(handle);
  } catch (error) {
    await handle?.close();
    throw error instanceof Error && 'code' in error ? readError(path, error) : error;
  }
}

/** Fills `target` from a place of an open file. Error, one line: the file became shorter. */
export async function readInto(handle: FileHandle, position: number, target: Uint8Array, path: string): Promise<void> {
  for (let done = 0; done < target.byteLength;) {
    const length = Math.min(step, target.byteLength - done);
    const { bytesRead } = await handle.read(target, done, length, position + done);
    if (bytesRead === 0) throw new Error(`${path} became shorter while it was read: another process is writing it`);
    done += bytesRead;
  }
}

/** The bytes from a place of an open file. Error: that of `readInto`. */
export async function readExactly(
  handle: FileHandle,
  position: number,
  length: number,
  path: string,
): Promise<Buffer<ArrayBuffer>> {
  const bytes = Buffer.alloc(length);
  await readInto(handle, position, bytes, path);
  return bytes;
}
