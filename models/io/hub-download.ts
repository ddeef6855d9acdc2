import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir, stat, statfs } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { writeFileAtomic } from '../../common/atomic-files.ts';
import { disk } from '../../common/file-system.ts';
import { isJsonObject } from '../../common/json-file.ts';
import { describeHolder, waitForLock } from '../../common/lock.ts';
import type { Lock, LockHolder } from '../../common/lock.ts';
import { brief } from '../../common/printable.ts';
import { isAlive } from '../../common/processes.ts';
import { writeError } from '../../common/staged-file.ts';
import { hubToken, repositoryFolder } from './hub-cache.ts';
import { hubError, hubJson, hubRequest, retry } from './hub-http.ts';
import type { Hub } from './hub-http.ts';
import { checkRevision, isCommit } from './hub-names.ts';

/** How far a download is: bytes of the current file, and which file of how many (counted from 1). */
export interface DownloadProgress {
  file: string;
  fileNumber: number;
  fileCount: number;
  receivedBytes: number;
  totalBytes: number;
}

export interface DownloadOptions {
  cache: string;
  revision?: string;
  onProgress?: (progress: DownloadProgress) => void;
  /** Told once, in a line, that another process is downloading the model; default: stderr. */
  onWait?: (line: string) => void;
  /** Default: HF_ENDPOINT, else https://huggingface.co. */
  hubUrl?: string;
}

/** One file of the repository: where it lies in its listing, and what its bytes must be. */
interface RemoteFile {
  readonly path: string;
  readonly size: number;
  /** Name in blobs/: the SHA-256 of a large file (Git LFS), else the git object id. */
  readonly etag: string;
}

/** A file may fail so often in a row without a further byte. */
const ATTEMPTS = 5;
const MAX_PAGES = 100;

/**
 * Downloads the files of model `name` that `select` picks from its listing into the Hugging Face cache,
 * skipping those already there, and returns the snapshot folder.
 *
 * Nothing that the hub says is used unchecked: commit and ids must be hashes, paths must stay in the model's
 * folder, and every file must have the size and the hash of the listing (SHA-256 of large files, git's object
 * id of small ones) before it takes its place. What is not finished is kept under another name, and the next
 * attempt goes on where it ends.
 *
 * Errors, each one line: `statusCode` where the hub answers with an error of HTTP, TypeError where the
 * network is down, a damaged or stalled download, a full disk.
 */
export async function downloadModel(
  name: string,
  select: (listing: readonly string[]) => readonly string[],
  {
    cache,
    revision = 'main',
    onProgress,
    onWait = (line) => console.error(line),
    hubUrl = process.env['HF_ENDPOINT'],
  }: DownloadOptions,
): Promise<string> {
  checkRevision(revision);
  const hub: Hub = { url: (hubUrl || 'https://huggingface.co').replace(/\/+$/, ''), token: await hubToken() };
  const commit = await findCommit(hub, name, revision);
  const listing = await listFiles(hub, name, commit);
  const files = select([...listing.keys()]).map((path) => remoteFile(name, path, listing.get(path)!));

  const folder = repositoryFolder(cache, name);
  const snapshot = join(folder, 'snapshots', commit);
  const fetchOne = async (file: RemoteFile, fileNumber: number): Promise<void> => {
    const target = join(snapshot, file.path);
    if (await hasSize(target, file.size)) return;
    const blob = join(folder, 'blobs', file.etag);
    if (!(await hasSize(blob, file.size))) {
      const address = `/${name}/resolve/${commit}/${file.path.split('/').map(encodeURIComponent).join('/')}`;
      const report = (receivedBytes: number): void =>
        onProgress?.({ file: file.path, fileNumber, fileCount: files.length, receivedBytes, totalBytes: file.size });
      await saveBlob(hub, address, blob, `${name}/${file.path}`, file, report);
    }
    await link(blob, target);
  };
  const lock = await lockDownload(name, folder, onWait);
  try {
    for (const [index, file] of files.entries()) await fetchOne(file, index + 1);
    // Written last, so that a cache that names this commit has all its files.
    if (revision !== commit) await writeFileAtomic(join(folder, 'refs', revision), commit);
  } finally {
    lock?.release();
  }
  return snapshot;
}

/**
 * Waits until no other process of this machine downloads a model. It saves work, no more: two downloads do no
 * harm, so a system without locks does without.
 */
async function lockDownload(name: string, folder: string, onWait: (line: string) => void): Promise<Lock | undefined> {
  const wait = (holder: LockHolder): void => {
    if (holder.pid !== process.pid) onWait(`waiting for ${describeHolder(holder)}, which is downloading ${name}`);
  };
  return waitForLock(`hub ${resolve(folder)}`, wait).catch(() => undefined);
}

async function findCommit(hub: Hub, name: string, revision: string): Promise<string> {
  const path = `/api/models/${name}/revision/${encodeURIComponent(revision)}?expand=sha`;
  const { value } = await hubJson(hub, path);
  const sha = isJsonObject(value) ? value['sha'] : undefined;
  if (!isCommit(sha)) throw new Error(`the hub names no commit of ${name}, but ${show(sha)}: check HF_ENDPOINT`);
  return sha;
}

