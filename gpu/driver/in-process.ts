/**
 * A software driver in a process that has begun already: its libraries are loaded by path, so that the Vulkan
 * loader and the driver are found by their names afterwards. It must suit the C library that this process
 * has.
 */
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import { messageOf } from '../../common/run-command.ts';
import { manifestPath } from './layout.ts';

const now = 2; // RTLD_NOW
const stay = 0x1000; // RTLD_NODELETE: Node closes what is none of its add-ons
const variable = 'VK_DRIVER_FILES';

/**
 * Loads the Vulkan loader and the driver in `folder`, and names the driver in the environment, which the
 * Vulkan loader reads. Returns a function that takes the name away again, for when a device is open. Throws
 * where a library does not load.
 */
export async function loadDriver(folder: string): Promise<() => Promise<void>> {
  const { ICD } = JSON.parse(readFileSync(manifestPath(folder), 'utf8')) as { ICD: { library_path: string } };
  const open = await opener();
  for (const name of ['libvulkan.so.1', basename(ICD.library_path)]) load(open, join(folder, 'lib'), name);
  const before = process.env[variable];
  await setVariable(manifestPath(folder));
  return () => setVariable(before);
}

/** Loads a library after those of its folder that it needs and the system does not have. */
function load(open: Open, lib: string, name: string): void {
  for (let missing: string | undefined; ;) {
    const problem = open(join(lib, name));
    if (problem === undefined) return;
    // "libLLVM-15.so.1: cannot open shared object file: No such file or directory"
    const next = /(?:^|\s)(lib[^\s:/]+): cannot open/.exec(problem)?.[1];
    if (next === undefined || next === missing || !existsSync(join(lib, next))) throw new Error(problem);
    load(open, lib, (missing = next));
  }
}

/** Opens a library for good; returns why it cannot be loaded, undefined where it is. */
type Open = (path: string) => string | undefined;

async function opener(): Promise<Open> {
  const { Deno: deno } = globalThis as { Deno?: { dlopen(path: string, symbols: object): object } };
  if (deno) return (path) => problemOf(() => void deno.dlopen(path, {}));
  if (process.versions.bun !== undefined) {
    const libc = await bunLibc();
    return (path) => (libc.dlopen(Buffer.from(`${path}\0`), now) === null ? String(libc.dlerror()) : undefined);
  }
  return (path) => problemOf(() => process.dlopen({ exports: {} }, path, now | stay));
}

function problemOf(open: () => void): string | undefined {
  try {
    open();
    return undefined;
  } catch (error) {
    const problem = messageOf(error);
    return problem.includes('did not self-register') ? undefined : problem; // loaded, and no add-on of Node
  }
}

interface Libc {
  dlopen(path: Uint8Array, flags: number): number | null;
  dlerror(): unknown;
  setenv(name: Uint8Array, value: Uint8Array, overwrite: number): number;
  unsetenv(name: Uint8Array): number;
}

/** The C library's own functions: Bun closes what is no add-on, and keeps its environment to itself. */
async function bunLibc(): Promise<Libc> {
  const name = 'bun:ffi'; // not for bundlers
  const { dlopen } = (await import(name)) as { dlopen(path: string, symbols: object): { symbols: Libc } };
  return dlopen('libc.so.6', {
    dlopen: { args: ['ptr', 'i32'], returns: 'ptr' },
    dlerror: { args: [], returns: 'cstring' },
    setenv: { args: ['ptr', 'ptr', 'i32'], returns: 'i32' },
    unsetenv: { args: ['ptr'], returns: 'i32' },
  }).symbols;
}

/** Sets a variable of the process itself: a worker thread has only a copy, so it asks the main thread. */
async function setVariable(value: string | undefined): Promise<void> {
  if (value === undefined) Reflect.deleteProperty(process.env, variable);
  else process.env[variable] = value;
  if (process.versions.bun !== undefined) {
    const [libc, name] = [await bunLibc(), Buffer.from(`${variable}\0`)];
    if (value === undefined) libc.unsetenv(name);
    else libc.setenv(name, Buffer.from(`${value}\0`), 1);
    return;
  }
  if (isMainThread || 'Deno' in globalThis) return;
  const { Session } = await import('node:inspector');
  const session = new Session();
  session.connectToMainThread();
  const name = `process.env.${variable}`;
  const expression = value === undefined ? `delete ${name}` : `${name} = ${JSON.stringify(value)}`;
  let timer: NodeJS.Timeout | undefined; // it keeps the thread alive, too
  try {
    await new Promise<void>((done, fail) => {
      const mend = 'call `await init()` there before the thread starts';
      const late = new Error(`the main thread, which has to name the driver to Vulkan, is busy; ${mend}`);
      timer = setTimeout(() => fail(late), 10_000);
      session.post('Runtime.evaluate', { expression }, (error) => (error ? fail(error) : done()));
    });
  } finally {
    clearTimeout(timer);
    session.disconnect();
  }
}
