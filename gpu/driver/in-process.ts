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
  for (const name of ['libvulkan.so.1', basename(ICD.library_path)]) load(join(folder, 'lib'), name);
  const before = process.env[variable];
  await setVariable(manifestPath(folder));
  return () => setVariable(before);
}

/** Loads a library after those of its folder that it needs and the system does not have. */
function load(lib: string, name: string): void {
  for (let missing: string | undefined; ;) {
    const problem = open(join(lib, name));
    if (problem === undefined) return;
    // "libLLVM-15.so.1: cannot open shared object file: No such file or directory"
    const next = /^(lib[^\s:/]+):/.exec(problem)?.[1];
    if (next === undefined || next === missing || !existsSync(join(lib, next))) throw new Error(problem);
    load(lib, (missing = next));
  }
}

interface Deno {
  dlopen(path: string, symbols: object): object;
}

/** Returns why a library cannot be loaded; undefined where it is. */
function open(path: string): string | undefined {
  const { Deno: deno } = globalThis as { Deno?: Deno };
  try {
    if (deno) void deno.dlopen(path, {});
    else process.dlopen({ exports: {} }, path, now | stay);
    return undefined;
  } catch (error) {
    const problem = messageOf(error);
    // It is loaded, and no add-on of Node.
    return /did not self-register|is not a valid|napi_register_module|symbol .*not found in/i.test(problem)
      ? undefined
      : problem.replace(/^.*?(?=lib[^\s:/]+: cannot open)/s, '');
  }
}

/** Sets a variable of the process itself: a worker thread has only a copy, so it asks the main thread. */
async function setVariable(value: string | undefined): Promise<void> {
  if (value === undefined) Reflect.deleteProperty(process.env, variable);
  else process.env[variable] = value;
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
