/**
 * Whether an installed driver may be run: it must be whole, and nobody but this user and root may have been
 * able to change it, since its dynamic linker runs with all of this user's rights.
 *
 * Each start looks at every file (owner, mode, size, times): 1 ms. Only where the times are not those of the
 * last look are the files hashed, 200 MB in 0.25 s.
 */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { dirname, join, relative } from 'node:path';
import type { Installed } from './layout.ts';

/** What a file must be: its bytes, or where a link leads to. */
type FileFacts = { readonly size: number; readonly sha256: string } | { readonly link: string };

/** The contents of driver.json; `sha256` is that of all else in it. */
interface DriverRecord extends Installed {
  readonly files: Readonly<Record<string, FileFacts>>;
  readonly sha256: string;
}

/** `missing`: nothing was installed. `damage`: what is wrong with what is there, in words. */
export type Verdict = { readonly facts: Installed } | { readonly missing: true } | { readonly damage: string };

const recordName = 'driver.json';
/** Times of the files when they were last hashed. */
const stampName = 'verified.json';
const writableByOthers = 0o022;

/** Checks the driver in `folder`. Throws, with the mend, where the cache is not this user's own. */
export function verifyDriver(folder: string): Verdict {
  if (!fs.existsSync(dirname(folder)) || !fs.lstatSync(folder, { throwIfNoEntry: false })) return { missing: true };
  checkCache(dirname(folder));
  try {
    return verifyFiles(folder);
  } catch (error) {
    return { damage: (error as Error).message };
  }
}

/** Writes driver.json, and so makes the files of a folder an installed driver. */
export function recordDriver(folder: string, facts: Installed): void {
  const files = Object.fromEntries(filesBelow(folder).map((name) => [name, factsOf(join(folder, name))]));
  const record = { ...facts, files };
  fs.writeFileSync(join(folder, recordName), JSON.stringify({ ...record, sha256: digest(record) }, undefined, 1));
  tighten(folder);
}

/**
 * Throws unless the project's cache folder belongs to this user or root, nobody else may write to it, and
 * nobody else could put another in its place.
 */
export function checkCache(base: string): void {
  const mend = 'set XDG_CACHE_HOME to a folder of your own';
  const stat = fs.statSync(base);
  if (!isTrusted(stat.uid))
    throw new Error(`${base} belongs to ${userName(stat.uid)}, who could change what runs here; remove it, or ${mend}`);
  // Left open by the umask of an earlier run. What lies in it is checked file by file.
  if (stat.mode & writableByOthers) fs.chmodSync(base, stat.mode & 0o7755);
  for (const path of new Set([...parents(base), ...parents(fs.realpathSync(base))])) {
    const { uid, mode } = fs.statSync(path);
    const sticky = (mode & 0o1000) !== 0;
    // Of a user that this container does not know (overflowuid): the root of the machine, mostly.
    if (!isTrusted(uid) && uid !== 65_534)
      throw new Error(`${path} belongs to ${userName(uid)}, who could replace the driver in ${base}; ${mend}`);
    if (mode & 0o002 && !sticky)
      throw new Error(`everybody may write to ${path}, and so replace the driver in ${base}; chmod o-w it, or ${mend}`);
  }
}

function verifyFiles(folder: string): Verdict {
  const { files, ...record } = readRecord(folder);
  const there = filesBelow(folder).filter((name) => name !== stampName && name !== recordName);
  const extra = there.find((name) => !Object.hasOwn(files, name));
  if (extra !== undefined) throw new Error(`${extra} does not belong there`);
  for (const name of ['.', 'lib', 'bin', recordName]) checkOwner(folder, name);
  const stamps: Record<string, string> = {};
  for (const [name, facts] of Object.entries(files)) {
    const stat = checkOwner(folder, name);
    if ('link' in facts) {
      if (!stat.isSymbolicLink() || fs.readlinkSync(join(folder, name)) !== facts.link)
        throw new Error(`${name} is not the link it was`);
      continue;
    }
    if (!stat.isFile()) throw new Error(`${name} is no file`);
    if (stat.size !== facts.size) throw new Error(`${name} has ${stat.size} bytes, not ${facts.size}`);
    stamps[name] = `${stat.ino} ${stat.mtimeMs} ${stat.ctimeMs}`;
  }
  const before = readStamps(folder);
  const changed = Object.keys(stamps).filter((name) => before[name] !== stamps[name]);
  for (const name of changed) {
    const facts = files[name]!;
    if ('sha256' in facts && hashFile(join(folder, name)) !== facts.sha256)
      throw new Error(`${name} is not what was installed`);
  }
  if (changed.length > 0) writeStamps(folder, stamps);
  const { sha256: _, ...facts } = record;
  return { facts };
}

