import * as e from '../../kernels/map/expr.ts';
import { optimizerOf, rule } from './optimizer.ts';

export interface RMSpropOptions {
  readonly lr: number;
  readonly alpha: number;
  readonly eps: number;
  readonly weightDecay: number;
  readonly momentum: number;
}

/**
 * RMSprop (Hinton 2012, lecture 6e), not centered, as PyTorch defines it; weight decay is added to the
 * gradient.
 */
export class RMSprop extends optimizerOf<RMSpropOptions>(
  rule({
    name: 'RMSprop',
    defaults: { lr: 1e-2, alpha: 0.99, eps: 1e-8, weightDecay: 0, momentum: 0 },
    hyper: (options) => ({ ...options, rest: 1 - options.alpha }),
    state: ['squareAvg', 'momentumBuffer'],
    update({ param, lr, alpha, rest, eps, weightDecay, momentum, ...x }) {
      const grad = e.add(x.grad, e.mul(weightDecay, param));
      const squareAvg = e.add(e.mul(alpha, x.squareAvg), e.mul(rest, e.mul(grad, grad)));
      const direction = e.div(grad, e.add(e.sqrt(squareAvg), eps));
      const momentumBuffer = e.add(e.mul(momentum, x.momentumBuffer), direction);
      return { param: e.sub(param, e.mul(lr, momentumBuffer)), squareAvg, momentumBuffer };
    },
  }),
) {}
