import { assign, clone, noGrad } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { halfCopy } from '../../autograd/half-copies.ts';
import { adamwHyper } from '../../kernels/multi-tensor/rules.ts';
import { Optimizer } from './optimizer.ts';
import type { ParameterGroup } from './groups.ts';

export interface AdamWOptions {
  lr: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
  /**
   * Above 0 each step also moves an average of all parameters, with this decay, below 1; see `withAverages`.
   */
  readonly ema: number;
}

const defaults: AdamWOptions = { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.01, ema: 0 };

/** Where the average lies among the numbers that are remembered for an element, after the two moments. */
const averageArray = 2;

/**
 * Adam with decoupled weight decay (Loshchilov and Hutter 2019), PyTorch's defaults. Runs on the device, many
 * parameters a dispatch.
 */
export class AdamW extends Optimizer<AdamWOptions> {
  private readonly ema: number;

  /** `halfCopies`: each step also writes the parameters in f16, for `autocast`. */
  constructor(
    parameters: Iterable<Tensor> | readonly ParameterGroup<AdamWOptions>[],
    { halfCopies, ...options }: Partial<AdamWOptions> & { readonly halfCopies?: boolean } = {},
  ) {
    const merged = { ...defaults, ...options };
    const { ema } = merged;
    super('AdamW', parameters, merged, { rule: ema > 0 ? 'adamw.averaged' : 'adamw', halfCopies });
    this.ema = ema;
  }

  protected override hyper({ lr, betas: [beta1, beta2], eps, weightDecay, ema }: AdamWOptions): number[] {
    return adamwHyper({ lr, beta1, beta2, eps, weightDecay, ema });
  }

  /**
   * Runs fn while the parameters hold their exponential moving averages (Polyak and Juditsky 1992), unbiased
   * like Adam's moments: average_t = sum decay^(t-i) x_i / sum decay^(t-i). Then they are what they were, to
   * the bit. Without `ema`, or before a first step, the averages are the parameters themselves.
   */
  async withAverages<T>(fn: () => Promise<T>): Promise<T> {
    if (this.ema === 0) return fn();
    const { parameters } = this;
    const steps = await this.steps();
    const averages = this.state.arraysOf(averageArray);
    const before = noGrad(() => parameters.map((x) => clone(x).keep()));
    noGrad(() =>
      parameters.forEach((x, i) => {
        if (steps[i]! > 0) write(x, averages.get(x)!.div(1 - this.ema ** steps[i]!));
      }),
    );
    try {
      return await fn();
    } finally {
      noGrad(() => parameters.forEach((x, i) => write(x, before[i]!)));
      for (const x of before) x.storage.free();
    }
  }

  /** Updates that each parameter has had. */
  private async steps(): Promise<number[]> {
    const groups = await Promise.all(this.snapshot().groups.map(({ steps }) => steps.data()));
    return groups.flatMap((counts) => Array.from(counts, Number));
  }
}

/** Brings the f16 copy along, where there is one: compiled steps rely on it. */
function write(x: Tensor, value: Tensor): void {
  assign(x, value);
  halfCopy(x);
}
