import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { writeFileAtomic } from './atomic-files.ts';
import { isInside, namesBelow } from './atomic-folder.ts';
import { isJsonObject, pathKind, readError, readJsonFile } from './json-file.ts';
import type { JsonObject } from './json-file.ts';

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
  for (const name of await namesBelow(folder, (name) => name.startsWith('.'))) {
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
  { mend, ...what }: { readonly mend: string; readonly hashes?: boolean; readonly below?: string },
): Promise<void> {
  const damage = await damageOf(folder, what);
  if (damage !== undefined) throw new Error(`${damage}; ${mend}`);
}

/** What `verifyManifest` finds wrong, in words; undefined where nothing is. */
export async function damageOf(
  folder: string,
  { hashes = true, below }: { readonly hashes?: boolean; readonly below?: string } = {},
): Promise<string | undefined> {
  const files = await readManifest(folder);
  if (typeof files === 'string') return files;
  for (const [name, { size, sha256 }] of Object.entries(files)) {
    if (below !== undefined && !name.startsWith(`${below}/`)) continue;
    const path = join(folder, name);
    const found = await stat(path).catch(() => undefined);
    if (!found?.isFile()) return `${path} is missing, but ${manifestName} names it`;
    if (found.size !== size) return `${path} is damaged: it has ${found.size} bytes where ${manifestName} says ${size}`;
    if (hashes && (await fileHash(path)) !== sha256)
      return `${path} is damaged: its SHA-256 is not the one in ${manifestName}`;
  }
  return undefined;
}

/** The files of a manifest, or what is wrong with it. */
async function readManifest(folder: string): Promise<Record<string, FileFacts> | string> {
  const path = join(folder, manifestName);
  if (!(await hasManifest(folder))) return `${path} is missing`;
  const { format: kind, version, files } = await readJsonFile(path).catch(() => ({}) as JsonObject);
  const isRight = kind === format && version === 1 && isJsonObject(files);
  if (!isRight || !Object.entries(files).every(([name, facts]) => isInside(name) && isFacts(facts)))
    return `${path} is damaged or of a later version`;
  return files as Record<string, FileFacts>;
}

function isFacts(value: unknown): value is FileFacts {
  if (!isJsonObject(value)) return false;
  const { size, sha256 } = value;
  return Number.isSafeInteger(size) && typeof sha256 === 'string' && /^[0-9a-f]{64}$/.test(sha256);
}
