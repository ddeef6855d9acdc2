// Each operation on the disk of everything that writes fails, takes less than it was given, or does nothing.
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';
import type { Fault } from '../support/faulty-disk.ts';
import { faultEverywhere } from '../support/saved-state.ts';
import { writers } from '../support/writers.ts';

export const name = 'a disk that is full, fails, or lies';

const faults: readonly Fault[] = [
  'ENOSPC',
  'EROFS',
  'once: ENOSPC',
  'once: EIO',
  'once: EROFS',
  'short write',
  'cut write',
  'lost rename',
];

export async function run(options: FaultOptions): Promise<FaultOutcome[]> {
  const outcomes: FaultOutcome[] = [];
  for (const fault of faults) {
    const each: FaultOutcome[] = [];
    for (const writer of writers) each.push(await faultEverywhere(writer, [fault], options, 1));
    const sum = (count: (outcome: FaultOutcome) => number): number =>
      each.reduce((total, one) => total + count(one), 0);
    outcomes.push({
      what: fault,
      tried: sum(({ tried }) => tried),
      survived: sum(({ survived }) => survived),
      failures: each.flatMap(({ what, failures }) => failures.map((line) => `${what}: ${line}`)),
    });
  }
  return outcomes;
}
