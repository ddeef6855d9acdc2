import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ready } from '../../autograd/index.ts';
import * as z from 'zod';
import { writeFileAtomic } from '../../common/atomic-files.ts';
import { readJsonFile } from '../../common/json-file.ts';
import { printable } from '../../common/printable.ts';
import { startedBy } from '../cli/cli.ts';

/** In each run's folder. */
export const infoFile = 'run.json';

const infoSchema = z.object({
  name: z.string(),
  command: z.string(),
  /** Options, model, data: what a resumed run must share. */
  identity: z.record(z.string(), z.unknown()),
  parameters: z.number(),
  adapter: z.string(),
  driver: z.string(),
  software: z.boolean(),
  versions: z.record(z.string(), z.string()),
  /** Of the project, with "+" where files differ from it; undefined outside of a clone. */
  commit: z.string().optional(),
  started: z.string(),
  /** See `TrainingTask`. */
  lossLabel: z.string().optional(),
  /** The number of an evaluation that tells which model is best; default the least loss. */
  best: z.object({ name: z.string(), mode: z.enum(['min', 'max']) }).optional(),
});

/** Says how to make a run again, or why it came out otherwise: the contents of run.json. */
export type RunInfo = Readonly<z.infer<typeof infoSchema>>;

/** What run.json in a run's folder says. Error, one line: there is none, or it is another file. */
export async function readRunInfo(folder: string): Promise<RunInfo> {
  const path = join(folder, infoFile);
  const { data, error } = infoSchema.safeParse(await readJsonFile(path));
  if (data) return data;
  const [issue] = error.issues;
  throw new Error(`${printable(path)} is no run's (${issue!.path.join('.') || 'keys'}: ${issue!.message})`);
}

export async function runInfo(
  about: Pick<RunInfo, 'name' | 'identity' | 'parameters' | 'lossLabel' | 'best'>,
): Promise<RunInfo> {
  const { adapter, target } = await ready();
  const { vendor, device, description } = adapter.info;
  const require = createRequire(import.meta.url);
  const script = relative(projectRoot, process.argv[1] ?? '');
  const version = (name: string): string => (require(name) as { version: string }).version;
  return {
    ...about,
    command: [startedBy(`node --import tsx ${script}`), ...process.argv.slice(2)].join(' '),
    adapter: [vendor, device].filter(Boolean).join(' ') || 'unnamed',
    driver: description,
    software: target.software,
    versions: {
      tapeform: version('tapeform/package.json'),
      node: process.versions.node,
      webgpu: version('webgpu/package.json'),
    },
    commit: await projectCommit(),
    started: new Date().toISOString(),
  };
}

export async function writeRunInfo(folder: string, info: RunInfo): Promise<void> {
  await writeFileAtomic(join(folder, infoFile), `${JSON.stringify(info, null, 2)}\n`);
}

/** What a run was told, by names with points between: options, model, data; lists are in one. */
export const optionTexts = ({ identity }: RunInfo): [name: string, text: string][] => flatten(identity);

function flatten(value: object, prefix = ''): [string, string][] {
  return Object.entries(value).flatMap(([key, each]: [string, unknown]): [string, string][] => {
    const name = `${prefix}${key}`;
    if (typeof each === 'object' && each !== null && !Array.isArray(each)) return flatten(each, `${name}.`);
    return [[name, typeof each === 'string' ? each : JSON.stringify(each)]];
  });
}

/** The project's folder. */
const projectRoot = fileURLToPath(new URL('../..', import.meta.url));

/** The project's commit, with "+" where tracked files differ from it; undefined outside of a clone. */
export async function projectCommit(): Promise<string | undefined> {
  const git = async (...args: string[]): Promise<string> =>
    (await promisify(execFile)('git', args, { cwd: projectRoot })).stdout.trim();
  try {
    const changed = await git('status', '--porcelain', '--untracked-files=no');
    return `${await git('rev-parse', '--short=12', 'HEAD')}${changed ? '+' : ''}`;
  } catch {
    return undefined;
  }
}
