import type { GroupedOptimizer } from './groups.ts';
import { checkNumber, refuseUnknown } from './options.ts';
import type { NumberRange } from './options.ts';
import { constant, constantWithWarmup, cosine, exponential, line, linear, steps } from './schedules.ts';
import type { Schedule } from './schedules.ts';

/** Of an optimizer, whatever its options are, only the rates are used. */
type AnyOptimizer = Pick<GroupedOptimizer<{ lr: number }>, 'setRates'> & {
  readonly paramGroups: readonly { readonly lr: number; readonly initialLr: number }[];
};

/** A scheduler's state, from which it resumes. */
export interface LRSchedulerState {
  /** Calls of `step()` so far. */
  readonly lastEpoch: number;
  readonly lastLr: readonly number[];
}

/**
 * Sets the learning rates of an optimizer's groups, as PyTorch's `torch.optim.lr_scheduler`: each group's
 * rate is its `initialLr` times a schedule, so that groups keep their proportions. The first rate holds from
 * the scheduler's making on, the next from each `step()`, which goes outside of compiled functions:
 *
 *     const scheduler = new CosineAnnealingLR(optimizer, 1000);
 *     for (const batch of batches) {
 *       trainStep(batch);
 *       scheduler.step();
 *     }
 *
 * @example
 * const optimizer = new SGD([new Parameter(zeros(2))], { lr: 0.1 });
 * const scheduler = new LRScheduler(optimizer, () => line(1, 0, 10));
 * for (let step = 0; step < 5; step++) scheduler.step();
 * scheduler.getLastLr(); // [0.05]
 */
export class LRScheduler {
  readonly #optimizer: AnyOptimizer;
  readonly #schedule: (group: number, initialLr: number) => Schedule;
  #lastEpoch = 0;

  /** `schedule`: a group's schedule, given its number and its first rate. */
  constructor(optimizer: AnyOptimizer, schedule: (group: number, initialLr: number) => Schedule) {
    this.#optimizer = optimizer;
    this.#schedule = schedule;
    this.#apply();
  }

  /** Goes on to the rates of the next step. */
  step(): void {
    this.#lastEpoch++;
    this.#apply();
  }

  /** The rates that hold now, by group. */
  getLastLr(): number[] {
    return this.#optimizer.paramGroups.map(({ lr }) => lr);
  }

  stateDict(): LRSchedulerState {
    return { lastEpoch: this.#lastEpoch, lastLr: this.getLastLr() };
  }

  /** Takes up where a state left off, and sets the rates of that step. */
  loadStateDict({ lastEpoch }: Pick<LRSchedulerState, 'lastEpoch'>): void {
    checkNumber('loadStateDict', 'lastEpoch', lastEpoch, { whole: true });
    this.#lastEpoch = lastEpoch;
    this.#apply();
  }

  #apply(): void {
    const rates = this.#optimizer.paramGroups.map(
      ({ initialLr }, i) => initialLr * this.#schedule(i, initialLr)(this.#lastEpoch),
    );
    this.#optimizer.setRates(rates);
  }
}

/**
 * The rate times a function of the step, or one for each group.
 *
 * @example
 * const scheduler = new LambdaLR(new SGD([new Parameter(zeros(2))], { lr: 0.1 }), (step) => 1 / (step + 1));
 * scheduler.step();
 * scheduler.getLastLr(); // [0.05]
 */
export class LambdaLR extends LRScheduler {
  constructor(optimizer: AnyOptimizer, lrLambda: Schedule | readonly Schedule[]) {
    const groups = optimizer.paramGroups.length;
    if (typeof lrLambda !== 'function' && lrLambda.length !== groups)
      throw new RangeError(`LambdaLR: ${lrLambda.length} functions for ${groups} groups; give one, or one for each`);
    super(optimizer, (group) => (typeof lrLambda === 'function' ? lrLambda : lrLambda[group]!));
  }
}

/**
 * Along a half wave from the rate to `etaMin` at step `tMax` (Loshchilov and Hutter 2017, without restarts).
 *
 * @example
 * const scheduler = new CosineAnnealingLR(new SGD([new Parameter(zeros(2))], { lr: 0.1 }), 2);
 * scheduler.step();
 * scheduler.getLastLr(); // [0.05]
 */
export class CosineAnnealingLR extends LRScheduler {
  constructor(optimizer: AnyOptimizer, tMax: number, etaMin = 0) {
    checkNumber('CosineAnnealingLR', 'tMax', tMax, someSteps);
    checkNumber('CosineAnnealingLR', 'etaMin', etaMin);
    super(optimizer, (_, initialLr) => cosine(0, tMax, 0.5, initialLr > 0 ? etaMin / initialLr : 0));
  }
}

