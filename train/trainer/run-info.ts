import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ready } from '../../autograd/index.ts';
import { writeFileAtomic } from '../../common/atomic-files.ts';
import { startedBy } from '../cli/cli.ts';

/** Says how to make a run again, or why it came out otherwise: the contents of run.json. */
export interface RunInfo {
  readonly name: string;
  readonly command: string;
  /** Options, model, data: what a resumed run must share. */
  readonly identity: Readonly<Record<string, unknown>>;
  readonly parameters: number;
  readonly adapter: string;
  readonly driver: string;
  readonly software: boolean;
  readonly versions: Readonly<Record<string, string>>;
  /** Of the project, with "+" where files differ from it; undefined outside of a clone. */
  readonly commit?: string;
  readonly started: string;
}

export async function runInfo(about: Pick<RunInfo, 'name' | 'identity' | 'parameters'>): Promise<RunInfo> {
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
  await writeFileAtomic(join(folder, 'run.json'), `${JSON.stringify(info, null, 2)}\n`);
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