/** What the hub says of a model's files, unchecked, by path. */
async function listFiles(hub: Hub, name: string, commit: string): Promise<Map<string, Record<string, unknown>>> {
  const listing = new Map<string, Record<string, unknown>>();
  let next: string | undefined = `/api/models/${name}/tree/${commit}?recursive=true&expand=false`;
  for (let page = 0; next !== undefined; page++) {
    if (page === MAX_PAGES) throw new Error(`the hub's listing of ${name} does not end`);
    const { value, headers } = await hubJson(hub, next);
    if (!Array.isArray(value)) throw new Error(`the hub's listing of ${name} is no list: check HF_ENDPOINT`);
    for (const entry of value as unknown[]) {
      if (isJsonObject(entry) && entry['type'] === 'file' && typeof entry['path'] === 'string')
        listing.set(entry['path'], entry);
    }
    next = /<([^>]+)>;\s*rel="next"/.exec(headers.get('link') ?? '')?.[1];
  }
  return listing;
}

/** What the hub sent, so that a terminal does not get it as it is. */
const show = (value: unknown): string => brief(value, 100);

/** Checks one entry of a listing. */
function remoteFile(name: string, path: string, { size, oid, lfs }: Record<string, unknown>): RemoteFile {
  const label = `the hub's listing of ${name} gives`;
  if (!staysInside(path)) throw new Error(`${label} ${show(path)}, which is no path inside the model: do not trust it`);
  if (!Number.isSafeInteger(size) || (size as number) < 0)
    throw new Error(`${label} ${show(path)} the size ${show(size)}: a whole number of bytes is needed`);
  const large = isJsonObject(lfs);
  const id = large ? lfs['oid'] : oid;
  if (typeof id !== 'string' || !(large ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/).test(id))
    throw new Error(`${label} no usable id for ${show(path)}: its contents could not be checked`);
  return { path, size: size as number, etag: id };
}

/** Whether a relative path of a listing names a file below its folder on every system. */
function staysInside(path: string): boolean {
  const parts = path.split('/');
  return !/[\0-\x1f\x7f\\:]/.test(path) && parts.every((part) => part !== '' && !/^\.+ *$/.test(part));
}

async function hasSize(path: string, size: number): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found !== undefined && found.isFile() && found.size === size;
}

/** The hash whose hex digits name a blob: of a file in Git LFS its SHA-256, else git's SHA-1 of a blob. */
function blobHash({ etag, size }: RemoteFile): Hash {
  return etag.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
}

async function saveBlob(
  hub: Hub,
  address: string,
  blob: string,
  label: string,
  file: RemoteFile,
  report: (receivedBytes: number) => void,
): Promise<void> {
  let partial: string | undefined;
  try {
    await disk.makeFolder(dirname(blob));
    await checkRoom(dirname(blob), file, label);
    partial = await takeOverPartial(blob);
    // Bytes of an earlier attempt may be damaged: they get one chance.
    const resumed = await hasBytes(partial);
    await receive(hub, address, partial, label, file, report).catch(async (error: unknown) => {
      if (!resumed || (error as { damaged?: boolean }).damaged !== true) throw error;
      await receive(hub, address, partial!, label, file, report);
    });
    await disk.rename(partial, blob);
  } catch (error) {
    // Under its own name, so that the next process goes on with it.
    if (partial && (await hasBytes(partial))) await disk.rename(partial, `${blob}.incomplete`).catch(() => undefined);
    else if (partial) await disk.remove(partial);
    throw isFileError(error) ? writeError(blob, error) : error;
  }
}

async function hasBytes(path: string): Promise<boolean> {
  return ((await stat(path).catch(() => undefined))?.size ?? 0) > 0;
}

/** Fails before a byte is written where the disk cannot hold the file. */
async function checkRoom(folder: string, { size }: RemoteFile, label: string): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (size > bavail * bsize) {
    const mend = 'free some space, or set HF_HUB_CACHE to a folder on a larger disk';
    throw new Error(`${label} has ${size} bytes, and ${folder} has room for ${bavail * bsize}: ${mend}`);
  }
}

/**
 * Receives a whole file into `partial`, which may hold its beginning, and checks it. A broken or stalled
 * connection is taken up again with a range.
 */
