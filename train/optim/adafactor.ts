import {
  add,
  assign,
  div,
  maximum,
  mean,
  minimum,
  mul,
  pow,
  rsqrt,
  sqrt,
  sub,
  unsqueeze,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { Parameters } from './groups.ts';
import { decay } from './options.ts';
import { TensorOptimizer } from './tensor-optimizer.ts';

export interface AdafactorOptions {
  /** Only where `relativeStep` is false. */
  readonly lr: number;
  /** Added to squared gradients; least root mean square of a parameter that `scaleParameter` takes. */
  readonly eps: readonly [number, number];
  /** Largest root mean square of an update, before the learning rate. */
  readonly clipThreshold: number;
  /** The second moment's decay at step t is 1 - t^decayRate; from -1 to below 0. */
  readonly decayRate: number;
  /** Decay of the average of updates; 0 for none, which also saves its memory. */
  readonly beta1: number;
  readonly weightDecay: number;
  /** Multiplies the learning rate by the parameter's root mean square. */
  readonly scaleParameter: boolean;
  /** Takes min(0.01, 1 / sqrt(t)) for the learning rate, with `warmupInit` min(1e-6 t, 1 / sqrt(t)). */
  readonly relativeStep: boolean;
  readonly warmupInit: boolean;
}

type Moment = 'row' | 'column' | 'square' | 'average';
type Choice = 'scaleParameter' | 'relativeStep' | 'warmupInit';
type Hyper = 'lr' | 'eps1' | 'eps2' | 'clipThreshold' | 'decayRate' | 'beta1' | 'weightDecay';

/**
 * Adafactor (Shazeer and Stern 2018), with Transformers' defaults and order: of the squared gradients of a
 * matrix only the means of rows and columns are remembered. A rate of your own needs `relativeStep: false`:
 *
 *     new Adafactor(model.parameters(), { lr: 1e-3, relativeStep: false, scaleParameter: false });
 *
 * @example
 * const layer = new Linear(4, 2);
 * const options = { lr: 1e-3, scaleParameter: false, relativeStep: false };
 * const optimizer = new Adafactor(layer.parameters(), options);
 * layer.forward(ones(1, 4)).sum().backward();
 * optimizer.step();
 */
export class Adafactor extends TensorOptimizer<AdafactorOptions, Hyper, Moment, Choice> {
  constructor(params: Parameters<AdafactorOptions>, options: Partial<AdafactorOptions> = {}) {
    super(params, options, {
      name: 'Adafactor',
      defaults: {
        lr: 0,
        eps: [1e-30, 1e-3],
        clipThreshold: 1,
        decayRate: -0.8,
        beta1: 0,
        weightDecay: 0,
        scaleParameter: true,
        relativeStep: true,
        warmupInit: false,
      },
      ranges: { decayRate: { min: -1, below: 0 }, clipThreshold: { above: 0 }, beta1: decay },
      choices: ['scaleParameter', 'relativeStep', 'warmupInit'],
      check,
      hyper: ({ lr, eps: [eps1, eps2], clipThreshold, decayRate, beta1, weightDecay }) => ({
        lr,
        eps1,
        eps2,
        clipThreshold,
        decayRate,
        beta1,
        weightDecay,
      }),
      state: (shape, { beta1 }) => ({
        ...(shape.length > 1
          ? { row: shape.slice(0, -1), column: [...shape.slice(0, -2), shape.at(-1)!] }
          : { square: shape }),
        average: beta1 > 0 ? shape : undefined,
      }),
      update({ param, grad, step, state, hyper }, { scaleParameter, relativeStep, warmupInit }) {
        const fresh = pow(step, hyper.decayRate);
        const squares = add(mul(grad, grad), hyper.eps1);
        const { row, column, square, average } = state;
        let change = grad;
        if (square) change = mul(grad, rsqrt(blend(square, squares, fresh)));
        if (row && column) {
          const rows = blend(row, mean(squares, -1), fresh);
          const shares = rsqrt(div(rows, mean(rows, -1, { keepDims: true })));
          const columns = rsqrt(blend(column, mean(squares, -2), fresh));
          change = mul(grad, mul(unsqueeze(shares, -1), unsqueeze(columns, -2)));
        }
        const rate = relativeStep ? minimum(warmupInit ? mul(step, 1e-6) : 1e-2, rsqrt(step)) : hyper.lr;
        const lr = scaleParameter ? mul(rate, maximum(hyper.eps2, rms(param))) : rate;
        change = mul(change, div(lr, maximum(1, div(rms(change), hyper.clipThreshold))));
        if (average) change = blend(average, change, sub(1, hyper.beta1));
        return sub(mul(param, sub(1, mul(hyper.weightDecay, lr))), change);
      },
    });
    if (this.options.some(({ relativeStep, lr }) => !relativeStep && lr === 0))
      throw new Error('Adafactor: relativeStep: false needs an lr above 0, as 1e-3');
  }

  override setRates(rates: readonly number[]): void {
    if (this.options.some(({ relativeStep }) => relativeStep))
      throw new Error(
        'Adafactor: relativeStep makes the rate itself, none can be set; pass relativeStep: false and an lr',
      );
    super.setRates(rates);
  }
}

/** Root of the mean of squares. */
const rms = (x: Tensor): Tensor => sqrt(mean(mul(x, x)));

/** Moves a moving average to (1 - share) average + share x. */
const blend = (average: Tensor, x: Tensor, share: Tensor): Tensor =>
  assign(average, add(mul(sub(1, share), average), mul(share, x)));

function check({ lr, relativeStep, warmupInit }: AdafactorOptions): void {
  if (relativeStep && lr !== 0)
    throw new Error('Adafactor: relativeStep makes the rate itself; with an lr, pass relativeStep: false');
  if (warmupInit && !relativeStep) throw new Error('Adafactor: warmupInit needs relativeStep: true');
}
