/**
 * Installs a software driver into its cache folder, whole or not at all, once however many processes ask for
 * it.
 */
import * as fs from 'node:fs';
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fetchMesa, findAptSources } from './apt.ts';
import type { Download } from './apt.ts';
import { messageOf } from '../../common/run-command.ts';
import { manifestPath, wrapperPath, wrapperScript } from './layout.ts';
import type { Installed, SoftwareKind } from './layout.ts';
import { lock, removeLeftovers, workFolder } from './lock.ts';
import type { Distribution } from './machine.ts';
import { probe, probeArguments } from './probe.ts';
import { fetchSwiftShader } from './swiftshader.ts';
import { checkCache, recordDriver, verifyDriver } from './verify.ts';

type Say = (line: string) => void;

/** A place to get a driver from; `fetch` fills `work`/lib. */
export interface Recipe {
  readonly name: string;
  /** The server: where it cannot be reached, other recipes for it are passed over. */
  readonly host: string;
  readonly library: string;
  fetch(work: string, announce: (download: Download) => void): Promise<void>;
}

/**
 * A failed installation is not tried again for this long, so that scripts do not wait for a dead network one
 * after the other.
 */
const retryAfter = 10 * 60_000;

/**
 * Makes `folder` hold a driver that computes. Returns at once where it does. Tries the recipes of `kind` in
 * order and takes the first whose driver passes the probe. Rejects with one line that names what failed.
 * `again`: try even if it failed a moment ago. `find`: the recipes, where not those of this machine.
 */
export async function ensureInstalled(
  kind: SoftwareKind,
  folder: string,
  distribution: Distribution,
  say: Say,
  again: boolean,
  find: typeof recipes = recipes,
): Promise<Installed> {
  const ready = verifyDriver(folder);
  if ('facts' in ready) return ready.facts;
  if ('damage' in ready) say(`the driver in ${folder} is damaged (${ready.damage}); getting it again`);
  const failure = recentFailure(folder);
  if (failure && !again) throw new Error(failure);
  probeArguments(); // throws where no driver could pass, before anything is fetched
  try {
    mkdirSync(dirname(folder), { recursive: true, mode: 0o700 });
    fs.accessSync(dirname(folder), fs.constants.W_OK);
  } catch (error) {
    const mend = 'set XDG_CACHE_HOME to a folder you may write to';
    throw new Error(`cannot write to ${dirname(folder)} (${messageOf(error)}); ${mend}`);
  }
  checkCache(dirname(folder));
  const before = failedAt(folder);
  const unlock = await lock(folder, say);
  try {
    // What the process that was waited for has done: of ten that start at once, one waits for a dead network.
    const other = verifyDriver(folder);
    if ('facts' in other) return other.facts;
    if (failedAt(folder) > before) throw new Error(fs.readFileSync(failurePath(folder), 'utf8'));
    return await install(kind, folder, (failures) => find(kind, distribution, failures), say);
  } catch (error) {
    remember(folder, messageOf(error));
    throw error;
  } finally {
    unlock();
  }
}

async function install(
  kind: SoftwareKind,
  folder: string,
  find: (failures: string[]) => Promise<Recipe[]>,
  say: Say,
): Promise<Installed> {
  await removeLeftovers(folder);
  say('no driver installed yet, getting one that runs on the CPU (once, about 65 MB)');
  const unreachable = new Set<string>();
  const failures: string[] = [];
  for (const recipe of await find(failures)) {
    if (unreachable.has(recipe.host)) continue;
    try {
      const facts = await follow(recipe, kind, folder, failures, say);
      rmSync(failurePath(folder), { force: true });
      return facts;
    } catch (error) {
      const message = messageOf(error);
      if (/no space left/i.test(message)) {
        throw new Error(
          `no space for the software Vulkan driver in ${dirname(folder)}; free 600 MB or set XDG_CACHE_HOME`,
        );
      }
      if (/resolv|connect|unreachable|timed out/i.test(message)) unreachable.add(recipe.host);
      failures.push(`${recipe.name}: ${message}`);
    }
  }
  const mend = 'with a network, TAPEFORM_DRIVER=software npx tsx gpu/info.ts tries again';
  throw new Error(`no software Vulkan driver could be installed (${failures.join('; ')}); ${mend}`);
}

