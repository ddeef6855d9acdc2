import { createRequire } from 'node:module';
import type { ProcessGroup } from './process-group.ts';

/** All default to the environment variables that torchrun and `tapeform launch` set. */
export interface GroupOptions {
  /** RANK */
  readonly rank?: number;
  /** WORLD_SIZE */
  readonly worldSize?: number;
  /** MASTER_ADDR: the machine of rank 0; default 127.0.0.1, which other machines cannot reach. */
  readonly host?: string;
  /** MASTER_PORT; default 29500. */
  readonly port?: number;
  /** TAPEFORM_GROUP_SECRET: what all processes know and nobody else. */
  readonly secret?: string;
  /**
   * Milliseconds that ranks wait for one another; TAPEFORM_GROUP_TIMEOUT is in seconds. Default ten minutes.
   */
  readonly timeout?: number;
}

let current: Promise<ProcessGroup> | undefined;

/** Loads the group only where there is one: the Trainer asks for it in each run, of one process too. */
async function connect(place: Parameters<typeof ProcessGroup.connect>[0]): Promise<ProcessGroup> {
  const { ProcessGroup } = await import('./process-group.ts');
  return ProcessGroup.connect(place);
}

/** A variable that is a whole number; empty is unset. */
function whole(name: string, text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  if (!/^\d{1,9}$/.test(text)) throw new Error(`${name}=${text}: give a whole number`);
  return Number(text);
}

const worldSizeOf = (): number | undefined => whole('WORLD_SIZE', process.env['WORLD_SIZE']);

const version = (): string =>
  (createRequire(import.meta.url)('tapeform/package.json') as { readonly version: string }).version;

/**
 * Meets the other processes of a training, as torch.distributed.init_process_group does: rank 0 listens at
 * MASTER_ADDR and MASTER_PORT, the others come to it. `tapeform launch` sets all variables. Without them
 * there is one process. Numbers travel unencrypted: on a network that others share, use a tunnel.
 *
 * Errors, one line: a variable that is missing or no number; the port is in use; a rank does not come in
 * time, is there twice, counts other ranks, runs another version, or does not know the secret.
 *
 * @example
 * const group = await initProcessGroup();
 * const gradient = tensor([1, 2, 3]);
 * await group.allReduce(gradient, 'mean');
 * await destroyProcessGroup();
 */
export function initProcessGroup(options: GroupOptions = {}): Promise<ProcessGroup> {
  if (current) throw new Error('initProcessGroup: this process has a group already; call destroyProcessGroup first');
  const worldSize = options.worldSize ?? worldSizeOf() ?? 1;
  const rank = options.rank ?? whole('RANK', process.env['RANK']) ?? (worldSize === 1 ? 0 : undefined);
  if (rank === undefined) throw new Error(`initProcessGroup: WORLD_SIZE is ${worldSize}, and RANK is not set`);
  const secret = options.secret ?? process.env['TAPEFORM_GROUP_SECRET'] ?? '';
  if (worldSize > 1 && secret === '')
    throw new Error(
      'initProcessGroup: set TAPEFORM_GROUP_SECRET to the same long random text in all processes, or start them by ' +
        '`tapeform launch`, which does',
    );
  const seconds = whole('TAPEFORM_GROUP_TIMEOUT', process.env['TAPEFORM_GROUP_TIMEOUT']);
  // `ProcessGroup` knows the defaults.
  current = connect({
    rank,
    worldSize,
    host: options.host ?? (process.env['MASTER_ADDR'] || undefined),
    port: options.port ?? whole('MASTER_PORT', process.env['MASTER_PORT']),
    secret,
    version: version(),
    timeout: options.timeout ?? (seconds === undefined ? undefined : 1000 * seconds),
  });
  process.once('beforeExit', () => void destroyProcessGroup());
  return current;
}

/**
 * The group of this process: that of `initProcessGroup`, or of the environment, which is met now. Undefined
 * where the process is alone.
 *
 * @example
 * const group = await currentGroup();
 * if (!group || group.rank === 0) console.log('printed once');
 */
export async function currentGroup(): Promise<ProcessGroup | undefined> {
  if (!current && (worldSizeOf() ?? 1) <= 1) return undefined;
  const group = await (current ?? initProcessGroup());
  return group.worldSize > 1 ? group : undefined;
}

/**
 * Leaves the group. A process that ends by itself does so, too.
 *
 * @example
 * await destroyProcessGroup();
 */
export async function destroyProcessGroup(): Promise<void> {
  const group = current;
  current = undefined;
  await (await group?.catch(() => undefined))?.close();
}
