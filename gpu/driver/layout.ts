/**
 * Where the files of a software driver lie: `lib/` (driver, loader, C library, linker), `icd.json`,
 * `bin/node`, `driver.json`. Imports nothing from Node, for the same reason as machine.ts.
 */
import type { Environment } from './choose.ts';
import type { Files } from './machine.ts';

/**
 * `mesa`: the newest, on its own C library. `in-process`: that of the machine's release, for its C library.
 */
export type SoftwareKind = 'mesa' | 'in-process' | 'swiftshader';

/** The folder names of the kinds; the number counts recipes: raise it to have everybody install anew. */
const folders = { mesa: 'vulkan-2', 'in-process': 'in-process-1', swiftshader: 'swiftshader-2' } as const;

/**
 * The contents of driver.json, on an installed driver. The file is written last: where it is, the folder is
 * whole.
 */
export interface Installed {
  /** The adapter's description, e.g. "llvmpipe: Mesa 26.1.6-1 (LLVM 21.1.8)". */
  readonly description: string;
  /** Where it came from. */
  readonly source: string;
  /** Size on disk. */
  readonly megabytes: number;
  readonly seconds: number;
  /** Why nothing better was had, where another source was tried first. */
  readonly better?: string;
}

/**
 * The folder of this machine's software driver, ready or not. `name` is the distribution's, since the driver
 * must suit its Node.
 */
export function cacheFolder(kind: SoftwareKind, env: Environment, home: string, name: string): string {
  return `${cacheBase(env, home)}/${folders[kind]}-${name}-${process.arch}`;
}

/** The project's folder in the user's cache. */
export function cacheBase(env: Environment, home: string): string {
  const set = env.XDG_CACHE_HOME;
  return `${set?.startsWith('/') ? set : `${home}/.cache`}/tapeform`;
}

/**
 * What driver.json says of the driver in `folder`, unchecked (verify.ts checks); undefined where it is
 * damaged.
 */
export function installed(fs: Files, folder: string): Installed | undefined {
  try {
    return JSON.parse(fs.readFileSync(`${folder}/driver.json`, 'utf8')) as Installed;
  } catch {
    return undefined;
  }
}

/** The dynamic linker's file name, fixed by the platform's ABI. */
export function linkerName(): string {
  return process.arch === 'arm64' ? 'ld-linux-aarch64.so.1' : 'ld-linux-x86-64.so.2';
}

export function manifestPath(folder: string): string {
  return `${folder}/icd.json`;
}

/** Whether a manifest named in the environment is ours, inherited from a parent process. */
export function isOwnManifest(path: string): boolean {
  return /^\/.*\/tapeform\/(vulkan|in-process|swiftshader)-[^/]+\/icd\.json$/.test(path);
}

/** A stand-in for `node` that runs it on the folder's libraries: for child processes, and for a PATH. */
export function wrapperPath(folder: string): string {
  return `${folder}/bin/node`;
}

/**
 * The folder whose libraries a process runs on, from its argv0, which `linkerCommand` and the wrapper set to
 * the wrapper's path. Unlike a mark in the environment it is not inherited by children that run on the
 * system's libraries.
 */
export function activeFolder(argv0: string): string | undefined {
  return /^(\/.*\/tapeform\/(?:vulkan|swiftshader)-[^/]+)\/bin\/node$/.exec(argv0)?.[1];
}

/**
 * The command line that runs the program `node` on the folder's libraries, without touching the environment
 * of its children.
 */
export function linkerCommand(folder: string, node: string): { program: string; args: string[] } {
  const lib = `${folder}/lib`;
  return { program: `${lib}/${linkerName()}`, args: ['--argv0', wrapperPath(folder), '--library-path', lib, node] };
}

/** The text of `bin/node`. `node` is used where TAPEFORM_NODE does not name the program. */
export function wrapperScript(node: string): string {
  return `#!/bin/sh
# Runs Node on the libraries beside this file, so that WebGPU finds the software Vulkan driver there.
folder=\${0%/bin/node}
export VK_DRIVER_FILES="$folder/icd.json"
exec "$folder/lib/${linkerName()}" --argv0 "$0" --library-path "$folder/lib" \\
  "\${TAPEFORM_NODE:-${shellQuote(node)}}" "$@"
`;
}

function shellQuote(text: string): string {
  return text.replace(/[\\"$`}]/g, '\\$&');
}
