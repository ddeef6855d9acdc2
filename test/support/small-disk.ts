import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Finished } from './script.ts';
import { runScript } from './script.ts';

/** Whether this system gives a process a small disk of its own (a user namespace and tmpfs; Linux). */
export function canMount(): boolean {
  return spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()]).status === 0;
}

/** A command's first end, on the small disk, and its second, when there was room. */
export interface TwoEnds {
  readonly full: Finished;
  readonly room: Finished;
}

/**
 * Runs a script on a disk of `kilobytes` that holds the files of `before`, then again with room; with
 * --resume where the first left a checkpoint. `left` and `after` get copies of what each left. `disk`, an
 * empty folder, is where the disk is mounted. `setUp` is shell text that runs before the disk is there.
 */
export async function runOnSmallDisk(
  args: readonly string[],
  {
    parent,
    disk,
    before,
    kilobytes,
    setUp = '',
    env = {},
  }: {
    readonly parent: string;
    readonly disk: string;
    readonly before: string;
    readonly kilobytes: number;
    readonly setUp?: string;
    readonly env?: Readonly<Record<string, string>>;
  },
): Promise<TwoEnds & { readonly left: string; readonly after: string }> {
  const [left, after, log] = ['left', 'after', 'log'].map((name) => join(parent, name)) as [string, string, string];
  for (const folder of [left, after]) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
  }
  const script = `${setUp}
mount -t tmpfs -o size=${kilobytes}k tmpfs '${disk}' && cp -a '${before}/.' '${disk}' || exit 97
"$@" > '${log}.out' 2> '${log}.err'; echo $? > '${log}.code'
cp -a '${disk}/.' '${left}'
mount -o remount,size=2g '${disk}' || exit 96
if ls -d '${disk}'/checkpoint-* > /dev/null 2>&1; then set -- "$@" --resume; fi
"$@"; code=$?
cp -a '${disk}/.' '${after}'; exit $code`;
  const room = await runScript(args, { under: ['unshare', '-rm', 'sh', '-c', script, 'sh'], env });
  if (room.code === 97 || room.code === 96) throw new Error(`no disk could be mounted: ${room.stderr}`);
  const text = (end: string): string => readFileSync(`${log}.${end}`, 'utf8');
  return {
    full: { code: Number(text('code')), signal: null, stdout: text('out'), stderr: text('err') },
    room,
    left,
    after,
  };
}
