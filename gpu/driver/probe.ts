import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { runCommand } from '../../common/run-command.ts';
import { linkerCommand, manifestPath } from './layout.ts';

/**
 * Asks Dawn in another process for an adapter that computes, on the libraries of `folder` or, without one, of
 * the system; `inProcess`: with those of `folder` loaded into a process on the system's. Resolves to the
 * adapter's description, rejects with one line.
 */
export async function probe(folder?: string, inProcess = false): Promise<string> {
  const own = folder !== undefined && !inProcess;
  const { program, args } = own ? linkerCommand(folder, process.execPath) : { program: process.execPath, args: [] };
  const env = own ? { VK_DRIVER_FILES: manifestPath(folder) } : {};
  const all = [...args, ...probeArguments(), ...(folder !== undefined && inProcess ? [folder] : [])];
  const said = (await runCommand(program, all, { env, timeout: 120_000 })).trim();
  if (said === '') throw new Error('the driver names no adapter');
  return said;
}

/**
 * Node's arguments for the probe. Throws where the packages it needs are missing: then no driver would pass.
 */
export function probeArguments(): string[] {
  const require = createRequire(import.meta.url);
  // The package has JavaScript, the clone TypeScript, which needs tsx.
  const isSource = import.meta.url.endsWith('.ts');
  const script = fileURLToPath(new URL(`./probe-script.${isSource ? 'ts' : 'js'}`, import.meta.url));
  try {
    if ('Deno' in globalThis) return ['run', '-A', script];
    require.resolve('webgpu');
    return isSource && process.versions.bun === undefined
      ? ['--import', pathToFileURL(require.resolve('tsx')).href, script]
      : [script];
  } catch {
    throw new Error(`the package${isSource ? 's webgpu and tsx are' : ' webgpu is'} not installed; run npm ci`);
  }
}
