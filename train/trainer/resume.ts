import { UsageError } from '../cli.ts';
import { latestCheckpoint } from './checkpoint.ts';

/** The checkpoint that a run goes on from. Errors: there is none to resume; a run that was stopped would be written over unasked. */
export async function checkResume(name: string, output: string, resume = false): Promise<string | undefined> {
  const found = await latestCheckpoint(output);
  if (resume && !found)
    throw new UsageError(`${name}: ${output} has no checkpoint to resume; leave --resume away to start`);
  if (found && !resume)
    throw new UsageError(
      `${name}: ${output} holds a run that was stopped (${found}); go on with --resume, or remove the folder to start again`,
    );
  return found;
}

/** The command that goes on with the run of this process; `usage` starts its script. */
export function resumeCommand(usage: string): string {
  return [usage, ...process.argv.slice(2).filter((word) => word !== '--resume'), '--resume'].join(' ');
}
