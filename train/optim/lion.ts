import * as e from '../../kernels/map/expr.ts';
import { optimizerOf, rule } from './optimizer.ts';
import { decay } from './options.ts';

export interface LionOptions {
  readonly lr: number;
  readonly betas: readonly [number, number];
  readonly weightDecay: number;
}

/**
 * Lion (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", algorithm 2).
 *
 * @example
 * const x = new Parameter(tensor([1]));
 * const optimizer = new Lion([x], { lr: 0.1 });
 * x.mul(x).sum().backward();
 * optimizer.step();
 * x; // [0.9]
 */
export class Lion extends optimizerOf<LionOptions>(
  rule({
    name: 'Lion',
    defaults: { lr: 1e-4, betas: [0.9, 0.99], weightDecay: 0 },
    ranges: { betas: decay },
    hyper: ({ lr, betas: [beta1, beta2], weightDecay }) => ({
      lr,
      beta1,
      beta2,
      rest1: 1 - beta1,
      rest2: 1 - beta2,
      shrink: 1 - lr * weightDecay,
    }),
    state: ['expAvg'],
    update: ({ param, grad, expAvg, lr, beta1, beta2, rest1, rest2, shrink }) => ({
      param: e.sub(e.mul(shrink, param), e.mul(lr, e.sign(e.add(e.mul(beta1, expAvg), e.mul(rest1, grad))))),
      expAvg: e.add(e.mul(beta2, expAvg), e.mul(rest2, grad)),
    }),
  }),
) {}
