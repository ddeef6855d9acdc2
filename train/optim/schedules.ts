import { checkNumber, refuseUnknown } from './options.ts';

/**
 * Learning-rate schedules as pure functions of the optimizer step (0 before the first update) giving a
 * multiplier of the base rate. Formulas of Transformers' optimization.py; there, too, the first step of a
 * warm-up has rate 0.
 */
export type Schedule = (step: number) => number;

export interface ScheduleOptions {
  /** Steps over which the multiplier rises from 0 to 1. Default 0. */
  readonly warmupSteps?: number;
  /** All optimizer steps of the run, warm-up included. Needed by linear and cosine. */
  readonly totalSteps?: number;
  /** Waves of the cosine; 0.5 (default) falls from 1 to 0 once. */
  readonly numCycles?: number;
  /** Linear, cosine and inverseSquareRoot fall to this, instead of 0. Default 0. */
  readonly minRate?: number;
}

/**
 * Always 1.
 *
 * @example
 * constant()(1000); // 1
 */
export function constant(): Schedule {
  return () => 1;
}

/**
 * Rises to 1 over warmupSteps, then stays.
 *
 * @example
 * [0, 5, 10, 20].map(constantWithWarmup(10)); // [0, 0.5, 1, 1]
 */
export function constantWithWarmup(warmupSteps: number): Schedule {
  checkNumber('schedule', 'warmupSteps', warmupSteps, { whole: true });
  return (step) => (step < warmupSteps ? step / Math.max(1, warmupSteps) : 1);
}

/**
 * Rises to 1 over warmupSteps, then falls in a straight line to minRate at totalSteps.
 *
 * @example
 * [0, 10, 55, 100].map(linear(10, 100)); // [0, 1, 0.5, 0]
 */
export function linear(warmupSteps: number, totalSteps: number, minRate = 0): Schedule {
  checkSteps(warmupSteps, totalSteps, minRate);
  return (step) =>
    step < warmupSteps
      ? step / Math.max(1, warmupSteps)
      : minRate + (1 - minRate) * Math.max(0, (totalSteps - step) / Math.max(1, totalSteps - warmupSteps));
}

/**
 * Rises to 1 over warmupSteps, then follows (1 + cos(2 pi numCycles t)) / 2, between minRate and 1, with t
 * from 0 to 1 at totalSteps.
 *
 * @example
 * [0, 50, 100].map(cosine(0, 100)); // [1, 0.5, 0.000]
 */
export function cosine(warmupSteps: number, totalSteps: number, numCycles = 0.5, minRate = 0): Schedule {
  checkSteps(warmupSteps, totalSteps, minRate);
  checkNumber('schedule', 'numCycles', numCycles, { above: 0 });
  return (step) => {
    if (step < warmupSteps) return step / Math.max(1, warmupSteps);
    const progress = (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps);
    return minRate + (1 - minRate) * Math.max(0, 0.5 * (1 + Math.cos(Math.PI * numCycles * 2 * progress)));
  };
}

function checkSteps(warmupSteps: number, totalSteps: number, minRate: number): void {
  checkNumber('schedule', 'warmupSteps', warmupSteps, { whole: true });
  checkNumber('schedule', 'totalSteps', totalSteps, { whole: true });
  checkNumber('schedule', 'minRate', minRate);
}

/**
 * Rises to 1 over warmupSteps, then falls with the inverse square root of the step (Vaswani et al. 2017,
 * section 5.3, but for a rate of 1 at its highest): sqrt(timescale / (step + shift)), where timescale is
 * warmupSteps, 10,000 without a warm-up, and shift = timescale - warmupSteps. Not below minRate.
 *
 * @example
 * [50, 100, 400].map(inverseSquareRoot(100)); // [0.5, 1, 0.5]
 */
export function inverseSquareRoot(warmupSteps: number, minRate = 0): Schedule {
  checkNumber('schedule', 'warmupSteps', warmupSteps, { whole: true });
  checkNumber('schedule', 'minRate', minRate);
  const timescale = warmupSteps || 10_000;
  const shift = timescale - warmupSteps;
  return (step) =>
    step < warmupSteps ? step / Math.max(1, warmupSteps) : Math.max(minRate, 1 / Math.sqrt((step + shift) / timescale));
}

/**
 * In a straight line from `start` to `end` over `total` steps, then stays.
 *
 * @example
 * [0, 5, 10, 20].map(line(1, 0, 10)); // [1, 0.5, 0, 0]
 */
export function line(start: number, end: number, total: number): Schedule {
  return (step) => start + (end - start) * (Math.min(step, total) / total);
}

/**
 * gamma^k after k times `every` steps.
 *
 * @example
 * [0, 9, 10, 20].map(steps(10, 0.5)); // [1, 1, 0.5, 0.25]
 */
export function steps(every: number, gamma: number): Schedule {
  return (step) => gamma ** Math.floor(step / every);
}

/**
 * gamma^step.
 *
 * @example
 * [0, 1, 2].map(exponential(0.5)); // [1, 0.5, 0.25]
 */
export const exponential = (gamma: number): Schedule => steps(1, gamma);

export const scheduleNames = ['constant', 'constantWithWarmup', 'linear', 'cosine', 'inverseSquareRoot'] as const;
export type ScheduleName = (typeof scheduleNames)[number];

/**
 * The schedule of that name. Throws on unknown names, on steps that are no whole numbers and where warm-up
 * outlasts the run.
 *
 * @example
 * schedule('linear', { warmupSteps: 10, totalSteps: 100 })(5); // 0.5
 */
export function schedule(name: ScheduleName, options: ScheduleOptions = {}): Schedule {
  refuseUnknown('schedule', options, ['warmupSteps', 'totalSteps', 'numCycles', 'minRate']);
  const { warmupSteps = 0, totalSteps, numCycles = 0.5, minRate = 0 } = options;
  switch (name) {
    case 'constant':
      return constant();
    case 'constantWithWarmup':
      return constantWithWarmup(warmupSteps);
    case 'linear':
      return linear(warmupSteps, needTotal(name, warmupSteps, totalSteps), minRate);
    case 'cosine':
      return cosine(warmupSteps, needTotal(name, warmupSteps, totalSteps), numCycles, minRate);
    case 'inverseSquareRoot':
      return inverseSquareRoot(warmupSteps, minRate);
    default:
      throw new Error(`schedule: unknown schedule "${String(name)}"; use one of ${scheduleNames.join(', ')}`);
  }
}

function needTotal(name: string, warmupSteps: number, totalSteps: number | undefined): number {
  if (totalSteps === undefined) throw new Error(`schedule: ${name} needs totalSteps, the number of optimizer steps`);
  if (warmupSteps > totalSteps) {
    throw new Error(`schedule: warmupSteps ${warmupSteps} exceeds totalSteps ${totalSteps}; shorten the warm-up`);
  }
  return totalSteps;
}
