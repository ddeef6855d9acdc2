// A model's files at an address, fetched into memory.
import { filesInMemory, memoryFolder } from '../../common/files.ts';
import type { FileData } from '../../common/files.ts';
import { pathKind } from '../../common/json-file.ts';
import type { DownloadProgress } from './hub-download.ts';

export const isAddress = (id: string): boolean => /^https?:\/\//.test(id);

type Fetch = (names: readonly string[]) => Promise<unknown>;

/** Folders in memory by the address that they were fetched from, and the names that were asked for. */
const fetched = new Map<string, { readonly folder: string; readonly asked: Map<string, Promise<void>> }>();

/**
 * Fetches the folder at an address into memory and returns its path: `plan` is called with that path and a
 * function that fetches files by name, those that the address has. Of a GGUF file the file's path is
 * returned. Files are fetched once. Errors, each one line: no network, a server that does not let this page
 * read, an answer of HTTP other than that a file is not there.
 */
export async function fetchFolder(
  address: string,
  plan: (folder: string, fetch: Fetch) => Promise<void>,
  onProgress?: (progress: DownloadProgress) => void,
): Promise<string> {
  const [, base = '', file] = /^(.*?)(?:\/([^/?#]+\.gguf))?\/*$/i.exec(address)!;
  const before = fetched.get(base);
  const there = before && (await pathKind(before.folder)) === 'folder' ? before : undefined;
  const { folder, asked } = there ?? { folder: memoryFolder(), asked: new Map<string, Promise<void>>() };
  fetched.set(base, { folder, asked });
  const files = filesInMemory(folder) as Map<string, FileData>;
  const load = async (name: string, fileNumber: number, fileCount: number): Promise<void> => {
    const url = `${base}/${name}`;
    const report = (receivedBytes: number, totalBytes: number): void =>
      onProgress?.({ file: name, fileNumber, fileCount, receivedBytes, totalBytes });
    try {
      const data = await fetchFile(url, report);
      if (data !== undefined) files.set(name, data);
    } catch (error) {
      asked.delete(name);
      throw error;
    }
  };
  const fetchAll: Fetch = (names) =>
    Promise.all(
      names.map((name, i) => {
        if (!asked.has(name)) asked.set(name, load(name, i + 1, names.length));
        return asked.get(name)!;
      }),
    );
  if (file === undefined) await plan(folder, fetchAll);
  else await fetchAll([file]);
  return file === undefined ? folder : `${folder}/${file}`;
}

/** The file at an address; undefined where there is none. */
async function fetchFile(url: string, report: (bytes: number, total: number) => void): Promise<Blob | undefined> {
  const refused = (why: string, cause?: unknown): Error =>
    new Error(`${url} cannot be fetched (${why}): check the address, and that its server may be read from here`, {
      cause,
    });
  let response: Response;
  try {
    response = await fetch(url);
  } catch (error) {
    throw refused((error as Error).message, error);
  }
  // Servers of pages answer with the page where there is no file.
  const isPage = response.headers.get('content-type')?.startsWith('text/html') === true;
  if (response.status === 404 || (response.ok && isPage)) {
    await response.body?.cancel();
    return undefined;
  }
  if (!response.ok || !response.body) throw refused(`HTTP ${response.status}`);
  const total = Number(response.headers.get('content-length') ?? 0);
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let received = 0;
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return new Blob(parts);
      parts.push(value as Uint8Array<ArrayBuffer>);
      received += value.byteLength;
      report(received, total);
    }
  } catch (error) {
    throw refused((error as Error).message, error);
  }
}
