// Several files of a folder change as one, as tables of SQLite do (sqlite.org/atomiccommit.html):
//
//   model/.folder.123.….tmp/new/...        1. all new files are written here, and synced
//   model/.folder.123.….tmp/committing     2. no other process is at step 2 to 4
//   model/.folder.123.….tmp/journal.json   3. what to rename and to remove; from here on the save is made
//   model/config.json ...                  4. that is done, the journal goes, and what is left of the folder
//
// A process that ends before 3 has changed nothing; one that ends later is finished by the next that opens or
// saves the folder (`recoverFolder`).
import { randomInt } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { disk, kindOnDisk, rename } from './file-system.ts';
import { StagedFile, writeError } from './staged-file.ts';
import {
  isTemporary,
  keepAtExit,
  release,
  removeAtExit,
  temporaryName,
  temporaryState,
  writerOf,
} from './temporary.ts';

/** The paths of a commit, below the folder, "/" between their parts. */
interface Journal {
  readonly files: readonly string[];
  readonly remove: readonly string[];
}

const stageName = 'folder';
const [newFiles, flag, journalFile] = ['new', 'committing', 'journal.json'];
/** Milliseconds to wait for another process that is at step 2 to 4. */
const patience = 30_000;
/** A process of another machine that has not finished step 4 after these milliseconds has ended. */
const foreignCommitAge = 60_000;

/**
 * Saves files into a folder, all or none, at any point at which the process may end: `fill` writes them into
 * a folder for them, below which they lie as they will in `folder`. Files of older saves for which `replaces`
 * says yes (it gets a path below the folder, or a folder's) and that are not written anew are removed in the
 * same step; all else stays. What ended processes left in the folder is finished or removed first.
 *
 * Errors, one line: those of `fill`, with paths as in `folder`; the disk's; another process is saving there.
 */
export async function saveFolder<T>(
  folder: string,
  fill: (place: string) => Promise<T>,
  replaces: (name: string) => boolean = () => false,
): Promise<T> {
  const target = resolve(folder);
  const made = await missingFolders(target);
  const stage = join(target, temporaryName(stageName));
  const place = join(stage, newFiles!);
  let committed = false;
  try {
    await disk.makeFolder(target);
    await recoverFolder(target);
    removeAtExit(stage);
    await disk.makeFolder(place);
    const result = await fill(place);
    await reserve(target, stage);
    const journal = await journalOf(target, place, replaces);
    await syncFolders(place, journal.files);
    keepAtExit(stage);
    await writeJournal(stage, journal);
    committed = true;
    await finish(target, stage, journal);
    if (made.length > 0) await disk.syncFolder(dirname(target));
    return result;
  } catch (error) {
    if (committed) throw unfinished(folder, error);
    await discard(stage);
    for (const each of made) await disk.removeEmpty(each).catch(() => undefined);
    const shown = writeError(folder, error);
    shown.message = shown.message.replaceAll(place, folder);
    throw shown;
  } finally {
    release(stage);
  }
}

/** A folder and those above it that are not there, the lowest first. */
async function missingFolders(folder: string): Promise<string[]> {
  if ((await kindOnDisk(folder)) !== 'none' || dirname(folder) === folder) return [];
  return [folder, ...(await missingFolders(dirname(folder)))];
}

/**
 * Makes a folder whole before it is read: a save that its process did not live to finish is finished, one
 * that it had not yet decided on is removed, one of a process that lives is waited for.
 *
 * Errors, one line: the folder may not be written, but must be; a process holds it for 30 seconds.
 */
export async function recoverFolder(folder: string): Promise<void> {
  const target = resolve(folder);
  const deadline = Date.now() + patience;
  for (;;) {
    let busy: string | undefined;
    for (const stage of await stagesIn(target)) {
      const commits = await isCommitting(stage);
      const state = await temporaryState(stage, commits ? foreignCommitAge : undefined);
      if (state === 'left') await settle(folder, target, stage);
      else if (commits) busy = stage;
    }
    if (!busy) return;
    if (Date.now() > deadline)
      throw new Error(`${folder}: process ${writerOf(busy)} is saving into it; try again when that has ended`);
    await sleep(randomInt(5, 50));
  }
}

export interface ReadFolderOptions<T> {
  /** The files that belong together, by their paths below the folder; default all. */
  readonly files?: (name: string) => boolean;
  /** Those of the folders below, too. */
  readonly below?: boolean;
  /** A folder with which this one is saved, as `corpus` is for `corpus/train`. */
  readonly partOf?: string;
  /** Gives back what a read that does not count has opened. */
  readonly discard?: (result: T) => unknown;
}

