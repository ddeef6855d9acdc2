import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { writeFileAtomic } from './atomic-files.ts';
import { isInside } from './atomic-folder.ts';
import { isJsonObject, pathKind, readError, readJsonFile } from './json-file.ts';

/** The name of the file that lists a folder's others with their sizes and SHA-256. */
export const manifestName = 'manifest.json';
const format = 'tapeform-manifest';

interface FileFacts {
  readonly size: number;
  readonly sha256: string;
}

/** SHA-256 of a file's bytes, in hexadecimal, read in pieces. Error: it cannot be read. */
export async function fileHash(path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  } catch (error) {
    throw readError(path, error);
  }
  return hash.digest('hex');
}

/**
 * Writes manifest.json of a folder: size and SHA-256 of every file in it and in the folders below, but for
 * names that begin with a dot and those of `without`, which may change later. Call it when all else is
 * written.
 */
export async function writeManifest(folder: string, without: readonly string[] = []): Promise<void> {
  const files: Record<string, FileFacts> = {};
  for (const name of await filesIn(folder)) {
    if (name === manifestName || without.includes(name)) continue;
    const path = join(folder, name);
    files[name] = { size: (await stat(path)).size, sha256: await fileHash(path) };
  }
  await writeFileAtomic(join(folder, manifestName), `${JSON.stringify({ format, version: 1, files }, null, 2)}\n`);
}

export async function hasManifest(folder: string): Promise<boolean> {
  return (await pathKind(join(folder, manifestName))) === 'file';
}

/**
 * Checks that a folder holds the files of its manifest.json as they were written: their sizes, which costs
 * nothing, and by default their SHA-256, which reads them all (about a second for each GB); `below` looks at
 * those of one folder in it alone. Files that the manifest does not name are not looked at. `mend` ends the
 * error: "copy the folder again".
 *
 * Errors, each one line naming the file: a file is missing, of another size, or changed; there is no
 * manifest, or it is damaged itself.
 */
export async function verifyManifest(
  folder: string,
  { mend, hashes = true, below }: { readonly mend: string; readonly hashes?: boolean; readonly below?: string },
): Promise<void> {
  for (const [name, { size, sha256 }] of Object.entries(await readManifest(folder, mend))) {
    if (below !== undefined && !name.startsWith(`${below}/`)) continue;
    const path = join(folder, name);
    const damaged = (what: string): Error => new Error(`${path} is damaged: ${what}; ${mend}`);
    const found = await stat(path).catch(() => undefined);
    if (!found?.isFile()) throw new Error(`${path} is missing, but ${manifestName} names it; ${mend}`);
    if (found.size !== size) throw damaged(`it has ${found.size} bytes where ${manifestName} says ${size}`);
    if (hashes && (await fileHash(path)) !== sha256) throw damaged(`its SHA-256 is not the one in ${manifestName}`);
  }
}

async function readManifest(folder: string, mend: string): Promise<Record<string, FileFacts>> {
  const path = join(folder, manifestName);
  const damaged = (): Error => new Error(`${path} is damaged or of a later version; ${mend}`);
  if (!(await hasManifest(folder))) throw new Error(`${path} is missing; ${mend}`);
  const json = await readJsonFile(path).catch(() => Promise.reject(damaged()));
  const { files } = json;
  if (json['format'] !== format || json['version'] !== 1 || !isJsonObject(files)) throw damaged();
  if (!Object.entries(files).every(([name, facts]) => isInside(name) && isFacts(facts))) throw damaged();
  return files as Record<string, FileFacts>;
}

function isFacts(value: unknown): value is FileFacts {
  if (!isJsonObject(value)) return false;
  const { size, sha256 } = value;
  return Number.isSafeInteger(size) && typeof sha256 === 'string' && /^[0-9a-f]{64}$/.test(sha256);
}

/** The files of a folder and of those below it, "/" between the parts of a name, in order. */
async function filesIn(folder: string, prefix = ''): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(join(folder, prefix), { withFileTypes: true })) {
    if (entry.name.startsWith('.')) continue;
    const name = `${prefix}${entry.name}`;
    if (entry.isDirectory()) found.push(...(await filesIn(folder, `${name}/`)));
    else found.push(name);
  }
  return found.sort();
}
