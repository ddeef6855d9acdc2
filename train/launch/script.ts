import { statSync } from 'node:fs';
import { UsageError } from '../cli/cli.ts';
import { scriptPath } from '../sweep/run-trial.ts';

/** What Node is given to run a script: a file, or a command of tapeform. */
export function commandOf(script: string, args: readonly string[]): string[] {
  const isFile = statSync(script, { throwIfNoEntry: false })?.isFile() ?? false;
  if (isFile) return [...process.execArgv, ...loaderFor(script), script, ...args];
  if (/[/.]/.test(script)) throw new UsageError(`launch: there is no file ${script}`);
  if (script === 'launch') throw new UsageError('launch: it starts other scripts, not itself');
  return [...process.execArgv, scriptPath('tapeform'), script, ...args];
}

/** TypeScript needs tsx, where Node was started without it. */
function loaderFor(script: string): string[] {
  const isTypeScript = /\.[cm]?ts$/.test(script);
  return isTypeScript && !process.execArgv.some((word) => word.includes('tsx')) ? ['--import', 'tsx'] : [];
}
