import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { isStep } from '../../train/trainer/callback.ts';
import { readRunInfo } from '../../train/trainer/run-info.ts';
import { readLog } from '../../train/trainer/run-log.ts';
import { tensorBoard } from '../../train/trainer/tensorboard.ts';
import { historyOf } from '../../train/report/run-history.ts';
import { writeReport } from '../../train/report/run-report.ts';

export type Contents = ReadonlyMap<string, string>;

/** A file's text without what tells the time, or by which command a run went on. */
const withoutTimes: Readonly<Record<string, (text: string) => string>> = {
  'log.jsonl': (text) => text.split('\n').slice(0, -1).map(without('seconds', 'time')).join('\n'),
  'trainer_state.json': without('seconds'),
  'run.json': (text) => without('started')(text.replace(' --resume', '')),
  // A checkpoint's: the hash of the file with the seconds.
  'manifest.json': without('trainer_state.json'),
};

/**
 * All that lies in a folder and below it, hidden or not, by its path: of a file the hash of its bytes, of the
 * files of a run above what they say, so that equal runs have equal contents. Pages and event files of a run,
 * which show times everywhere, are made again from its log.jsonl, run.json and result.json and compared, byte
 * by byte, with what lies there.
 */
export async function contentsOf(folder: string): Promise<Contents> {
  const contents = new Map<string, string>();
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  const runs = entries.filter(({ name }) => name === 'log.jsonl').map(({ parentPath }) => parentPath);
  const isPage = ({ name, parentPath }: (typeof entries)[number]): boolean =>
    runs.includes(parentPath) && (name === 'report.html' || name.startsWith('events.'));
  for (const entry of entries) {
    if (isPage(entry)) continue;
    const path = join(entry.parentPath, entry.name);
    contents.set(path.slice(folder.length + 1), entry.isDirectory() ? 'a folder' : await saidIn(path));
  }
  for (const run of runs) contents.set(`pages of ${run.slice(folder.length)}`, await pagesOf(run));
  return contents;
}

/** What is in one and not in the other, or other there; empty: they are equal. */
export function differences(found: Contents, expected: Contents): string[] {
  return [...new Set([...found.keys(), ...expected.keys()])].sort().flatMap((path) => {
    const [own, other] = [found.get(path), expected.get(path)];
    if (own === other) return [];
    if (own === undefined) return [`${path} is missing`];
    return other === undefined ? [`${path} is left over`] : [`${path} differs: ${firstDifference(own, other)}`];
  });
}

function firstDifference(a: string, b: string): string {
  let at = 0;
  while (a[at] === b[at]) at++;
  const near = (text: string): string => JSON.stringify(text.slice(Math.max(0, at - 30), at + 30));
  return `${near(a)}, not ${near(b)}`;
}

async function saidIn(path: string): Promise<string> {
  const data = await readFile(path);
  return withoutTimes[basename(path)]?.(data.toString()) ?? createHash('sha256').update(data).digest('hex');
}

function without(...names: readonly string[]): (json: string) => string {
  return (json) => JSON.stringify(JSON.parse(json), (key, value: unknown) => (names.includes(key) ? undefined : value));
}

/** Says whether the pages and the event file of a run are those that its log and run.json make. */
async function pagesOf(run: string): Promise<string> {
  const again = await mkdtemp(join(tmpdir(), 'tapeform-'));
  try {
    const records = readLog(join(run, 'log.jsonl'));
    await writeReport(again, await historyOf(run));
    const events = (await readdir(run)).filter((name) => name.startsWith('events.'));
    if (events.length !== 1) return `${events.length} event files`;
    // The first record, of the file's version, has a time of its own, in seconds, after 13 bytes.
    const { onStep, onEvaluation, onEnd } = tensorBoard(
      again,
      await readRunInfo(run),
      [],
      Math.round(1000 * (await readFile(join(run, events[0]!))).readDoubleLE(13)),
    );
    for (const record of records) await (isStep(record) ? onStep!(record) : onEvaluation!(record));
    await onEnd!();
    for (const name of await readdir(again))
      if (!(await readFile(join(again, name))).equals(await readFile(join(run, name))))
        return `${name} is not as log.jsonl and run.json make it`;
    return 'as log.jsonl and run.json make them';
  } finally {
    await rm(again, { recursive: true });
  }
}
