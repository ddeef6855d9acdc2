import type { FileToWrite, ReplaceOptions } from './atomic-files.ts';
import { isInMemory, memoryFiles } from './files.ts';
import type { Files } from './files.ts';
import { localFiles } from './platform.ts';

/** The place that a path leads to: `memory:1/config.json` into memory, all others to the machine's files. */
export function filesAt(path: string): Files {
  return isInMemory(path) ? memoryFiles : localFiles;
}

/**
 * Saves files that belong together where their paths lead to, all or none; see `writeFilesAtomic`.
 *
 * @example
 * const folder = memoryFolder();
 * await saveFiles([{ path: `${folder}/a.txt`, data: 'hello' }, { path: `${folder}/b.txt`, data: 'world' }]);
 */
export async function saveFiles(files: readonly FileToWrite[], options?: ReplaceOptions): Promise<void> {
  if (files.length > 0) await filesAt(files[0]!.path).save(files, options);
}
