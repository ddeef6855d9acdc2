import { basename, join } from 'node:path';
import { pathKind } from '../../common/json-file.ts';
import { infoFile } from '../trainer/run-info.ts';
import { writeResult } from './result-file.ts';
import type { RunResult } from './result-file.ts';
import { historyOf } from './run-history.ts';

/**
 * Prints how a run's test ended, and keeps it in the run's folder for a model card and in its report, with
 * what it was about and the model that it began `from`, undefined for one from nothing.
 */
export async function reportResult(folder: string, { from, about, test, scores }: RunResult): Promise<void> {
  console.log(test);
  const lines = test.split('\n').filter((line) => !line.startsWith('saved '));
  await writeResult(folder, {
    ...(from === undefined ? {} : { from: basename(from) }),
    about,
    test: lines.join('\n').trim(),
    ...(scores ? { scores } : {}),
  });
  // A model that was not trained has no run.
  if ((await pathKind(join(folder, infoFile))) !== 'file') return;
  const { writeReport } = await import('./run-report.ts'); // the trainer says why
  await writeReport(folder, await historyOf(folder));
}
