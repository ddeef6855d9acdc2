import { dirname, join, relative, resolve, sep } from 'node:path';
import { namesIn, recoverFolder, saveFolder } from './atomic-folder.ts';
import { disk } from './file-system.ts';
import { StagedFile, writeError } from './staged-file.ts';
import type { FileContents } from './staged-file.ts';

/** A file to write: its path and its contents. */
export interface FileToWrite {
  path: string;
  data: FileContents;
}

export interface ReplaceOptions {
  /**
   * Tells which files of older saves go with the same step, where they are not written anew: by their names
   * in the folder, "model.safetensors". Default none.
   */
  readonly replaces?: (name: string) => boolean;
}

/**
 * Writes files that belong together (a model, its config, its tokenizer), all or none, whenever the process
 * may end: see `saveFolder`. A failure on the way (a full disk, an error while the contents are made) leaves
 * the old files as they were.
 */
export async function writeFilesAtomic(
  files: readonly FileToWrite[],
  { replaces }: ReplaceOptions = {},
): Promise<void> {
  const paths = files.map(({ path }) => resolve(path));
  if (files.length === 1 && !replaces) return writeFileAtomic(paths[0]!, files[0]!.data);
  if (files.length === 0) return;
  const folder = paths.map(dirname).reduce(commonFolder);
  const write = async (place: string): Promise<void> => {
    for (const [i, { path, data }] of files.entries())
      await (await StagedFile.create(path, join(place, relative(folder, paths[i]!)))).fill(data);
  };
  await saveFolder(folder, write, replaces);
}

/**
 * Writes one file whole or not at all: a temporary file in the same folder, fsync, rename. The folder is made
 * where it is missing. Errors (a full disk, no permission) are one line and leave an older file unchanged.
 */
export async function writeFileAtomic(path: string, data: FileContents): Promise<void> {
  const file = await StagedFile.create(path);
  await file.fill(data);
  await file.commit();
  await disk.syncFolder(dirname(resolve(path)));
}

/** The longest folder that two lie in. */
function commonFolder(a: string, b: string): string {
  let folder = a;
  while (folder !== b && !b.startsWith(folder.endsWith(sep) ? folder : `${folder}${sep}`)) folder = dirname(folder);
  return folder;
}

/**
 * Writes a folder whole or not at all, whenever the process may end: `fill` writes into a folder that it is
 * given, whose files then take the place of all that was in `path`. If `fill` fails, what was at `path`
 * stays; errors name files as they would have been in `path`. An older folder is replaced only where it is
 * empty or holds the file `mark`, by which it is known to be of the same kind.
 */
export async function writeFolderAtomic<T>(
  path: string,
  mark: string,
  fill: (place: string) => Promise<T>,
): Promise<T> {
  await recoverFolder(path);
  await checkReplaceable(path, mark);
  return saveFolder(path, fill, () => true);
}

async function checkReplaceable(path: string, mark: string): Promise<void> {
  const names = await namesIn(path).catch((error: unknown) => Promise.reject(writeError(path, error)));
  if (names.length > 0 && !names.includes(mark))
    throw new Error(
      `cannot write ${path}: the folder holds other things ` +
        `(${names.slice(0, 3).join(', ')}${names.length > 3 ? ', ...' : ''}) and no ${mark}; ` +
        'choose a new folder (nothing was replaced)',
    );
}
