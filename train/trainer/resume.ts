import { UsageError } from '../cli.ts';
import { isFinished, latestCheckpoint } from './checkpoint.ts';

/**
 * Where a run goes on: from a checkpoint, or nowhere, since it has reached its end. Without either it starts.
 */
export interface Resumption {
  readonly checkpoint?: string;
  readonly finished: boolean;
}

/** Errors: there is nothing to resume; a run that was stopped would be written over unasked. */
export async function checkResume(name: string, output: string, resume = false): Promise<Resumption> {
  const checkpoint = await latestCheckpoint(output);
  if (checkpoint && !resume)
    throw new UsageError(
      `${name}: ${output} holds a run that was stopped (${checkpoint}); go on with --resume, or remove the folder to start again`,
    );
  const finished = resume && !checkpoint && (await isFinished(output));
  if (resume && !checkpoint && !finished)
    throw new UsageError(`${name}: ${output} has no checkpoint to resume; leave --resume away to start`);
  return { checkpoint, finished };
}

/** Whether there is a run to go on with, or to read. */
export async function canResume(output: string): Promise<boolean> {
  return (await latestCheckpoint(output)) !== undefined || isFinished(output);
}

/** The command that goes on with the run of this process; `usage` starts its script. */
export function resumeCommand(usage: string): string {
  return [usage, ...process.argv.slice(2).filter((word) => word !== '--resume'), '--resume'].join(' ');
}