/**
 * Reads files of a folder that belong together: all as they were before another process saved the folder, or
 * all as they are after it. Where that happens while `read` runs, `read` runs again; what it threw does not
 * count then. A file that it leaves open stays as it is.
 *
 *   const [model, words] = await readFolder(folder, async () => [await readModel(), await readWords()]);
 *
 * Errors, one line: those of `read` and of `recoverFolder`; the folder is saved again and again for 30
 * seconds.
 */
export async function readFolder<T>(
  folder: string,
  read: () => Promise<T>,
  { files = () => true, below = false, partOf, discard }: ReadFolderOptions<T> = {},
): Promise<T> {
  const target = resolve(folder);
  const targets = partOf === undefined ? [target] : [resolve(partOf), target];
  const deadline = Date.now() + patience;
  for (;;) {
    for (const each of targets) await recoverFolder(each);
    const before = await versionOf(target, files, below);
    const [result] = await Promise.allSettled([read()]);
    // A save that began before this look and ended before the next has changed the version by then.
    const stages = (await Promise.all(targets.map(stagesIn))).flat();
    const isSaved = (await Promise.all(stages.map(isCommitting))).includes(true);
    if (!isSaved && (await versionOf(target, files, below)) === before) {
      if (result.status === 'rejected') throw result.reason;
      return result.value;
    }
    if (result.status === 'fulfilled') await discard?.(result.value);
    if (Date.now() > deadline)
      throw new Error(`${folder}: it is saved again and again while it is read; try again when that has ended`);
  }
}

/** Which files lie in a folder: a save replaces each by a new one, whereas a log only grows. */
async function versionOf(target: string, files: (name: string) => boolean, below: boolean): Promise<string> {
  const names = below ? await namesBelow(target).catch(() => []) : await namesIn(target).catch(() => []);
  const facts = names.filter(files).map(async (name) => {
    const found = await stat(join(target, name), { bigint: true }).catch(() => undefined);
    return found?.isDirectory() === true ? '' : `${name} ${found?.ino} ${found?.birthtimeNs}`;
  });
  return (await Promise.all(facts)).sort().join('\n');
}

/** The names in a folder, but for files and folders that are being written. An absent folder has none. */
export async function namesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [] as string[];
    throw error;
  });
  return names.filter((name) => !isTemporary(name));
}

/** The stages that processes, living or not, have in a folder. */
async function stagesIn(target: string): Promise<string[]> {
  const entries = await readdir(target, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isDirectory() && isTemporary(entry.name) && entry.name.startsWith(`.${stageName}.`))
    .map(({ name }) => join(target, name));
}

async function isCommitting(stage: string): Promise<boolean> {
  return (await kindOnDisk(join(stage, flag!))) !== 'none' || (await hasJournal(stage));
}

async function hasJournal(stage: string): Promise<boolean> {
  return (await kindOnDisk(join(stage, journalFile!))) !== 'none';
}

/**
 * Step 2. Whoever has raised its flag and then sees no other flag is alone: of two, the one that raised it
 * later sees the other. Two that see each other lower theirs and wait for different times.
 */
async function reserve(target: string, stage: string): Promise<void> {
  const path = join(stage, flag!);
  const deadline = Date.now() + patience;
  for (;;) {
    await recoverFolder(target);
    await (await disk.open(path, 'wx')).close();
    const others = (await stagesIn(target)).filter((other) => other !== stage);
    const raised = await Promise.all(others.map(isCommitting));
    const other = others[raised.indexOf(true)];
    if (other === undefined) return;
    await disk.remove(path);
    if (Date.now() > deadline)
      throw new Error(`process ${writerOf(other)} is saving into ${target} too; try again when that has ended`);
    await sleep(randomInt(5, 50));
  }
}

/**
 * What to rename and what to remove. Errors: a folder stays where a file must lie, or the other way round.
 */
