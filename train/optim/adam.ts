import * as e from '../../kernels/map/expr.ts';
import type { Expr } from '../../kernels/map/expr.ts';
import { minusLog, optimizerOf, rule } from './optimizer.ts';
import { decay } from './options.ts';

export interface AdamOptions {
  readonly lr: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
}

/** Adam's numbers, but for weight decay. */
export const adamHyper = ({ lr, betas: [beta1, beta2], eps }: AdamOptions) => ({
  lr,
  eps,
  beta1,
  beta2,
  rest1: 1 - beta1,
  rest2: 1 - beta2,
  log1: minusLog(beta1),
  log2: minusLog(beta2),
});

/** The corrections of moments that begin at 0. */
export const adamDerived = ({ lr, log1, log2, t }: Readonly<Record<'lr' | 'log1' | 'log2' | 't', Expr>>) => ({
  stepSize: e.div(lr, e.oneMinusExp(e.mul(t, log1))),
  correction: e.div(1, e.sqrt(e.oneMinusExp(e.mul(t, log2)))),
});

type Moment = 'expAvg' | 'expAvgSq';
type Inputs = 'beta1' | 'beta2' | 'rest1' | 'rest2' | 'eps' | 'stepSize' | 'correction' | Moment;

/** The moments after a gradient, and the change of the parameter that they make. */
export function adamMoments(grad: Expr, x: Readonly<Record<Inputs, Expr>>): Record<Moment | 'change', Expr> {
  const expAvg = e.add(e.mul(x.beta1, x.expAvg), e.mul(x.rest1, grad));
  const expAvgSq = e.add(e.mul(x.beta2, x.expAvgSq), e.mul(e.mul(x.rest2, grad), grad));
  const denominator = e.add(e.mul(e.sqrt(expAvgSq), x.correction), x.eps);
  return { expAvg, expAvgSq, change: e.div(e.mul(x.stepSize, expAvg), denominator) };
}

/**
 * Adam (Kingma and Ba 2015), PyTorch's defaults; weight decay is added to the gradient.
 *
 * @example
 * const x = new Parameter(tensor([1]));
 * const optimizer = new Adam([x], { lr: 0.1 });
 * x.mul(x).sum().backward();
 * optimizer.step();
 * x; // [0.9000]
 */
export class Adam extends optimizerOf<AdamOptions>(
  rule({
    name: 'Adam',
    defaults: { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0 },
    ranges: { betas: decay },
    hyper: (options) => ({ ...adamHyper(options), weightDecay: options.weightDecay }),
    derived: adamDerived,
    state: ['expAvg', 'expAvgSq'],
    update({ param, weightDecay, ...x }) {
      const { change, ...moments } = adamMoments(e.add(x.grad, e.mul(weightDecay, param)), x);
      return { param: e.sub(param, change), ...moments };
    },
  }),
) {}
