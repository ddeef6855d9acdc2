import { joinParameters } from '../../models/parameter.ts';
import { assign, clone, noGrad, Tensor } from '../../autograd/index.ts';
import { halfCopy } from '../../autograd/autocast.ts';
import * as e from '../../kernels/map/expr.ts';
import { updateRule } from '../../kernels/multi-tensor/update.ts';
import type { RuleTable } from '../../kernels/multi-tensor/update.ts';
import { GroupedOptimizer } from './groups.ts';
import type { OptimizerSnapshot, Parameters, Rules } from './groups.ts';
import { checkNumber, decay, refuseUnknown } from './options.ts';
import { checkMaxNorm } from './clip.ts';
import type { LossScale } from './step.ts';
import { OptimizerState } from './state.ts';

export interface StepOptions {
  /** An f32 scalar tensor that the gradients are multiplied by on the way, see `clipCoefficient`. */
  readonly gradScale?: Tensor;
  /**
   * Scales the gradients down so that the norm of all of them together does not exceed this, as PyTorch's
   * clip_grad_norm_.
   */
  readonly maxNorm?: number;
  /**
   * Leave all parameters as they are where a gradient is infinite or NaN, see `skipped`; 'onwards': in all
   * later steps, too, so that who reads `skipped` late finds them as they were. A scaler has steps go on.
   */
  readonly skipNonFinite?: boolean | 'onwards';
  /**
   * Gradients are of a loss that this scaler scaled: they are divided by its scale, and a step with an
   * infinite or NaN gradient is skipped.
   */
  readonly scaler?: LossScale;
  /** Leave the scaler's scale as it is until `scaler.update()`, see `GradScaler.step`. */
  readonly keepScale?: boolean;
}

const stepOptions = ['gradScale', 'maxNorm', 'skipNonFinite', 'scaler', 'keepScale'];

/** Throws for options of a step that do not exist or are out of range. */
export function checkStep(name: string, options: StepOptions): void {
  refuseUnknown(`${name}.step`, options, stepOptions);
  const { maxNorm, gradScale } = options;
  if (maxNorm !== undefined) checkMaxNorm(maxNorm);
  if (gradScale !== undefined && !(gradScale instanceof Tensor))
    throw new TypeError(`${name}.step: gradScale must be a tensor on the device: tensor(${String(gradScale)})`);
}

/** Options of every optimizer. */
export interface Common {
  /**
   * Above 0 each step also moves an average of all parameters, with this decay, below 1; see
   * `withAverages`.
   */
  readonly ema?: number;
  /** Each step also writes the parameters in f16, for `autocast`. */
  readonly halfCopies?: boolean;
}

/** An optimizer: its update rule, and what it refuses. */
type Method<Options, H extends string, D extends string, S extends string> = RuleTable<Options, H, D, S> &
  Rules<Options>;

/** A table whose expressions may use the names that it gives, and no others. */
export function rule<Options, H extends string, S extends string, D extends string = never>(
  table: Method<Options, H, D, S>,
): Method<Options, string, string, string> {
  return table as unknown as Method<Options, string, string, string>;
}

/** -log beta, from which kernels take beta^t; a large finite number stands for -log 0. */
export const minusLog = (beta: number): number => Math.min(-Math.log(beta), 100);

/**
 * Gradient descent over groups of parameters. Subclasses say what one update is. Hyperparameters and numbers
 * of updates lie on the device, nothing is read back, and every step is the same dispatches. Small parameters
 * are moved into one buffer, so that they are updated together: make the optimizer before anything that holds
 * on to their memory.
 *
 * @example
 * const x = new Parameter(tensor([1]));
 * const optimizer = new AdamW([x], { lr: 0.1, ema: 0.99 });
 * x.mul(x).sum().backward();
 * optimizer.step();
 * const averaged = await optimizer.withAverages(() => x.data());
 */
export abstract class Optimizer<Options extends { lr: number }> extends GroupedOptimizer<Options> {
  /** The parameters that are updated: those that lie side by side are one here. */
  readonly parameters: readonly Tensor[];
  readonly #state: OptimizerState;
  readonly #ema: number;
  readonly #sync: () => void;

