// The process ends before each operation on the disk of everything that writes.
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';
import { faultEverywhere } from '../support/saved-state.ts';
import { writers } from '../support/writers.ts';

export const name = 'death before each operation on the disk';

export async function run(options: FaultOptions): Promise<FaultOutcome[]> {
  const outcomes: FaultOutcome[] = [];
  for (const writer of writers) {
    const outcome = await faultEverywhere(writer, ['death'], options);
    outcomes.push({ ...outcome, what: `death: ${writer.what}` });
  }
  return outcomes;
}
