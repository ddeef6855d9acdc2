import { dropout } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';

/**
 * Zeroes elements with probability p and scales the rest by 1 / (1 - p), in training mode only.
 *
 * @example
 * const dropout = new Dropout(0.5);
 * dropout.eval();
 * dropout.forward(ones(2)); // [1, 1]
 */
export class Dropout extends Module {
  p: number;

  constructor(p = 0.5) {
    super();
    if (!(p >= 0 && p <= 1)) throw new Error(`Dropout: the probability must lie in [0, 1], got ${p}`);
    this.p = p;
  }

  override forward(x: Tensor): Tensor {
    return dropout(x, this.p, { training: this.training }); // as x
  }

  override extraRepr(): string {
    return String(this.p);
  }
}
