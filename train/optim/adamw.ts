import type { Tensor } from '../../autograd/index.ts';
import type { Step } from '../../autograd/ops/update.ts';
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
  constructor(
    parameters: Iterable<Tensor> | readonly ParameterGroup<AdamWOptions>[],
    options: Partial<AdamWOptions> = {},
  ) {
    super('AdamW', parameters, { ...defaults, ...options }, 2);
  }

  protected override update({ lr, betas, eps, weightDecay }: AdamWOptions, step: number): Step {
    return { kind: 'adamw', lr, beta1: betas[0], beta2: betas[1], eps, weightDecay, step };
  }
}