async function journalOf(target: string, place: string, replaces: (name: string) => boolean): Promise<Journal> {
  const files = await namesBelow(place);
  const wanted = new Set(files);
  const parents = new Set(files.flatMap(parentsOf));
  const remove: string[] = [];
  const visit = async (prefix: string): Promise<void> => {
    for (const entry of await readdir(join(target, prefix), { withFileTypes: true })) {
      if (isTemporary(entry.name)) continue;
      const name = `${prefix}${entry.name}`;
      const isFolder = entry.isDirectory();
      if (isFolder && parents.has(name)) await visit(`${name}/`);
      else if (isFolder || !wanted.has(name)) {
        if (replaces(name)) remove.push(name);
        else if (wanted.has(name) || (parents.has(name) && (await kindOnDisk(join(target, name))) === 'file'))
          throw writeError(join(target, name), Object.assign(new Error(), { code: isFolder ? 'EISDIR' : 'ENOTDIR' }));
      }
    }
  };
  await visit('');
  return { files, remove };
}

/** 'a/b/c' has 'a' and 'a/b'. */
function parentsOf(name: string): string[] {
  const parts = name.split('/');
  return parts.slice(1).map((_, i) => parts.slice(0, i + 1).join('/'));
}

/** All files in a folder and those below it, "/" between the parts of a name, but for names to `skip`. */
export async function namesBelow(folder: string, skip = isTemporary, prefix = ''): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(join(folder, prefix), { withFileTypes: true })) {
    if (skip(entry.name)) continue;
    const name = `${prefix}${entry.name}`;
    if (entry.isDirectory()) found.push(...(await namesBelow(folder, skip, `${name}/`)));
    else found.push(name);
  }
  return found.sort();
}

/** Step 3. */
async function writeJournal(stage: string, journal: Journal): Promise<void> {
  const path = join(stage, journalFile!);
  await (await StagedFile.create(path, `${path}.new`)).fill(JSON.stringify(journal));
  await rename(`${path}.new`, path);
  await disk.syncFolder(stage);
}

/** Step 4, which may be taken again from any point at which it was broken off. */
async function finish(target: string, stage: string, { files, remove }: Journal): Promise<void> {
  for (const name of remove) await disk.remove(join(target, name));
  for (const parent of new Set(files.flatMap(parentsOf)))
    if ((await kindOnDisk(join(target, parent))) === 'none') await disk.makeFolder(join(target, parent));
  for (const name of files) {
    const from = join(stage, newFiles!, name);
    if ((await kindOnDisk(from)) !== 'none') await rename(from, join(target, name));
    else if ((await kindOnDisk(join(target, name))) === 'none')
      throw new Error(`${name}, which was written, is gone; save it again`);
  }
  await syncFolders(target, files);
  await disk.remove(join(stage, journalFile!));
  await disk.remove(stage);
}

/** Makes durable which files lie in a folder and in those below it. */
async function syncFolders(folder: string, files: readonly string[]): Promise<void> {
  for (const parent of new Set(['', ...files.flatMap(parentsOf)])) await disk.syncFolder(join(folder, parent));
}

/** Removes a stage before its step 3. The journal goes first: half a stage with one would be half a save. */
async function discard(stage: string): Promise<void> {
  try {
    await disk.remove(join(stage, journalFile!));
    await disk.remove(stage);
  } catch {
    // The next that opens the folder removes it.
  }
}

/** Finishes or removes the stage of a process that has ended. */
async function settle(folder: string, target: string, stage: string): Promise<void> {
  if (!(await hasJournal(stage))) return discard(stage);
  // Of several that find it, the one that renames it has it.
  const own = join(target, temporaryName(stageName));
  try {
    try {
      await rename(stage, own);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    await finish(target, own, await readJournal(join(own, journalFile!)));
  } catch (error) {
    throw unfinished(folder, error);
  } finally {
    release(own);
  }
}

async function readJournal(path: string): Promise<Journal> {
  const text = await readFile(path, 'utf8');
  try {
    const { files, remove } = JSON.parse(text) as Partial<Journal>;
    if (isPaths(files) && isPaths(remove)) return { files, remove };
  } catch {
    // as one that is JSON, but no journal
  }
  throw new Error(`${path} is damaged; remove ${dirname(path)} and save the folder again`);
}

function isPaths(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((name) => typeof name === 'string' && isInside(name));
}

/** Tells a path below a folder, "/" between its parts, from one that leads out of it. */
export function isInside(name: string): boolean {
  const parts = name.split('/');
  return parts.every((part) => !['', '.', '..'].includes(part)) && !/[\0\\]|^[A-Za-z]:/.test(name);
}

/** The one-line error for a save that is decided on but not finished. */
function unfinished(folder: string, error: unknown): Error {
  const message = error instanceof Error ? error.message : String(error);
  return new Error(
    `${folder}: a save into it is not finished (${message}); ` +
      'open it once as a user who may write there, with room on the disk',
    { cause: error },
  );
}