  protected constructor(
    params: Parameters<Options>,
    { halfCopies, ema = 0, ...options }: Partial<Options> & Common,
    { check, ranges, ...table }: Method<Options, string, string, string>,
  ) {
    checkNumber(table.name, 'ema', ema, decay);
    if (halfCopies !== undefined && typeof halfCopies !== 'boolean')
      throw new RangeError(`${table.name}: halfCopies must be true or false, got ${String(halfCopies)}`);
    super(table.name, params, options as unknown as Partial<Options>, { defaults: table.defaults, check, ranges });
    this.#ema = ema;
    const joined = this.paramGroups.map(({ params }) => joinParameters(params));
    this.parameters = joined.flat();
    const kept = ema > 0 ? averaging(table, ema) : table;
    this.#state = new OptimizerState(joined, updateRule(kept), { half: halfCopies });
    this.#sync = () => {
      this.options.forEach((values, i) => this.#state.setHyper(i, kept.hyper(values)));
      this.#state.writeHyper();
    };
    this.sync();
  }

  protected sync(): void {
    this.#sync();
  }

  /** Updates every parameter that has a gradient. */
  step(options: StepOptions = {}): void {
    checkStep(this.name, options);
    const { gradScale, maxNorm, skipNonFinite = false, scaler, keepScale = false } = options;
    this.#state.step({ gradScale, maxNorm, skipNonFinite, scaler, keepScale });
  }

  /**
   * The last step's norm of all gradients together, unscaled and not yet clipped: a scalar on the device.
   * Only of steps with maxNorm, skipNonFinite or a scaler.
   */
  get gradNorm(): Tensor {
    return this.#state.result.norm;
  }

  /** 1 if the last step changed nothing, since a gradient was infinite or NaN: a scalar on the device. */
  get skipped(): Tensor {
    return this.#state.result.skipped;
  }

  snapshot(): OptimizerSnapshot {
    return {
      groups: this.paramGroups.map((_, i) => ({ steps: this.#state.counts(i), tensors: this.#state.tensors(i) })),
    };
  }

  /**
   * Runs fn while the parameters hold their exponential moving averages (Polyak and Juditsky 1992), unbiased
   * like Adam's moments: average_t = sum decay^(t-i) x_i / sum decay^(t-i). Then they are what they were, to
   * the bit. Without `ema`, or before a first step, the averages are the parameters themselves.
   */
  async withAverages<T>(fn: () => Promise<T>): Promise<T> {
    if (this.#ema === 0) return fn();
    const { parameters } = this;
    const counts = await Promise.all(this.snapshot().groups.map(({ steps }) => steps.data()));
    const steps = counts.flatMap((group) => Array.from(group, Number));
    const averages = this.#state.arraysOf('average');
    const before = noGrad(() => parameters.map((x) => clone(x).keep()));
    noGrad(() =>
      parameters.forEach((x, i) => {
        if (steps[i]! > 0) write(x, averages.get(x)!.div(1 - this.#ema ** steps[i]!));
      }),
    );
    try {
      return await fn();
    } finally {
      noGrad(() => parameters.forEach((x, i) => write(x, before[i]!)));
      for (const x of before) x.storage.free();
    }
  }
}

/** The class of optimizers that follow a rule. */
export function optimizerOf<Options extends { lr: number }>(
  method: Method<Options, string, string, string>,
): new (params: Parameters<Options>, options?: Partial<Options> & Common) => Optimizer<Options> {
  return class extends Optimizer<Options> {
    constructor(params: Parameters<Options>, options: Partial<Options> & Common = {}) {
      super(params, options, method);
    }
  };
}

/** Brings the f16 copy along, where there is one: compiled steps rely on it. */
function write(x: Tensor, value: Tensor): void {
  assign(x, value);
  halfCopy(x);
}

/**
 * A rule that also keeps a moving average of the parameters, from 0 on: divided by 1 - ema^t it is
 * unbiased.
 */
function averaging<Options>(
  rule: RuleTable<Options, string, string, string>,
  ema: number,
): RuleTable<Options, string, string, string> {
  return {
    ...rule,
    hyper: (options) => ({ ...rule.hyper(options), ema }),
    state: [...rule.state, 'average'],
    update(x) {
      const next = rule.update(x);
      const average = e.add(e.mul(x.ema!, x.average!), e.mul(e.sub(1, x.ema!), next.param!));
      return { ...next, average };
    },
  };
}
