import { createHash, randomUUID } from 'node:crypto';
import { copyFile, mkdir, open, rename, rm, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { writeError, writeFileAtomic } from '../../common/atomic-files.ts';
import { hubToken, repositoryFolder } from './hub-cache.ts';
import { pathKind } from '../../common/json-file.ts';

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
  /** Default: HF_ENDPOINT, else https://huggingface.co. */
  hubUrl?: string;
}

/** One file of the repository: where it lies in its listing, and what its bytes must be. */
interface RemoteFile {
  path: string;
  size: number;
  /** Name in blobs/: the SHA-256 of a large file, else the git object id. */
  etag: string;
  sha256?: string;
}

/**
 * Downloads the files of model `name` that `select` picks from its listing into the Hugging Face cache,
 * skipping those already there, and returns the snapshot folder. Every file is checked (size; SHA-256 for
 * large files) before it takes its place, so an interrupted download leaves nothing half-made.
 *
 * Errors are those of @huggingface/hub (HubApiError with `statusCode`, TypeError where the network is down)
 * and one-line errors for a damaged download or a full disk.
 */
export async function downloadModel(
  name: string,
  select: (listing: readonly string[]) => readonly string[],
  { cache, revision = 'main', onProgress, hubUrl = process.env['HF_ENDPOINT'] }: DownloadOptions,
): Promise<string> {
  // Loaded only here: most runs never touch the network.
  const hub = await import('@huggingface/hub');
  const accessToken = await hubToken();
  const access = { ...(accessToken ? { accessToken } : {}), ...(hubUrl ? { hubUrl: hubUrl.replace(/\/+$/, '') } : {}) };
  const { sha: commit } = await hub.modelInfo({ name, revision, additionalFields: ['sha'], ...access });

  const listing = new Map<string, RemoteFile>();
  for await (const { type, path, size, lfs, xetHash, oid } of hub.listFiles({
    repo: name,
    revision: commit,
    ...access,
  })) {
    const etag = lfs?.oid ?? xetHash ?? oid ?? '';
    if (type !== 'file') continue;
    if (!/^[\w.-]+$/.test(etag)) throw new Error(`the hub's listing of ${name} gives no usable id for ${path}`);
    listing.set(path, { path, size, etag, sha256: lfs?.oid });
  }
  const files = select([...listing.keys()]).map((path) => listing.get(path)!);

  const folder = repositoryFolder(cache, name);
  const snapshot = join(folder, 'snapshots', commit);
  const fetchOne = async (file: RemoteFile, fileNumber: number, fileCount: number): Promise<void> => {
    const target = join(snapshot, file.path);
    if ((await pathKind(target)) === 'file') return;
    const blob = join(folder, 'blobs', file.etag);
    if ((await pathKind(blob)) !== 'file') {
      const source = await hub.downloadFile({ repo: name, path: file.path, revision: commit, ...access });
      if (!source) throw new Error(`the hub no longer has ${file.path} of ${name}: try again`);
      const report = (receivedBytes: number): void =>
        onProgress?.({ file: file.path, fileNumber, fileCount, receivedBytes, totalBytes: file.size });
      await saveBlob(source.stream(), blob, `${name}/${file.path}`, file, report);
    }
    await link(blob, target);
  };
  for (const [index, file] of files.entries()) await fetchOne(file, index + 1, files.length);
  // Written last, so that a cache that names this commit has all its files.
  if (revision !== commit) await writeFileAtomic(join(folder, 'refs', revision), commit);
  return snapshot;
}

async function saveBlob(
  stream: ReadableStream<Uint8Array>,
  blob: string,
  label: string,
  { size, sha256 }: RemoteFile,
  report: (receivedBytes: number) => void,
): Promise<void> {
  const incomplete = `${blob}.${randomUUID()}.incomplete`;
  const hash = createHash('sha256');
  let received = 0;
  try {
    await mkdir(dirname(blob), { recursive: true });
    const handle = await open(incomplete, 'wx');
    try {
      report(0);
      const reader = stream.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        hash.update(value);
        for (let start = 0; start < value.length;) start += (await handle.write(value, start)).bytesWritten;
        received += value.length;
        report(received);
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    if (received !== size) throw new Error(`the download of ${label} ended at ${received} of ${size} bytes: try again`);
    if (sha256 && hash.digest('hex') !== sha256) {
      throw new Error(`the download of ${label} is damaged (its SHA-256 is not the hub's): try again`);
    }
    await rename(incomplete, blob);
  } catch (error) {
    await rm(incomplete, { force: true });
    throw isFileError(error) ? writeError(blob, error) : error;
  }
}

// Errors of the file system carry `syscall` and no address; those of the network carry an address or a cause.
function isFileError(error: unknown): boolean {
  const syscall = (error as { syscall?: string } | null)?.syscall;
  return syscall !== undefined && ['open', 'write', 'fsync', 'rename', 'mkdir', 'close'].includes(syscall);
}

/**
 * Puts `blob` at `target`: a relative link, or a copy where links are not allowed (Windows without developer
 * mode).
 */
async function link(blob: string, target: string): Promise<void> {
  await mkdir(dirname(target), { recursive: true });
  await rm(target, { force: true });
  try {
    await symlink(relative(dirname(target), blob), target);
  } catch {
    await copyFile(blob, target);
  }
}