/**
 * In a straight line from `startFactor` to `endFactor` times the rate, over `totalIters` steps; then
 * constant.
 *
 * @example
 * const optimizer = new SGD([new Parameter(zeros(2))], { lr: 0.1 });
 * new LinearLR(optimizer, { startFactor: 0.5, totalIters: 10 }).getLastLr(); // [0.05]
 */
export class LinearLR extends LRScheduler {
  constructor(
    optimizer: AnyOptimizer,
    options: { readonly startFactor?: number; readonly endFactor?: number; readonly totalIters?: number } = {},
  ) {
    refuseUnknown('LinearLR', options, ['startFactor', 'endFactor', 'totalIters']);
    const { startFactor = 1 / 3, endFactor = 1, totalIters = 5 } = options;
    checkNumber('LinearLR', 'totalIters', totalIters, someSteps);
    checkNumber('LinearLR', 'startFactor', startFactor, { above: 0, max: 1 });
    checkNumber('LinearLR', 'endFactor', endFactor, { min: 0, max: 1 });
    super(optimizer, () => line(startFactor, endFactor, totalIters));
  }
}

/**
 * `gamma` times the rate after every `stepSize` steps.
 *
 * @example
 * const scheduler = new StepLR(new SGD([new Parameter(zeros(2))], { lr: 0.1 }), 1, 0.5);
 * scheduler.step();
 * scheduler.getLastLr(); // [0.05]
 */
export class StepLR extends LRScheduler {
  constructor(optimizer: AnyOptimizer, stepSize: number, gamma = 0.1) {
    checkNumber('StepLR', 'stepSize', stepSize, someSteps);
    checkNumber('StepLR', 'gamma', gamma);
    super(optimizer, () => steps(stepSize, gamma));
  }
}

/**
 * `gamma` times the rate after every step.
 *
 * @example
 * const scheduler = new ExponentialLR(new SGD([new Parameter(zeros(2))], { lr: 0.1 }), 0.5);
 * scheduler.step();
 * scheduler.getLastLr(); // [0.05]
 */
export class ExponentialLR extends LRScheduler {
  constructor(optimizer: AnyOptimizer, gamma: number) {
    checkNumber('ExponentialLR', 'gamma', gamma);
    super(optimizer, () => exponential(gamma));
  }
}

/** Of numbers of steps. */
const someSteps: NumberRange = { min: 1, whole: true };

// Transformers' names for the schedules of schedules.ts.

/**
 * @example
 * getConstantSchedule(new SGD([new Parameter(zeros(2))], { lr: 0.1 })).getLastLr(); // [0.1]
 */
export const getConstantSchedule = (optimizer: AnyOptimizer): LambdaLR => new LambdaLR(optimizer, constant());

/**
 * Rises over numWarmupSteps, then stays.
 *
 * @example
 * const scheduler = getConstantScheduleWithWarmup(new SGD([new Parameter(zeros(2))], { lr: 0.1 }), 2);
 * scheduler.step();
 * scheduler.getLastLr(); // [0.05]
 */
export const getConstantScheduleWithWarmup = (optimizer: AnyOptimizer, numWarmupSteps: number): LambdaLR =>
  new LambdaLR(optimizer, constantWithWarmup(numWarmupSteps));

/**
 * Rises over numWarmupSteps, then falls in a straight line to 0 at numTrainingSteps.
 *
 * @example
 * const scheduler = getLinearScheduleWithWarmup(new SGD([new Parameter(zeros(2))], { lr: 0.1 }), 0, 2);
 * scheduler.step();
 * scheduler.getLastLr(); // [0.05]
 */
export const getLinearScheduleWithWarmup = (
  optimizer: AnyOptimizer,
  numWarmupSteps: number,
  numTrainingSteps: number,
): LambdaLR => new LambdaLR(optimizer, linear(numWarmupSteps, numTrainingSteps));

/**
 * Rises over numWarmupSteps, then follows a cosine of numCycles waves, 0 at numTrainingSteps for half a wave.
 *
 * @example
 * const scheduler = getCosineScheduleWithWarmup(new SGD([new Parameter(zeros(2))], { lr: 0.1 }), 0, 2);
 * scheduler.step();
 * scheduler.getLastLr(); // [0.05]
 */
export const getCosineScheduleWithWarmup = (
  optimizer: AnyOptimizer,
  numWarmupSteps: number,
  numTrainingSteps: number,
  numCycles = 0.5,
): LambdaLR => new LambdaLR(optimizer, cosine(numWarmupSteps, numTrainingSteps, numCycles));
