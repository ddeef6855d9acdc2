import { ProcessGroup } from '../../distributed/index.ts';
import { freePort } from '../../train/launch/free-port.ts';

export type GroupOptions = Parameters<typeof ProcessGroup.connect>[0];

/** All ranks of a group, in this process. */
export async function groupOf(worldSize: number, options: Partial<GroupOptions> = {}): Promise<ProcessGroup[]> {
  const place = { worldSize, port: await freePort(), secret: 'known to all', timeout: 60_000, ...options };
  return Promise.all(Array.from({ length: worldSize }, (_, rank) => ProcessGroup.connect({ rank, ...place })));
}
