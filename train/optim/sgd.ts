import type { Tensor } from '../../autograd/index.ts';
import { sgdHyper } from '../../kernels/multi-tensor/rules.ts';
import { Optimizer } from './optimizer.ts';
import type { ParameterGroup } from './groups.ts';

export interface SgdOptions {
  lr: number;
  readonly momentum: number;
  readonly dampening: number;
  readonly weightDecay: number;
  readonly nesterov: boolean;
}

const defaults: SgdOptions = { lr: 1e-3, momentum: 0, dampening: 0, weightDecay: 0, nesterov: false };

/**
 * Stochastic gradient descent with momentum (Sutskever et al. 2013), as PyTorch defines it. Weight decay is
 * added to the gradient.
 */
export class SGD extends Optimizer<SgdOptions> {
  constructor(parameters: Iterable<Tensor> | readonly ParameterGroup<SgdOptions>[], options: Partial<SgdOptions> = {}) {
    const merged = { ...defaults, ...options };
    if (merged.nesterov && (merged.momentum <= 0 || merged.dampening !== 0)) {
      throw new RangeError('SGD: nesterov needs a momentum above 0 and no dampening');
    }
    super('SGD', parameters, merged, { rule: merged.nesterov ? 'sgd.nesterov' : 'sgd' });
  }

  protected override hyper(options: SgdOptions): number[] {
    return sgdHyper(options);
  }
}
