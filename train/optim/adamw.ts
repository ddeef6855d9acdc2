import * as e from '../../kernels/map/expr.ts';
import { adamDerived, adamHyper, adamMoments } from './adam.ts';
import type { AdamOptions } from './adam.ts';
import { optimizerOf, rule } from './optimizer.ts';
import { decay } from './options.ts';

export type AdamWOptions = AdamOptions;

/**
 * Adam with decoupled weight decay (Loshchilov and Hutter 2019), PyTorch's defaults and order.
 *
 * @example
 * const x = new Parameter(tensor([1]));
 * const optimizer = new AdamW([x], { lr: 0.1, weightDecay: 0.1 });
 * x.mul(x).sum().backward();
 * optimizer.step();
 * x; // [0.8900]
 */
export class AdamW extends optimizerOf<AdamWOptions>(
  rule({
    name: 'AdamW',
    defaults: { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.01 },
    ranges: { betas: decay },
    hyper: (options) => ({ ...adamHyper(options), shrink: 1 - options.lr * options.weightDecay }),
    derived: adamDerived,
    state: ['expAvg', 'expAvgSq'],
    update({ param, grad, shrink, ...x }) {
      const { change, ...moments } = adamMoments(grad, x);
      return { param: e.sub(e.mul(shrink, param), change), ...moments };
    },
  }),
) {}
