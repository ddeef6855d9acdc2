import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { UsageError } from '../cli/cli.ts';

/** Of this file: TypeScript in the clone, JavaScript in the package. */
const extension = import.meta.url.slice(-3);

/** What Node is given to run a script: a file, or a command of tapeform. */
export function commandOf(script: string, args: readonly string[]): string[] {
  const isFile = statSync(script, { throwIfNoEntry: false })?.isFile() ?? false;
  if (isFile) return [...process.execArgv, ...loaderFor(script), script, ...args];
  if (/[/.]/.test(script)) throw new UsageError(`launch: there is no file ${script}`);
  if (script === 'launch') throw new UsageError('launch: it starts other scripts, not itself');
  return [...process.execArgv, fileURLToPath(new URL(`../tapeform${extension}`, import.meta.url)), script, ...args];
}

/** TypeScript needs tsx, where Node was started without it. */
function loaderFor(script: string): string[] {
  const isTypeScript = /\.[cm]?ts$/.test(script);
  return isTypeScript && !process.execArgv.some((word) => word.includes('tsx')) ? ['--import', 'tsx'] : [];
}
