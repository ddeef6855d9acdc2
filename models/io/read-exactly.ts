import { filesAt } from '../../common/file-access.ts';
import type { OpenFile } from '../../common/files.ts';
import { readError } from '../../common/json-file.ts';

// Node refuses single reads of 2 GiB and more.
const step = 2 ** 28;

/**
 * Opens a file of weights and reads its head, for what stays open. Where that fails the file is closed;
 * errors of the system are one line, see `readError`.
 */
export async function openFile<T>(path: string, readHead: (handle: OpenFile) => Promise<T>): Promise<T> {
  let handle: OpenFile | undefined;
  try {
    handle = await filesAt(path).open(path);
    return await readHead(handle);
  } catch (error) {
    await handle?.close();
    throw error instanceof Error && 'code' in error ? readError(path, error) : error;
  }
}

/** All bytes of a file. Errors, one line: see `readError`. */
export function readWhole(path: string): Promise<Uint8Array<ArrayBuffer>> {
  return openFile(path, async (handle) => {
    const bytes = await readExactly(handle, 0, (await handle.stat()).size, path);
    await handle.close();
    return bytes;
  });
}

/** Fills `target` from a place of an open file. Error, one line: the file became shorter. */
export async function readInto(handle: OpenFile, position: number, target: Uint8Array, path: string): Promise<void> {
  for (let done = 0; done < target.byteLength;) {
    const length = Math.min(step, target.byteLength - done);
    const { bytesRead } = await handle.read(target, done, length, position + done);
    if (bytesRead === 0) throw new Error(`${path} became shorter while it was read: another process is writing it`);
    done += bytesRead;
  }
}

/** The bytes from a place of an open file. Error: that of `readInto`. */
export async function readExactly(
  handle: OpenFile,
  position: number,
  length: number,
  path: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  await readInto(handle, position, bytes, path);
  return bytes;
}
