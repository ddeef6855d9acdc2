// Random programs: compiled, they must give what they give op by op, and their gradients the loss's slopes.
import {
  differenceOf,
  describeProgram,
  gradientError,
  randomProgram,
  runProgram,
  smallest,
} from '../support/random-program.ts';
import type { Found, Mode, RandomProgram } from '../support/random-program.ts';
import { acquire } from '../../gpu/index.ts';
import type { Target } from '../../gpu/index.ts';
import { Tally } from '../support/faults.ts';
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';

export const name = 'random programs';

/** Of the largest value: sums in another order. */
const tolerance = 1e-5;
/** Compiled, a value of f16 that stays inside a kernel keeps f32's digits. */
const halfTolerance = 2e-2;

export async function run({ seed, short }: FaultOptions): Promise<FaultOutcome[]> {
  const gpu = await acquire();
  const own = gpu.target;
  /** A GPU's kernels and dispatches, with tiles that a software driver compiles soon. */
  const described: Target = { ...own, software: false, kind: 'integrated', subgroupMatrix: [] };
  const use = (target: Target): void => {
    Object.defineProperty(gpu, 'target', { value: target, configurable: true });
  };
  const tried = async (
    what: string,
    count: number,
    make: (seed: number, length: number) => RandomProgram,
    compared: (program: RandomProgram) => Promise<string | undefined>,
  ): Promise<FaultOutcome> => {
    const tally = new Tally();
    for (let i = 0; i < count; i++) {
      const program = make(1000 * seed + i, 10 + (i % 30));
      await tally.try(`program ${i} of seed ${seed}`, async () => {
        const found = await compared(program);
        if (found === undefined) return;
        const least = await smallest(program, async (smaller) => (await compared(smaller)) !== undefined);
        throw new Error(`${(await compared(least)) ?? found}\n${describeProgram(least)}`);
      });
    }
    return tally.outcome(what);
  };
  const compiled =
    (target: Target) =>
    async (program: RandomProgram): Promise<string | undefined> => {
      use(target);
      const ours = await outcomeOf(program, 'compiled');
      use(own);
      return differs(program, ours, await outcomeOf(program, 'immediate'));
    };
  const smooth = (own: number, length: number): RandomProgram => randomProgram(own, length, true);
  // llvmpipe keeps some 300 mappings of memory for the kernels of a program, and Linux allows 65,530.
  return [
    await tried(`${name}: compiled as op by op`, short ? 4 : 100, randomProgram, compiled(own)),
    await tried(`${name}: compiled with a GPU's kernels`, short ? 1 : 50, randomProgram, compiled(described)),
    await tried(`${name}: gradients by differences`, short ? 4 : 100, smooth, gradientError),
  ];
}

/** What differs between the two ways; equal refusals do not. */
function differs(program: RandomProgram, ours: Found | string, theirs: Found | string): string | undefined {
  if (typeof ours === 'string' || typeof theirs === 'string')
    return ours === theirs ? undefined : `compiled ${textOf(ours)}, op by op ${textOf(theirs)}`;
  return program.half ? differenceOf(ours, theirs, halfTolerance, 1) : differenceOf(ours, theirs, tolerance, 0.1);
}

async function outcomeOf(program: RandomProgram, mode: Mode): Promise<Found | string> {
  try {
    return await runProgram(program, mode);
  } catch (error) {
    return String(error);
  }
}

const textOf = (outcome: Found | string): string => (typeof outcome === 'string' ? outcome : 'gave values');
