import type { Tensor } from '../../autograd/index.ts';
import { adamwHyper } from '../../kernels/multi-tensor/rules.ts';
import { Optimizer } from './optimizer.ts';
import type { ParameterGroup } from './optimizer.ts';

export interface AdamWOptions {
  lr: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
}

const defaults: AdamWOptions = { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.01 };

/** Adam with decoupled weight decay (Loshchilov and Hutter 2019), PyTorch's defaults. Runs on the device, many parameters a dispatch. */
export class AdamW extends Optimizer<AdamWOptions> {
  /** `halfCopies`: each step also writes the parameters in f16, for `autocast`. */
  constructor(
    parameters: Iterable<Tensor> | readonly ParameterGroup<AdamWOptions>[],
    { halfCopies, ...options }: Partial<AdamWOptions> & { readonly halfCopies?: boolean } = {},
  ) {
    super('AdamW', parameters, { ...defaults, ...options }, { rule: 'adamw', halfCopies });
  }

  protected override hyper({ lr, betas: [beta1, beta2], eps, weightDecay }: AdamWOptions): number[] {
    return adamwHyper({ lr, beta1, beta2, eps, weightDecay });
  }
}
