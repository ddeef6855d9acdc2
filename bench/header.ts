import { availableParallelism } from 'node:os';
import { acquire } from '../gpu/index.ts';
import { describeDriver } from '../gpu/driver.ts';
import { projectCommit } from '../train/trainer/run-info.ts';

/** Where and when figures were measured, so that they are not compared with those of another machine. */
export interface Header {
  readonly adapter: string;
  readonly driver: string;
  readonly node: string;
  readonly cores: number;
  readonly commit: string;
  readonly date: string;
}

/** Describes this machine and moment. Throws where there is no adapter. */
export async function describeMachine(): Promise<Header> {
  const { adapter } = await acquire();
  const { description, device, vendor } = adapter.info;
  const { installed, why } = describeDriver();
  return {
    adapter: description || device || vendor || 'unnamed adapter',
    // Headers are committed: a variable that names a driver is told without its path.
    driver: installed ? 'software driver' : why.replace(/=\S*\/\S*/, ''),
    node: process.versions.node,
    cores: availableParallelism(),
    commit: (await projectCommit()) ?? 'unknown',
    date: new Date().toISOString().slice(0, 16).replace('T', ' '),
  };
}
