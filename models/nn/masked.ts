import { defineFunction, linear, mul } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Linear } from './linear.ts';
import type { LinearOptions } from './linear.ts';
import { ModuleBuffer, onesInit, parameter, zerosInit } from '../parameter.ts';
import type { Parameter } from '../parameter.ts';

/** weight * mask, through which scores learn as if they were the mask. */
const maskedWeight = defineFunction({
  name: 'maskedWeight',
  forward: (weight: Tensor, mask: Tensor, _scores: Tensor) => mul(weight, mask),
  saves: ['inputs'],
  vjp: ({ g, inputs: [weight, mask] }) => [mul(g, mask), null, mul(g, weight)],
});

/**
 * A linear layer that computes with some of its weights, x @ (weight * mask)^T + bias, and learns which:
 * dL/dscore = dL/d(weight * mask) * weight, of all weights, so that one without which the loss would fall no
 * further gets a higher score by and by, and may come back (movement pruning, Sanh et al. 2020). Who trains
 * it sets the mask by the scores, from time to time.
 *
 * @example
 * new MaskedLinear(4, 2, 1).forward(zeros(3, 4)).shape; // [3, 2]
 */
export class MaskedLinear extends Linear {
  /** Row after row, [out * in]: of one axis, so that they do not decay. */
  readonly scores: Parameter;
  /** 1 and 0, [out, in]. */
  readonly mask: ModuleBuffer;
  /** What scores are multiplied by: how much faster than weights they learn. */
  readonly rate: number;
  readonly #multiplied: (scores: Tensor) => Tensor;

  constructor(inFeatures: number, outFeatures: number, rate: number, options: LinearOptions = {}) {
    super(inFeatures, outFeatures, options);
    this.scores = parameter([outFeatures * inFeatures], zerosInit);
    this.mask = new ModuleBuffer(onesInit([outFeatures, inFeatures]));
    this.rate = rate;
    this.#multiplied = defineFunction({
      name: 'multipliedScores',
      forward: (own: Tensor) => mul(own, rate),
      saves: [],
      vjp: ({ g }) => [g],
    });
  }

  /**
   * The scores times their rate, [out * in]. Gradients pass as they are: a step of Adam has the same length,
   * and their norm is that of the scores' own, which counts where gradients are clipped.
   */
  multipliedScores(): Tensor {
    return this.#multiplied(this.scores);
  }

  override forward(x: Tensor): Tensor {
    const { weight, mask, scores, bias } = this;
    return linear(x, maskedWeight(weight, mask, scores.reshape([...weight.shape])), bias); // (..., out)
  }
}
