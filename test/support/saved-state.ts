import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { namesBelow } from '../../common/atomic-folder.ts';
import { Random } from '../../common/random.ts';
import type { FaultOptions, FaultOutcome } from './faults.ts';
import { Tally } from './faults.ts';
import { faultyDisk } from './faulty-disk.ts';
import type { Fault, WatchedDisk } from './faulty-disk.ts';

/** Something that writes, and how to tell what it left. All get the same folder; nothing else lies in it. */
export interface Writer {
  readonly what: string;
  /** Makes what is there before; default nothing. */
  readonly before?: (folder: string) => Promise<unknown>;
  readonly write: (folder: string) => Promise<unknown>;
  /**
   * Opens what is there as a reader does, and throws if it is not whole. Default: nothing is opened. Its
   * result is compared with that of the old and of the new state, beside the files themselves.
   */
  readonly open?: (folder: string) => Promise<unknown>;
  /** What `open` returns is all that counts until the next write: old files may lie beside the new. */
  readonly byReader?: boolean;
}

const absent = 'nothing';
const isTemporary = (path: string): boolean => /(^|[/\\])\..*\.tmp([/\\]|$)/.test(path);

/** All that matters of a folder: what its reader says, then each file with its hash. */
export async function stateOf(folder: string, { open }: Writer, files?: readonly string[]): Promise<string> {
  const opened = open ? JSON.stringify(await open(folder)) : '';
  const lines = (files ?? (await filesOf(folder))).map(async (name) => {
    const hash = createHash('sha256').update(await readFile(join(folder, name)));
    return `${name} ${hash.digest('hex')}`;
  });
  return [opened, ...(await Promise.all(lines))].join('\n');
}

/** Every file below a folder, those with hidden names too. */
const filesOf = (folder: string): Promise<string[]> => namesBelow(folder, () => false);

/** The state after a fault: what the dead process was writing may still lie there, under temporary names. */
async function stateAfterFault(folder: string, writer: Writer): Promise<string> {
  const opened = await (writer.open?.(folder) ?? Promise.resolve()).then(
    () => true,
    (error: Error) => {
      if (writer.before || error.message.includes('\n')) throw error;
      return false;
    },
  );
  const files = (await filesOf(folder)).filter((name) => !isTemporary(name));
  return !opened || (!writer.before && files.length === 0)
    ? [absent, ...files].join('\n')
    : stateOf(folder, writer, files);
}

/**
 * Lets `fault` happen at each operation of a writer in turn (at a sample of them in the short form). Each
 * time what is left must be the old state or the new, whole; where the write failed without dying, its error
 * must be one line; and the next write must succeed and leave no litter.
 */
export async function faultEverywhere(
  writer: Writer,
  faults: readonly Fault[],
  { seed, short }: FaultOptions,
  sample = 8,
): Promise<FaultOutcome> {
  const tally = new Tally();
  const random = new Random(seed);
  const parent = await mkdtemp(join(tmpdir(), 'tapeform-'));
  try {
    const old = join(parent, 'old');
    const made = join(parent, 'made');
    await mkdir(old);
    await writer.before?.(old);
    const oldState = writer.before ? await stateOf(old, writer) : absent;
    await cp(old, made, { recursive: true });
    const watched = faultyDisk();
    await writer.write(made).finally(() => watched.restore());
    const newState = await stateOf(made, writer);
    const count = watched.operations.length;
    if (oldState === newState) throw new Error(`${writer.what}: the old state is the new one; nothing is tested`);

    for (const fault of faults) {
      const all = pointsOf(fault, watched.operations);
      if (all.length === 0) continue;
      const points = short ? [...new Set(Array.from({ length: sample }, () => all[random.int(all.length)]!))] : all;
      for (const at of points) {
        const folder = join(parent, 'tried');
        await rm(folder, { recursive: true, force: true });
        await cp(old, folder, { recursive: true });
        const broken = faultyDisk(fault, at);
        const error = await writer
          .write(folder)
          .then(
            () => undefined,
            (reason: Error) => reason,
          )
          .finally(() => broken.restore());
        if (!broken.struck) continue;
        await tally.try(`${fault} at ${at} of ${count} (${watched.operations[at - 1]!})`, async () => {
          if (error && fault !== 'death' && error.message.includes('\n')) throw error;
          const state = await stateAfterFault(folder, writer);
          const known = (whole: string): boolean =>
            writer.byReader ? state.split('\n')[0] === whole.split('\n')[0] : state === whole;
          if (!known(oldState) && !known(newState))
            throw new Error(`neither old nor new: ${difference(state, oldState, newState)}`);
          if (!error && !known(newState)) throw new Error('it was said to be written, and was not');
          await writer.write(folder);
          const after = await stateOf(folder, writer);
          if (after !== newState) throw new Error(`the next write left ${difference(after, oldState, newState)}`);
        });
      }
    }
  } finally {
    await rm(parent, { recursive: true, force: true });
  }
  return tally.outcome(writer.what);
}

/** The operations, counted from 1, that a fault can happen to. */
function pointsOf(fault: Fault, operations: WatchedDisk['operations']): number[] {
  const of = fault === 'lost rename' ? /^rename$/ : fault.endsWith(' write') ? /^write/ : /./;
  return operations.flatMap((name, i) => (of.test(name) ? [i + 1] : []));
}

/** The lines that are in neither state, and those of the new one that are missing. */
function difference(state: string, ...known: string[]): string {
  const lines = new Set(known.flatMap((each) => each.split('\n')));
  const own = state.split('\n');
  const odd = own.filter((line) => !lines.has(line));
  const missing = known
    .at(-1)!
    .split('\n')
    .filter((line) => !own.includes(line));
  return `odd [${odd.join(', ')}], not new [${missing.join(', ')}]`.slice(0, 400);
}
