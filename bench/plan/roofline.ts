import type { Dispatch } from '../../gpu/index.ts';
import type { Device } from './devices.ts';
import { instructionsOf } from './instructions.ts';
import type { Counts, Instructions } from './instructions.ts';

/** What a unit does side by side; the busiest of them bounds it. */
const pipeNames = ['arithmetic', 'special', 'workgroup memory', 'matrices'] as const;
type Pipe = (typeof pipeNames)[number];

/** What the plan says of one dispatch on a device. */
export interface Estimate {
  readonly instructions: Instructions;
  readonly groups: number;
  /** Workgroups that a unit holds at once, and invocations among all that it could. */
  readonly resident: number;
  readonly occupancy: number;
  /** Times that the device is filled. */
  readonly waves: number;
  /** Seconds, and what they are spent on. */
  readonly seconds: number;
  readonly bound: Pipe | 'memory' | 'launch';
}

/** Share of the bandwidth in the datasheet that streams reach. */
const bandwidthShare = 0.85;
/** Share of its tightest pipe that a unit reaches, by the subgroups that can hide each other's waiting. */
const overlap = (subgroups: number): number => (subgroups >= 16 ? 0.85 : subgroups >= 8 ? 0.7 : 0.5);

/** The lines that the table prints below itself. */
export const assumptions = [
  'Instructions are counted in the WGSL of the loops, which multiply as often as useful operations ask, or go over ' +
    'the bytes of a row, and of what main does before and after them; each index counts one more for its bounds ' +
    'check, a product and what is added to it one. A load of storage takes the place of 4 instructions.',
  'Sums of an operand beside its product, which the tiles of one row or column make by a quarter more ' +
    'multiplications, and slabs beyond the end of k are not counted.',
  'A unit takes as long as its busiest pipe (arithmetic, special functions, workgroup memory at its full width, ' +
    'matrices) at 85%, 70% or 50% of that pipe, where 16, 8 or fewer subgroups hide waiting.',
  'Only useful operations are counted: a block across a causal edge is taken as if it were cut there.',
  'Memory moves what each kernel must read and write once, at 85% of the datasheet: caches neither help nor fail. It ' +
    'is slower where few loads are under way: those of the workgroups that are at work at once, in one iteration.',
  'A dispatch waits for the one before it (launch), and takes the longer of memory and arithmetic; parts of one that ' +
    'run abreast take as long as one after the other, with the registers of the largest.',
  'Registers are estimated from the text; no compiler was asked.',
];

const subgroupOf = ({ target }: Device): number => Math.max(1, target.subgroupSizes[1]);

/** Cycles of a unit for counts of `workgroup` threads, by pipe. */
function pipes(counts: Counts, workgroup: number, device: Device): Readonly<Record<Pipe, number>> {
  const subgroups = workgroup / subgroupOf(device);
  const { fma, alu, special, scalarLoads, vectorLoads, stores, shared, matrixFlops, matrixBytes } = counts;
  const loads = 4 * (scalarLoads + vectorLoads + stores);
  const perCycle = device.matrixFlops / (device.target.units * device.clock);
  return {
    arithmetic: ((fma + alu + loads + shared / 16) * workgroup) / device.lanes,
    special: (special * workgroup) / device.special,
    'workgroup memory': (shared * workgroup + matrixBytes * subgroups) / device.sharedPerCycle,
    matrices: perCycle > 0 ? (matrixFlops * subgroups) / perCycle : 0,
  };
}

const known = new Map<string, Instructions>();

function readOnce({ wgsl }: Dispatch): Instructions {
  let instructions = known.get(wgsl);
  if (!instructions) known.set(wgsl, (instructions = instructionsOf(wgsl)));
  return instructions;
}

/**
 * Estimates the time of a dispatch on a device that is alone with it, or of a part of one, whose workgroups
 * have the registers and the memory of the `whole`.
 */
export function estimate(dispatch: Dispatch, device: Device, whole = dispatch): Estimate {
  const { grid, cost } = dispatch;
  const instructions = readOnce(dispatch);
  const { once, loops, workgroup } = instructions;
  const { shared, registers } = readOnce(whole);
  const groups = grid[0] * grid[1] * grid[2];
  const resident = Math.max(
    1,
    Math.min(
      device.groups,
      Math.floor(device.invocations / workgroup),
      Math.floor(device.registers / (registers * workgroup)),
      shared > 0 ? Math.floor(device.shared / shared) : Infinity,
    ),
  );
  const share = overlap((resident * workgroup) / subgroupOf(device));
  const flopsOf = ({ fma, matrixFlops }: Counts): number =>
    2 * fma * workgroup + (matrixFlops * workgroup) / subgroupOf(device);
  // Loops that do little but multiply run as often as the useful operations say, others (rows of norms and
  // losses, which each loop goes over) as the bytes say.
  const products = loops.filter((loop) => flopsOf(loop) >= 16 * workgroup);
  const multiplies = products.length > 0;
  const most = Math.max(0, ...loops.map(({ bytes }) => bytes)) * workgroup;
  const rounds = most > 0 ? cost.bytes / most : 0;
  const iterations = multiplies ? cost.flops / products.reduce((sum, loop) => sum + flopsOf(loop), 0) : rounds;
  const inLoops = (multiplies ? products : loops).map((loop) => pipes(loop, workgroup, device));
  const inMain = pipes(once, workgroup, device);
  const perUnit = groups / device.target.units;
  const balance = Math.ceil(perUnit) / perUnit;
  const parts = pipeNames.map((bound) => {
    const cycles = iterations * inLoops.reduce((sum, loop) => sum + loop[bound], 0) + groups * inMain[bound];
    return { bound, seconds: (cycles * balance) / (device.target.units * device.clock) / share };
  });
  const atWork = Math.min(groups, resident * device.target.units) * workgroup;
  const underWay = (atWork * Math.max(once.bytes, ...loops.map(({ bytes }) => bytes))) / device.latency;
  const rate = Math.min(bandwidthShare * device.bandwidth, underWay > 0 ? underWay : Infinity);
  const memory = { bound: 'memory' as const, seconds: cost.bytes / rate };
  const longest = [...parts, memory].reduce((a, b) => (b.seconds > a.seconds ? b : a));
  return {
    instructions,
    groups,
    resident,
    occupancy: Math.min(1, (resident * workgroup) / device.invocations),
    waves: groups / (device.target.units * resident),
    seconds: longest.seconds + device.launch,
    bound: longest.seconds > device.launch ? longest.bound : 'launch',
  };
}
