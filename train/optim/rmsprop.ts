import * as e from '../../kernels/map/expr.ts';
import type { Parameters } from './groups.ts';
import { Optimizer, rule } from './optimizer.ts';
import type { Common } from './optimizer.ts';
import { decay } from './options.ts';

export interface RMSpropOptions {
  readonly lr: number;
  readonly alpha: number;
  readonly eps: number;
  readonly weightDecay: number;
  readonly momentum: number;
  /** Divides by the gradient's standard deviation, not by the root of its mean square. */
  readonly centered: boolean;
}

/** The rule; only where a group is `centered` is the gradient's average kept too. */
const rmsprop = (withAverage: boolean) =>
  rule({
    name: 'RMSprop',
    defaults: { lr: 1e-2, alpha: 0.99, eps: 1e-8, weightDecay: 0, momentum: 0, centered: false },
    ranges: { alpha: decay },
    check({ centered }: RMSpropOptions) {
      if (centered && !withAverage)
        throw new Error('RMSprop: no average of gradients was kept; make the optimizer with centered: true');
    },
    hyper: ({ centered, ...own }) => ({ ...own, rest: 1 - own.alpha, centered: Number(centered) }),
    state: withAverage ? ['squareAvg', 'momentumBuffer', 'gradAvg'] : ['squareAvg', 'momentumBuffer'],
    update({ param, lr, alpha, rest, eps, weightDecay, momentum, centered, ...x }) {
      const grad = e.add(x.grad, e.mul(weightDecay, param));
      const squareAvg = e.add(e.mul(alpha, x.squareAvg), e.mul(rest, e.mul(grad, grad)));
      const gradAvg = withAverage ? e.add(e.mul(alpha, x.gradAvg), e.mul(rest, grad)) : e.constant(0);
      const variance = withAverage ? e.sub(squareAvg, e.mul(centered, e.mul(gradAvg, gradAvg))) : squareAvg;
      const direction = e.div(grad, e.add(e.sqrt(variance), eps));
      const momentumBuffer = e.add(e.mul(momentum, x.momentumBuffer), direction);
      return { param: e.sub(param, e.mul(lr, momentumBuffer)), squareAvg, momentumBuffer, gradAvg };
    },
  });

/**
 * RMSprop (Hinton 2012, lecture 6e; centered: Graves 2013, https://arxiv.org/abs/1308.0850), as PyTorch
 * defines it; weight decay is added to the gradient.
 *
 * @example
 * const x = new Parameter(tensor([1]));
 * const optimizer = new RMSprop([x], { lr: 0.01 });
 * x.mul(x).sum().backward();
 * optimizer.step();
 * x; // [0.9000]
 */
export class RMSprop extends Optimizer<RMSpropOptions> {
  constructor(params: Parameters<RMSpropOptions>, options: Partial<RMSpropOptions> & Common = {}) {
    const groups = Array.isArray(params) ? (params as readonly Partial<RMSpropOptions>[]) : [];
    super(params, options, rmsprop([options, ...groups].some(({ centered }) => centered === true)));
  }
}
