import * as e from '../../kernels/map/expr.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { ParameterGroup } from './groups.ts';
import { minusLog, Optimizer, rule } from './optimizer.ts';
import type { Common } from './optimizer.ts';

export interface AdamOptions {
  readonly lr: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
}

/** Adam (Kingma and Ba 2015), PyTorch's defaults; weight decay is added to the gradient. */
export class Adam extends Optimizer<AdamOptions> {
  constructor(
    params: Iterable<Tensor> | readonly ParameterGroup<AdamOptions>[],
    options: Partial<AdamOptions> & Common = {},
  ) {
    super(
      'Adam',
      params,
      options,
      rule({
        name: 'adam',
        defaults: { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0 },
        hyper: ({ lr, betas: [beta1, beta2], eps, weightDecay }) => ({
          lr,
          eps,
          beta1,
          beta2,
          rest1: 1 - beta1,
          rest2: 1 - beta2,
          log1: minusLog(beta1),
          log2: minusLog(beta2),
          weightDecay,
        }),
        derived: ({ lr, log1, log2, t }) => ({
          stepSize: e.div(lr, e.oneMinusExp(e.mul(t, log1))),
          correction: e.div(1, e.sqrt(e.oneMinusExp(e.mul(t, log2)))),
        }),
        state: ['expAvg', 'expAvgSq'],
        update({ param, beta1, beta2, rest1, rest2, eps, weightDecay, stepSize, correction, ...x }) {
          const grad = e.add(x.grad, e.mul(weightDecay, param));
          const expAvg = e.add(e.mul(beta1, x.expAvg), e.mul(rest1, grad));
          const expAvgSq = e.add(e.mul(beta2, x.expAvgSq), e.mul(e.mul(rest2, grad), grad));
          const denominator = e.add(e.mul(e.sqrt(expAvgSq), correction), eps);
          return { param: e.sub(param, e.div(e.mul(stepSize, expAvg), denominator)), expAvg, expAvgSq };
        },
      }),
    );
  }
}