function readRecord(folder: string): DriverRecord {
  const path = join(folder, recordName);
  if (!fs.existsSync(path)) throw new Error(`${recordName} is missing`);
  try {
    const record = JSON.parse(fs.readFileSync(path, 'utf8')) as DriverRecord;
    const { sha256, ...rest } = record;
    if (sha256 === digest(rest)) return record;
  } catch {
    // Cut or flipped: below.
  }
  throw new Error(`${recordName} is damaged`);
}

/** Throws unless a file or folder is this user's or root's, with nobody else allowed to change it. */
function checkOwner(folder: string, name: string): fs.Stats {
  const stat = fs.lstatSync(join(folder, name), { throwIfNoEntry: false });
  if (!stat) throw new Error(`${name} is missing`);
  const what = name === '.' ? 'it' : name;
  if (!isTrusted(stat.uid)) throw new Error(`${what} belongs to ${userName(stat.uid)}`);
  if (!stat.isSymbolicLink() && stat.mode & writableByOthers) throw new Error(`others may write to ${what}`);
  return stat;
}

function isTrusted(uid: number): boolean {
  return uid === 0 || uid === process.getuid?.();
}

function userName(uid: number): string {
  return uid === 0 ? 'root' : `user ${uid}`;
}

function parents(path: string): string[] {
  const parent = dirname(path);
  return parent === path ? [] : [parent, ...parents(parent)];
}

/** Files and links of a folder and those below it, by their paths from it. */
function filesBelow(folder: string, below = folder): string[] {
  return fs.readdirSync(below, { withFileTypes: true }).flatMap((entry) => {
    const path = join(below, entry.name);
    return entry.isDirectory() ? filesBelow(folder, path) : [relative(folder, path)];
  });
}

function factsOf(path: string): FileFacts {
  const stat = fs.lstatSync(path);
  if (stat.isSymbolicLink()) return { link: fs.readlinkSync(path) };
  return { size: stat.size, sha256: hashFile(path) };
}

/** Takes the right to write from all but the owner, whatever the umask was. */
function tighten(path: string): void {
  const stat = fs.lstatSync(path);
  if (stat.isSymbolicLink()) return;
  if (stat.mode & writableByOthers) fs.chmodSync(path, stat.mode & 0o7755);
  if (stat.isDirectory()) for (const name of fs.readdirSync(path)) tighten(join(path, name));
}

function digest(record: object): string {
  return createHash('sha256').update(JSON.stringify(record)).digest('hex');
}

function hashFile(path: string): string {
  const hash = createHash('sha256');
  const file = fs.openSync(path, 'r');
  const buffer = Buffer.allocUnsafe(1 << 20);
  try {
    for (let bytes; (bytes = fs.readSync(file, buffer)) > 0;) hash.update(buffer.subarray(0, bytes));
  } finally {
    fs.closeSync(file);
  }
  return hash.digest('hex');
}

function readStamps(folder: string): Record<string, unknown> {
  try {
    checkOwner(folder, stampName);
    const stamps: unknown = JSON.parse(fs.readFileSync(join(folder, stampName), 'utf8'));
    return typeof stamps === 'object' && stamps !== null ? (stamps as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** Where it cannot be written (a read-only or full disk) the next start hashes again. */
function writeStamps(folder: string, stamps: Record<string, string>): void {
  const path = join(folder, stampName);
  const temporary = `${folder}.stamps-${process.pid}`;
  try {
    fs.writeFileSync(temporary, JSON.stringify(stamps), { mode: 0o644 });
    fs.renameSync(temporary, path);
  } catch {
    fs.rmSync(temporary, { force: true });
  }
}
