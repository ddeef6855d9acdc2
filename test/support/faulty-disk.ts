import type { FileHandle } from 'node:fs/promises';
import { disk } from '../../common/file-system.ts';

/**
 * How the n-th operation on the disk goes wrong:
 * - a code: it fails with that error; ENOSPC and EROFS stay, so that all later ones that need room (or change
 *   anything) fail too;
 * - `once:` a code: it alone fails;
 * - `short write`: it takes half of its bytes and says so; `cut write`: it takes half and says all;
 * - `lost rename`: it says yes and does nothing;
 * - `death`: neither it nor any later one happens, as if the process had been killed;
 * - `kill`: the process gets a signal, SIGKILL by default.
 */
export type Fault =
  | 'ENOSPC'
  | 'EROFS'
  | 'once: ENOSPC'
  | 'once: EIO'
  | 'once: EROFS'
  | 'short write'
  | 'cut write'
  | 'lost rename'
  | 'death'
  | 'kill';

type Operation = keyof typeof disk;
type Call = (...args: unknown[]) => unknown;

/** Operations that put nothing onto the disk: a full one does them. */
const needNoRoom: readonly Operation[] = [
  'remove',
  'removeSync',
  'removeEmpty',
  'sync',
  'syncSync',
  'syncFolder',
  'closeSync',
];

/** A disk under watch. */
export interface WatchedDisk {
  /** The operations so far, by name. */
  readonly operations: readonly Operation[];
  /** Whether the fault has happened: a `short write` happens to writes alone. */
  readonly struck: boolean;
  /** Gives the true disk back. */
  restore(): void;
}

/** Puts a disk that goes wrong at its `at`-th operation, counted from 1, in the place of the true one. */
export function faultyDisk(fault?: Fault, at = 0, signal: NodeJS.Signals = 'SIGKILL'): WatchedDisk {
  const real = { ...disk };
  const operations: Operation[] = [];
  const state = { struck: false };
  const table = disk as unknown as Record<Operation, Call>;
  const failing = (name: Operation): Error | undefined => {
    const now = operations.length === at;
    if (fault === 'kill' && now) process.kill(process.pid, signal);
    if (fault === 'death' && operations.length >= at) return new Error('the process has died');
    const [, once, code] = /^(once: )?(E[A-Z]+)$/.exec(fault ?? '') ?? [];
    if (code === undefined || (once ? !now : operations.length < at)) return undefined;
    if (code === 'ENOSPC' && needNoRoom.includes(name)) return undefined;
    return Object.assign(new Error(`${code}: injected, ${name}`), { code });
  };
  for (const name of Object.keys(real) as Operation[]) {
    const act = real[name] as Call;
    const sync = name.endsWith('Sync');
    table[name] = (...args) => {
      operations.push(name);
      const error = failing(name);
      if (error) {
        state.struck = true;
        if (sync) throw error;
        return Promise.reject(error);
      }
      if (operations.length === at && (name === 'write' || name === 'writeSync') && fault?.endsWith(' write')) {
        state.struck = true;
        const [file, bytes] = args as [FileHandle & number, Uint8Array];
        const half = bytes.subarray(0, Math.ceil(bytes.length / 2));
        const said = fault === 'cut write' ? bytes.length : half.length;
        if (sync) {
          real.writeSync(file, half);
          return said;
        }
        return real.write(file, half).then(() => said);
      }
      if (operations.length === at && name === 'rename' && fault === 'lost rename') {
        state.struck = true;
        return Promise.resolve();
      }
      return act(...args);
    };
  }
  return {
    operations,
    get struck() {
      return state.struck;
    },
    restore: () => void Object.assign(disk, real),
  };
}
