import * as e from '../../kernels/map/expr.ts';
import { optimizerOf, rule } from './optimizer.ts';

export interface SgdOptions {
  readonly lr: number;
  readonly momentum: number;
  readonly dampening: number;
  readonly weightDecay: number;
  readonly nesterov: boolean;
}

/**
 * Gradient descent with momentum (Sutskever et al. 2013), as PyTorch; weight decay is added to the gradient.
 *
 * @example
 * const x = new Parameter(tensor([1]));
 * const optimizer = new SGD([x], { lr: 0.1 });
 * x.mul(x).sum().backward();
 * optimizer.step();
 * x; // [0.8]
 */
export class SGD extends optimizerOf<SgdOptions>(
  rule({
    name: 'SGD',
    defaults: { lr: 1e-3, momentum: 0, dampening: 0, weightDecay: 0, nesterov: false },
    check({ nesterov, momentum, dampening }) {
      if (nesterov && (momentum <= 0 || dampening !== 0))
        throw new RangeError('SGD: nesterov needs a momentum above 0 and no dampening');
    },
    hyper: ({ dampening, nesterov, ...own }) => ({ ...own, rest: 1 - dampening, nesterov: Number(nesterov) }),
    // The first update's velocity is the gradient itself.
    derived: ({ momentum, rest, t }) => ({
      old: e.select(e.eq(t, 1), 0, momentum),
      fresh: e.select(e.eq(t, 1), 1, rest),
    }),
    state: ['momentumBuffer'],
    update({ param, grad, lr, momentum, weightDecay, nesterov, old, fresh, ...x }) {
      const d = e.add(grad, e.mul(weightDecay, param));
      const velocity = e.add(e.mul(old, x.momentumBuffer), e.mul(fresh, d));
      const direction = e.select(e.gt(nesterov, 0), e.add(d, e.mul(momentum, velocity)), velocity);
      return { param: e.sub(param, e.mul(lr, direction)), momentumBuffer: velocity };
    },
  }),
) {}
