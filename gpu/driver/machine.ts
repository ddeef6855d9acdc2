/**
 * Looks at a Linux machine: device files, Vulkan loader, driver manifests, distribution. Nothing is imported
 * from Node, so that browsers and Deno can load this file; callers hand in `node:fs`.
 */
import type * as NodeFs from 'node:fs';
import type { Environment, GpuNode, Machine, Manifest } from './choose.ts';

/** The part of `node:fs` used here. */
export type Files = Pick<typeof NodeFs, 'accessSync' | 'existsSync' | 'readdirSync' | 'readFileSync'>;

/** Names and version of the distribution, from os-release. */
export interface Distribution {
  /** "debian", "ubuntu"; derivatives count as what they are like. */
  readonly family: 'debian' | 'ubuntu' | 'other';
  /** For folder names: "debian12", "ubuntu24.04". */
  readonly name: string;
  /** "bookworm", "noble"; empty where unknown. */
  readonly codename: string;
}

/**
 * Looks at files below `root` (default: the machine's): well under a millisecond. `home` is the user's
 * folder.
 */
export function inspectMachine(fs: Files, env: Environment, home: string, root = ''): Machine {
  return { gpus: gpuNodes(fs, root), loader: hasLoader(fs, env, root), manifests: findManifests(fs, env, home, root) };
}

function gpuNodes(fs: Files, root: string): GpuNode[] {
  const dri = list(fs, `${root}/dev/dri`).filter((name) => name.startsWith('renderD'));
  const others = list(fs, `${root}/dev`).filter((name) => /^nvidia\d+$/.test(name) || name === 'dxg');
  const paths = [...dri.map((name) => `/dev/dri/${name}`), ...others.map((name) => `/dev/${name}`)];
  return paths.map((path) => ({ path, usable: canOpen(fs, root + path) }));
}

function hasLoader(fs: Files, env: Environment, root: string): boolean {
  const folders = [
    ...(env.LD_LIBRARY_PATH ?? '').split(':').filter(isAbsolute),
    ...['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64', '/usr/lib', '/usr/local/lib'],
  ];
  if (folders.some((folder) => fs.existsSync(`${root}${folder}/libvulkan.so.1`))) return true;
  return readText(fs, `${root}/etc/ld.so.cache`).includes('libvulkan.so.1');
}

/**
 * The folders the Vulkan loader reads, see "Driver Discovery on Linux" in the Vulkan-Loader documentation.
 */
function findManifests(fs: Files, env: Environment, home: string, root: string): Manifest[] {
  const bases = [
    env.XDG_CONFIG_HOME ?? `${home}/.config`,
    ...(env.XDG_CONFIG_DIRS ?? '/etc/xdg').split(':'),
    '/usr/local/etc',
    '/etc',
    env.XDG_DATA_HOME ?? `${home}/.local/share`,
    ...(env.XDG_DATA_DIRS ?? '/usr/local/share:/usr/share').split(':'),
  ];
  const found: Manifest[] = [];
  for (const base of new Set(bases.filter(isAbsolute))) {
    const folder = `${root}${base}/vulkan/icd.d`;
    for (const name of list(fs, folder)) {
      const manifest = name.endsWith('.json') ? parseManifest(readText(fs, `${folder}/${name}`)) : undefined;
      if (manifest) found.push({ ...manifest, path: `${base}/vulkan/icd.d/${name}` });
    }
  }
  return found;
}

function parseManifest(text: string): Omit<Manifest, 'path'> | undefined {
  try {
    const { ICD } = JSON.parse(text) as { ICD?: { library_path?: string; api_version?: string } };
    return { library: ICD?.library_path ?? '', api: ICD?.api_version ?? '0' };
  } catch {
    return undefined; // the loader passes over such files too
  }
}

/** Reads os-release; a machine without it is of family "other". */
export function distribution(fs: Files, root = ''): Distribution {
  return parseOsRelease(readText(fs, `${root}/etc/os-release`) || readText(fs, `${root}/usr/lib/os-release`));
}

export function parseOsRelease(text: string): Distribution {
  const field = (name: string) => new RegExp(`^${name}=["']?([^"'\\n]*)`, 'm').exec(text)?.[1] ?? '';
  const like = `${field('ID')} ${field('ID_LIKE')}`.split(/\s+/);
  const family = like.includes('ubuntu') ? 'ubuntu' : like.includes('debian') ? 'debian' : 'other';
  const codename = (family === 'ubuntu' && field('UBUNTU_CODENAME')) || field('VERSION_CODENAME');
  const name = `${field('ID') || 'linux'}${field('VERSION_ID') || codename}`.replace(/[^\w.-]/g, '');
  return { family, name, codename };
}

/**
 * Why Mesa's software driver would end a process by SIGBUS here, in one line with the mend; undefined where
 * it does not. All buffers lie in a memory file, which `ulimit -f` bounds like any file: Mesa does not
 * notice that the file stays too short. `limits` is the text of /proc/self/limits, `memory` the machine's
 * bytes.
 */
export function memoryFileAdvice(limits: string, memory: number): string | undefined {
  const limit = Number(/^Max file size +(\d+) /m.exec(limits)?.[1] ?? Infinity);
  if (limit >= memory) return undefined;
  return (
    `this shell allows files of ${(limit / 2 ** 20).toFixed(1)} MiB (ulimit -f), and the software driver keeps ` +
    'its memory in one; run `ulimit -f unlimited` first'
  );
}

const readAndWrite = 6; // R_OK | W_OK

function canOpen(fs: Files, path: string): boolean {
  try {
    fs.accessSync(path, readAndWrite);
    return true;
  } catch {
    return false;
  }
}

function list(fs: Files, folder: string): string[] {
  try {
    return fs.readdirSync(folder).sort();
  } catch {
    return [];
  }
}

function readText(fs: Files, path: string): string {
  try {
    return fs.readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

function isAbsolute(path: string): boolean {
  return path.startsWith('/');
}
