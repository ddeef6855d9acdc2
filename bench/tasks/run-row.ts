import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeFileAtomic } from '../../common/atomic-files.ts';
import { meanAndDeviation } from '../../common/text-table.ts';
import type { Places, Reading, TaskRow } from './rows.ts';
import type { TaskFigures } from './table.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

export interface RunOptions {
  readonly dataFolder: string;
  readonly resume: boolean;
  readonly python?: string | undefined;
  readonly utilsQa?: string | undefined;
}

/** Runs a row, once for each of its seeds, and reads its figures. */
export async function runRow(row: TaskRow, output: string, options: RunOptions): Promise<TaskFigures> {
  const { seeds, together, pytorch } = row;
  const readings: Reading[] = [];
  const places = (name: string): Places => ({ output: join(output, name), data: options.dataFolder });
  const start = performance.now();
  for (const seed of together ? [undefined] : seeds) {
    const place = places(seed === undefined ? 'run' : `seed-${seed}`);
    const more = [
      ...(seed === undefined ? [] : ['--seed', String(seed)]),
      ...(options.resume && !row.keepsAnswers ? ['--resume'] : []),
    ];
    const printed = await printedBy(process.execPath, ['--import', 'tsx', ...row.command(place), ...more]);
    await writeFileAtomic(`${place.output}.txt`, printed);
    readings.push(row.read(printed));
  }
  const minutes = (performance.now() - start) / 60_000 / readings.length;
  const peer =
    pytorch && options.python !== undefined ? await runPyTorch(pytorch, places('pytorch'), options) : undefined;
  return {
    ...meanOf(readings),
    ...(peer === undefined ? {} : { pytorch: peer }),
    seeds,
    minutes: Math.round(10 * minutes) / 10,
    date: new Date().toISOString().slice(0, 10),
  };
}

/** One reading of several: their means with deviations, in the digits that they were printed with. */
function meanOf(readings: readonly Reading[]): Reading {
  const [first] = readings;
  if (readings.length === 1) return first!;
  const over = (pick: (reading: Reading) => string): string => {
    const digits = pick(first!).split('.')[1]?.length ?? 0;
    return meanAndDeviation(
      readings.map((reading) => Number(pick(reading))),
      digits,
    );
  };
  const names = Object.keys(first!.baselines);
  return {
    size: first!.size,
    ours: over(({ ours }) => ours),
    baselines: Object.fromEntries(names.map((name) => [name, over(({ baselines }) => baselines[name]!)])),
  };
}

async function runPyTorch(
  { rows, script, read }: NonNullable<TaskRow['pytorch']>,
  places: Places,
  { python, utilsQa }: RunOptions,
): Promise<string> {
  const input = `${places.output}.json`;
  await writeFileAtomic(input, await printedBy(process.execPath, ['--import', 'tsx', ...rows(places)], false));
  const more = utilsQa === undefined ? [] : ['--utils-qa', utilsQa];
  return read(await printedBy(python!, [...script(input), ...more]));
}

/** Runs a command in the project's folder; what it prints is shown, and returned. */
async function printedBy(file: string, words: readonly string[], show = true): Promise<string> {
  const child = spawn(file, words, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
  const parts: Buffer[] = [];
  child.stdout.on('data', (part: Buffer) => {
    parts.push(part);
    if (show) process.stdout.write(part);
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  if (code === 0) return Buffer.concat(parts).toString('utf8');
  throw new Error(`${words.join(' ')} ended with code ${code}; nothing was written (--resume goes on with a run)`);
}
