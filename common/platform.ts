// Files of the machine: the disk, in Node, Deno and Bun. In a page platform.browser.ts stands in for this
// file.
import { open, readFile } from 'node:fs/promises';
import { writeFilesAtomic } from './atomic-files.ts';
import { readFolder, recoverFolder } from './atomic-folder.ts';
import type { Files } from './files.ts';
import { kindOnDisk } from './file-system.ts';

export { homedir } from 'node:os';
export { basename, isAbsolute, join } from 'node:path';

export const localFiles: Files = {
  kind: kindOnDisk,
  readText: (path) => readFile(path, 'utf8'),
  open: (path) => open(path, 'r'),
  save: writeFilesAtomic,
  recover: recoverFolder,
  readTogether: readFolder,
};
