// Random programs: run op by op and compiled, they must give the same.
import { differenceOf, describeProgram, randomProgram, runProgram, smallest } from '../support/random-program.ts';
import type { Found, Mode, RandomProgram } from '../support/random-program.ts';
import { Tally } from '../support/faults.ts';
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';

export const name = 'random programs: compiled as op by op';

/** Of the largest value: sums in another order. */
const tolerance = 1e-5;
/** Compiled, a value of f16 that stays inside a kernel keeps f32's digits. */
const halfTolerance = 2e-2;

export async function run({ seed, short }: FaultOptions): Promise<FaultOutcome> {
  const tally = new Tally();
  for (let i = 0; i < (short ? 4 : 300); i++) {
    const program = randomProgram(1000 * seed + i, 10 + (i % 30));
    await tally.try(`program ${i} of seed ${seed}`, async () => {
      const found = await compared(program);
      if (found === undefined) return;
      const least = await smallest(program, async (smaller) => (await compared(smaller)) !== undefined);
      throw new Error(`${(await compared(least)) ?? found}\n${describeProgram(least)}`);
    });
  }
  return tally.outcome();
}

/** What differs between the two ways; equal refusals do not. */
async function compared(program: RandomProgram): Promise<string | undefined> {
  const [ours, theirs] = [await outcomeOf(program, 'compiled'), await outcomeOf(program, 'immediate')];
  if (typeof ours === 'string' || typeof theirs === 'string')
    return ours === theirs ? undefined : `compiled ${textOf(ours)}, op by op ${textOf(theirs)}`;
  return differenceOf(ours, theirs, program.half ? halfTolerance : tolerance);
}

async function outcomeOf(program: RandomProgram, mode: Mode): Promise<Found | string> {
  try {
    return await runProgram(program, mode);
  } catch (error) {
    return String(error);
  }
}

const textOf = (outcome: Found | string): string => (typeof outcome === 'string' ? outcome : 'gave values');