async function receive(
  hub: Hub,
  address: string,
  partial: string,
  label: string,
  file: RemoteFile,
  report: (receivedBytes: number) => void,
): Promise<void> {
  const handle = await open(partial, 'a+');
  let received = (await handle.stat()).size;
  let best = received;
  const further = (): boolean => received > best && (best = received) > 0;
  try {
    if (received > file.size) await handle.truncate((received = 0));
    report(received);
    await retry(
      ATTEMPTS,
      async () => {
        if (received >= file.size && file.size > 0) return;
        const range = received > 0 ? { Range: `bytes=${received}-` } : undefined;
        const response = await hubRequest(hub, address, range).catch((error: unknown) => {
          // The network went away in the midst of a file: it may come back.
          if (!range || !(error instanceof TypeError)) throw error;
          throw hubError('the hub cannot be reached', { transient: true });
        });
        if (range && !continues(response.headers, response.status, received, file.size)) {
          await handle.truncate((received = 0));
          if (response.status === 206) {
            response.cancel();
            throw hubError(`the hub sends another part of ${label} than was asked for`, { transient: true });
          }
        }
        checkAnnounced(response.headers, response.status, label, file.size);
        for await (const chunk of response.chunks()) {
          if (received + chunk.length > file.size)
            throw damaged(`the download of ${label} is longer than the ${file.size} bytes of the hub's listing`);
          await writeAll(handle, chunk);
          received += chunk.length;
          report(received);
        }
        if (received < file.size)
          throw hubError(`the download of ${label} ended at ${received} of ${file.size} bytes`, { transient: true });
      },
      further,
    ).catch((error: unknown) => {
      // Tried in vain: say so once, with what was got.
      if (!(error instanceof Error) || (error as { transient?: boolean }).transient !== true) throw error;
      const status = (error as { statusCode?: number }).statusCode;
      if (status !== undefined) throw error;
      const kept = received > 0 ? `, ${received} of ${file.size} bytes are kept` : '';
      const tried = error.message.includes(label) ? error.message : `the download of ${label} failed, ${error.message}`;
      throw new Error(`${tried}${kept}: try again`, { cause: error });
    });
    await disk.sync(handle);
    // Read back, since what counts is what the disk holds.
    const hash = blobHash(file);
    for await (const chunk of createReadStream(partial)) hash.update(chunk as Buffer);
    if (hash.digest('hex') !== file.etag) {
      const kind = file.etag.length === 64 ? 'SHA-256' : 'git id';
      throw damaged(`the download of ${label} is damaged (its ${kind} is not the hub's)`);
    }
  } catch (error) {
    if ((error as { damaged?: boolean }).damaged === true) await handle.truncate(0);
    throw error;
  } finally {
    await handle.close();
  }
}

/** An error of contents: what was received is of no use. */
function damaged(message: string): Error {
  return Object.assign(new Error(`${message}: try again`), { damaged: true });
}

/** Whether an answer holds the file's bytes from `start` on. */
function continues(headers: Headers, status: number, start: number, size: number): boolean {
  return status === 206 && headers.get('content-range') === `bytes ${start}-${size - 1}/${size}`;
}

/** Refuses a whole file of another size, and a web page, before its bytes are written. */
function checkAnnounced(headers: Headers, status: number, label: string, size: number): void {
  const length = headers.get('content-length');
  if (status !== 200 || headers.has('content-encoding') || length === null || Number(length) === size) return;
  const page = /html/i.test(headers.get('content-type') ?? '')
    ? 'the hub sends a web page (does this network ask for a login?) in place of'
    : `the hub sends ${show(length)} bytes for`;
  throw damaged(`${page} ${label}, which has ${size} in its listing`);
}

async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let start = 0; start < chunk.length;) start += await disk.write(handle, chunk.subarray(start));
}

let partials = 0;

/**
 * The name of this process's own partial file for `blob`: two downloads of one file never write to the same.
 * A beginning that an earlier attempt left is renamed to it: only one process can have it.
 */
async function takeOverPartial(blob: string): Promise<string> {
  const host = hostname().replace(/[^\w-]/g, '_');
  const own = `${blob}.${process.pid}@${host}-${partials++}.incomplete`;
  const left = [`${blob}.incomplete`];
  for (const name of await readdir(dirname(blob))) {
    const [, by, at] = /^\.(\d+)@([\w-]+)-\d+\.incomplete$/.exec(name.replace(basename(blob), '')) ?? [];
    if (by !== undefined && at === host && !isAlive(Number(by))) left.push(join(dirname(blob), name));
  }
  for (const path of left) {
    if (await disk.rename(path, own).then(() => true).catch(() => false)) break; // prettier-ignore
  }
  return own;
}

// Errors of the file system carry `syscall` and no address; those of the network carry an address or a cause.
function isFileError(error: unknown): boolean {
  const syscall = (error as { syscall?: string } | null)?.syscall;
  return syscall !== undefined && ['open', 'write', 'fsync', 'rename', 'mkdir', 'close'].includes(syscall);
}

/**
 * Puts `blob` at `target` in one step: a relative link, or a copy where links are not allowed (Windows
 * without developer mode).
 */
async function link(blob: string, target: string): Promise<void> {
  await disk.makeFolder(dirname(target));
  const temporary = `${target}.${process.pid}-${partials++}.tmp`;
  try {
    await disk.link(relative(dirname(target), blob), temporary);
  } catch {
    await disk.copy(blob, temporary);
  }
  await disk.rename(temporary, target);
}
