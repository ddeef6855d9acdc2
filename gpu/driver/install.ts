/** Installs a software driver into its cache folder, whole or not at all, once however many processes ask for it. */
import * as fs from 'node:fs';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { lstatSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { messageOf, runCommand } from './command.ts';
import { fetchMesa, findAptSources } from './apt.ts';
import type { Download } from './apt.ts';
import { installed, linkerCommand, manifestPath, wrapperPath, wrapperScript } from './layout.ts';
import type { Installed, SoftwareKind } from './layout.ts';
import type { Distribution } from './machine.ts';
import { fetchSwiftShader } from './swiftshader.ts';

/** A place to get the driver from; `fetch` fills `work`/lib. */
interface Recipe {
  readonly name: string;
  readonly library: string;
  fetch(work: string, announce: (download: Download) => void): Promise<void>;
}

/** A failed installation is not tried again for this long, so that scripts do not wait for a dead network one after the other. */
const retryAfter = 10 * 60_000;

/**
 * Makes `folder` hold a driver that computes. Returns at once where it does. Tries the recipes of `kind` in order and takes the
 * first whose driver passes the probe. Rejects with one line that names what failed.
 * `again`: try even if it failed a moment ago.
 */
export async function ensureInstalled(
  kind: SoftwareKind,
  folder: string,
  distribution: Distribution,
  say: (line: string) => void,
  again: boolean,
): Promise<Installed> {
  const ready = installed(fs, folder);
  if (ready) return ready;
  const failure = recentFailure(folder);
  if (failure && !again) throw new Error(failure);
  probeCommand(folder); // throws where the probe could not run at all, before anything is fetched
  try {
    mkdirSync(dirname(folder), { recursive: true });
  } catch (error) {
    throw new Error(
      `cannot make ${dirname(folder)} (${messageOf(error)}); set XDG_CACHE_HOME to a folder you may write to`,
    );
  }
  const unlock = await lock(`${folder}.lock`, say);
  try {
    return installed(fs, folder) ?? (await install(await recipes(kind, distribution), folder, say));
  } catch (error) {
    writeFileSync(`${folder}.failed`, messageOf(error));
    throw error;
  } finally {
    unlock();
  }
}

async function recipes(kind: SoftwareKind, distribution: Distribution): Promise<Recipe[]> {
  const { family } = distribution;
  const swiftShader = { name: 'npm', library: 'libvk_swiftshader.so', fetch: fetchSwiftShader };
  if (kind === 'swiftshader' || family === 'other') return [swiftShader];
  const sources = await findAptSources(distribution).catch(() => []);
  const mesa = sources.map((source) => ({
    name: `${source.uri.replace(/\/$/, '')} ${source.suites.at(-1)!}`,
    library: 'libvulkan_lvp.so',
    fetch: (work: string, announce: (download: Download) => void) => fetchMesa(source, family, work, announce),
  }));
  return [...mesa, swiftShader];
}

async function install(recipes: readonly Recipe[], folder: string, say: (line: string) => void): Promise<Installed> {
  removeLeftovers(folder);
  const failures: string[] = [];
  for (const recipe of recipes) {
    const work = `${folder}.part-${process.pid}`;
    const start = Date.now();
    try {
      rmSync(work, { recursive: true, force: true });
      mkdirSync(join(work, 'bin'), { recursive: true });
      const driver = recipe.library.includes('lvp') ? 'Mesa' : 'SwiftShader,';
      await recipe.fetch(work, ({ version, megabytes }) => {
        say(
          `fetching ${driver} ${version}, a Vulkan driver for the CPU: ${megabytes} MB from ${recipe.name} to ${folder}`,
        );
      });
      writeFileSync(manifestPath(work), manifest(recipe.library));
      writeFileSync(wrapperPath(work), wrapperScript(process.execPath), { mode: 0o755 });
      const description = await probe(work);
      const megabytes = syncFiles(work);
      const seconds = Math.round((Date.now() - start) / 100) / 10;
      const facts: Installed = { description, source: recipe.name, megabytes, seconds };
      writeFileSync(join(work, 'driver.json'), JSON.stringify(facts, undefined, 2));
      syncFile(join(work, 'driver.json'));
      rmSync(folder, { recursive: true, force: true });
      renameSync(work, folder);
      rmSync(`${folder}.failed`, { force: true });
      say(`installed ${description} (${megabytes} MB) in ${seconds} s`);
      return facts;
    } catch (error) {
      failures.push(`${recipe.name}: ${messageOf(error)}`);
      rmSync(work, { recursive: true, force: true });
    }
  }
  throw new Error(`no software Vulkan driver could be installed: ${failures.join('; ')}`);
}

function manifest(library: string): string {
  return JSON.stringify({
    file_format_version: '1.0.0',
    ICD: { library_path: `./lib/${library}`, api_version: '1.4.0' }, // relative to the manifest: the folder may move
  });
}

/** Asks Dawn for an adapter in another process, on the libraries of `folder` or, without one, of the system. */
export async function probe(folder?: string): Promise<string> {
  const { program, args } = probeCommand(folder);
  const env = folder ? { VK_DRIVER_FILES: manifestPath(folder) } : {};
  return (await runCommand(program, args, { env, timeout: 120_000 })).trim();
}

function probeCommand(folder?: string): { program: string; args: string[] } {
  const { program, args } = folder ? linkerCommand(folder, process.execPath) : { program: process.execPath, args: [] };
  const script = fileURLToPath(new URL('./probe.ts', import.meta.url));
  return { program, args: [...args, '--import', pathToFileURL(packagePath('tsx')).href, script] };
}

function packagePath(name: string): string {
  const require = createRequire(import.meta.url);
  try {
    require.resolve('webgpu');
    return require.resolve(name);
  } catch {
    throw new Error('the packages webgpu and tsx are not installed; run npm ci');
  }
}

/**
 * Waits for the lock file and takes it. It saves work, no more: what makes a double installation harmless is the rename at its end.
 * A lock whose process has ended is taken over.
 */
async function lock(path: string, say: (line: string) => void): Promise<() => void> {
  for (let waited = false; ; waited = true) {
    try {
      writeFileSync(path, String(process.pid), { flag: 'wx' });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const owner = readOwner(path);
    if (owner !== undefined && !isAlive(owner)) rmSync(path, { force: true });
    else if (!waited) say(`waiting for process ${owner ?? '?'}, which is installing the software driver`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function readOwner(path: string): number | undefined {
  try {
    return Number(readFileSync(path, 'utf8')) || undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Removes what interrupted installations of `folder` left. */
function removeLeftovers(folder: string): void {
  const prefix = `${folder}.part-`;
  for (const name of readdirSync(dirname(folder))) {
    const path = join(dirname(folder), name);
    if (path.startsWith(prefix) && !isAlive(Number(path.slice(prefix.length))))
      rmSync(path, { recursive: true, force: true });
  }
}

function recentFailure(folder: string): string | undefined {
  const path = `${folder}.failed`;
  if (!existsSync(path) || Date.now() - statSync(path).mtimeMs > retryAfter) return undefined;
  return readFileSync(path, 'utf8');
}

/** Flushes a folder's files to the disk; returns their size in MB. */
function syncFiles(folder: string): number {
  let bytes = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) bytes += syncFiles(path) * 1e6;
    else if (entry.isFile()) {
      syncFile(path);
      bytes += lstatSync(path).size;
    }
  }
  return Math.round(bytes / 1e6);
}

function syncFile(path: string): void {
  const file = openSync(path, 'r');
  fsyncSync(file);
  closeSync(file);
}
