import { basename, join } from 'node:path';
import * as z from 'zod';
import { writeFileAtomic } from '../../common/atomic-files.ts';
import { pathKind, readJsonFile } from '../../common/json-file.ts';
import { printable } from '../../common/printable.ts';

const schema = z.object({ from: z.string().optional(), about: z.string(), test: z.string() });

/** What a run was about and how its test ended, in the words that it prints. */
export type RunResult = z.infer<typeof schema>;

const fileName = 'result.json';

/**
 * Prints how a run's test ended, and keeps it in the run's folder for a model card, with what it was about
 * and the model that it began `from`, undefined for one from nothing.
 */
export async function reportResult(folder: string, { from, about, test }: RunResult): Promise<void> {
  console.log(test);
  const lines = test.split('\n').filter((line) => !line.startsWith('saved '));
  const result: RunResult = {
    ...(from === undefined ? {} : { from: basename(from) }),
    about,
    test: lines.join('\n').trim(),
  };
  await writeFileAtomic(join(folder, fileName), `${JSON.stringify(result, null, 2)}\n`);
}

/** The result of a run; undefined where its script keeps none. Error, one line: a file that is no result. */
export async function readResult(folder: string): Promise<RunResult | undefined> {
  const path = join(folder, fileName);
  if ((await pathKind(path)) !== 'file') return undefined;
  const { data, error } = schema.safeParse(await readJsonFile(path));
  if (data) return data;
  throw new Error(`${printable(path)} is no run's result (${error.issues[0]!.path.join('.') || 'keys'})`);
}
