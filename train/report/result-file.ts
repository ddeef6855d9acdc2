import { join } from 'node:path';
import * as z from 'zod';
import { writeFileAtomic } from '../../common/atomic-files.ts';
import { disk } from '../../common/file-system.ts';
import { pathKind, readJsonFile } from '../../common/json-file.ts';
import { printable } from '../../common/printable.ts';
import { testSchema } from './test-scores.ts';

const schema = z.object({
  from: z.string().optional(),
  about: z.string(),
  test: z.string(),
  scores: testSchema.optional(),
});

/** What a run was about and how its test ended: in the words that it prints, and in numbers. */
export type RunResult = z.infer<typeof schema>;

/** In the folder of each script that tests what it made. */
export const resultFile = 'result.json';

/** The result of a run; undefined where its script keeps none. Error, one line: a file that is no result. */
export async function readResult(folder: string): Promise<RunResult | undefined> {
  const path = join(folder, resultFile);
  if ((await pathKind(path)) !== 'file') return undefined;
  const { data, error } = schema.safeParse(await readJsonFile(path));
  if (data) return data;
  throw new Error(`${printable(path)} is no run's result (${error.issues[0]!.path.join('.') || 'keys'})`);
}

export async function writeResult(folder: string, result: RunResult): Promise<void> {
  await writeFileAtomic(join(folder, resultFile), `${JSON.stringify(result, null, 2)}\n`);
}

/** A run that begins again has no result yet. */
export async function removeResult(folder: string): Promise<void> {
  await disk.remove(join(folder, resultFile));
}