/** The recipes for a machine, best first; what rules some out is added to `failures`. */
async function recipes(kind: SoftwareKind, distribution: Distribution, failures: string[]): Promise<Recipe[]> {
  const swiftShader = { name: 'npm', host: 'npm', library: 'libvk_swiftshader.so', fetch: fetchSwiftShader };
  const { family } = distribution;
  if (kind === 'swiftshader') return [swiftShader];
  if (family === 'other') {
    failures.push('Mesa is fetched on Debian and Ubuntu only');
    return [swiftShader];
  }
  const sources = await findAptSources(distribution, kind === 'in-process').catch((error: unknown) => {
    failures.push(messageOf(error));
    return [];
  });
  const mesa = sources.map((source) => ({
    name: `${source.uri.replace(/\/$/, '')} ${source.suites.at(-1)!}`,
    host: source.uri,
    library: 'libvulkan_lvp.so',
    fetch: (work: string, announce: (download: Download) => void) => fetchMesa(source, family, work, announce),
  }));
  return [...mesa, swiftShader];
}

/** Carries out one recipe in a work folder and, if its driver computes, puts that in place of `folder`. */
async function follow(
  recipe: Recipe,
  kind: SoftwareKind,
  folder: string,
  failures: readonly string[],
  say: Say,
): Promise<Installed> {
  const work = workFolder(folder);
  const start = Date.now();
  try {
    rmSync(work, { recursive: true, force: true });
    mkdirSync(join(work, 'bin'), { recursive: true });
    await recipe.fetch(work, ({ version, megabytes, warning }) => {
      if (warning) say(warning);
      say(`fetching ${version}: ${megabytes} MB from ${recipe.name} to ${folder}`);
    });
    writeFileSync(manifestPath(work), manifest(recipe.library));
    writeFileSync(wrapperPath(work), wrapperScript(process.execPath), { mode: 0o755 });
    const description = await probe(work, kind === 'in-process');
    const megabytes = Math.round(syncFiles(work) / 1e6);
    const seconds = Math.round((Date.now() - start) / 100) / 10;
    const better = failures.length > 0 ? failures.join('; ') : undefined;
    const facts: Installed = { description, source: recipe.name, megabytes, seconds, better };
    recordDriver(work, facts);
    syncFile(join(work, 'driver.json'));
    const other = verifyDriver(folder); // by a process that did not see our lock
    if ('facts' in other) return other.facts;
    rmSync(folder, { recursive: true, force: true });
    renameSync(work, folder);
    verifyDriver(folder); // notes when its files were hashed, so that the first start need not
    say(`installed ${description} (${megabytes} MB) in ${seconds} s`);
    return facts;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function manifest(library: string): string {
  return JSON.stringify({
    file_format_version: '1.0.0',
    ICD: { library_path: `./lib/${library}`, api_version: '1.4.0' }, // relative to the manifest: the folder may move
  });
}

/** Where the last failed installation left its reason. */
const failurePath = (folder: string): string => `${folder}.failed`;

/** When it did, in milliseconds of the file system's clock, which may lag behind `Date.now()`. */
const failedAt = (folder: string): number =>
  statSync(failurePath(folder), { throwIfNoEntry: false })?.mtimeMs ?? -Infinity;

function remember(folder: string, failure: string): void {
  try {
    writeFileSync(failurePath(folder), failure);
  } catch {
    // A full disk: the next process finds out for itself.
  }
}

/** What the last installation failed of, where it did so a short time ago. */
function recentFailure(folder: string): string | undefined {
  const age = Date.now() - failedAt(folder); // far below 0 where the clock was set back
  return Math.abs(age) < retryAfter ? fs.readFileSync(failurePath(folder), 'utf8') : undefined;
}

/** Flushes a folder's files to the disk; returns their size in bytes. */
function syncFiles(folder: string): number {
  let bytes = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) bytes += syncFiles(path);
    else if (entry.isFile()) bytes += syncFile(path);
  }
  return bytes;
}

function syncFile(path: string): number {
  const file = fs.openSync(path, 'r');
  try {
    fs.fsyncSync(file);
    return fs.fstatSync(file).size;
  } finally {
    fs.closeSync(file);
  }
}
