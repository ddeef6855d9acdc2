// Files of a page: its own storage, which stays on the user's machine (the origin private file system,
// fs.spec.whatwg.org). Each file is written whole or not at all. A save of several writes them all before it
// puts the first in place; only a tab that is closed between the first and the last leaves some of each.
import type { FileToWrite, ReplaceOptions } from './atomic-files.ts';
import { bytesOfContents, commonPlace, fileError, openData, partsOf } from './files.ts';
import type { Files } from './files.ts';

/** Paths have "/" between their parts; there is one root, and no current folder. */
export const join = (...paths: readonly string[]): string => {
  const [, place = ''] = /^(memory:\d+|\/)/.exec(paths[0] ?? '') ?? [];
  const rest = partsOf([(paths[0] ?? '').slice(place.length), ...paths.slice(1)].join('/')).join('/');
  return place === '' || place === '/' || rest === '' ? `${place}${rest}` || '.' : `${place}/${rest}`;
};
export const basename = (path: string): string => partsOf(path).at(-1) ?? '';
export const isAbsolute = (path: string): boolean => path.startsWith('/');
export const homedir = (): string => '/';

/** Stable in all browsers that have such storage, but not yet in TypeScript's types. */
interface MovableFile extends FileSystemFileHandle {
  move(folder: FileSystemDirectoryHandle, name: string): Promise<void>;
}

async function folderAt(parts: readonly string[], create = false): Promise<FileSystemDirectoryHandle> {
  let folder = await navigator.storage.getDirectory();
  for (const part of parts) folder = await folder.getDirectoryHandle(part, { create });
  return folder;
}

const codes: Readonly<Record<string, string>> = {
  NotFoundError: 'ENOENT',
  TypeMismatchError: 'EISDIR',
  QuotaExceededError: 'ENOSPC',
  NotAllowedError: 'EACCES',
  SecurityError: 'EACCES',
};

/** An error of the browser with the code that Node gives it. */
function coded(path: string, error: unknown): unknown {
  const code = error instanceof DOMException ? codes[error.name] : undefined;
  return code === undefined ? error : fileError(path, code, error);
}

async function fileAt(path: string): Promise<File> {
  const parts = partsOf(path);
  const name = parts.pop();
  if (name === undefined) throw fileError(path, 'EISDIR');
  try {
    return await (await (await folderAt(parts)).getFileHandle(name)).getFile();
  } catch (error) {
    throw coded(path, error);
  }
}

async function save(files: readonly FileToWrite[], { replaces }: ReplaceOptions = {}): Promise<void> {
  const { folder, names } = commonPlace(files.map(({ path }) => path));
  const staged: { readonly to: FileSystemDirectoryHandle; readonly file: MovableFile; readonly name: string }[] = [];
  let path = '';
  try {
    for (const [i, each] of files.entries()) {
      path = each.path;
      const bytes = (await bytesOfContents(each.data)) as Uint8Array<ArrayBuffer>;
      const parts = [...folder, ...partsOf(names[i]!)];
      const name = parts.pop()!;
      const to = await folderAt(parts, true);
      const file = (await to.getFileHandle(`.${name}.tmp`, { create: true })) as MovableFile;
      staged.push({ to, file, name });
      const stream = await file.createWritable();
      try {
        await stream.write(bytes);
        await stream.close();
      } catch (error) {
        await stream.abort().catch(() => undefined); // which lets the file go
        throw error;
      }
    }
    for (const { to, file, name } of staged) await file.move(to, name);
  } catch (error) {
    for (const { to, name } of staged) await to.removeEntry(`.${name}.tmp`).catch(() => undefined);
    const full = error instanceof DOMException && error.name === 'QuotaExceededError';
    if (full) throw new Error(`cannot write ${path}: this page's storage is full; remove some of it`, { cause: error });
    throw coded(path, error);
  }
  if (!replaces) return;
  const place = await folderAt(folder);
  const left: string[] = [];
  for await (const name of place.keys()) if (!names.includes(name) && replaces(name)) left.push(name);
  for (const name of left) await place.removeEntry(name, { recursive: true });
}

export const localFiles: Files = {
  async kind(path) {
    const parts = partsOf(path);
    const name = parts.pop();
    if (name === undefined) return 'folder';
    try {
      const folder = await folderAt(parts);
      try {
        await folder.getFileHandle(name);
        return 'file';
      } catch {
        await folder.getDirectoryHandle(name);
        return 'folder';
      }
    } catch {
      return 'none';
    }
  },
  readText: async (path) => (await fileAt(path)).text(),
  open: async (path) => openData(await fileAt(path)),
  save,
  recover: () => Promise.resolve(),
  readTogether: (_, read) => read(),
};
