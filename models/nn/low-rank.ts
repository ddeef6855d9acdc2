import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { Linear } from './linear.ts';

/**
 * (..., in) -> (..., out) by way of `rank` numbers: x @ down^T @ up^T + bias, with down.weight [rank, in],
 * up.weight [out, rank] and up.bias [out].
 *
 * @example
 * const layer = new LowRankLinear(100, 100, 8, { bias: false });
 * [...layer.parameters()].reduce((sum, { size }) => sum + size, 0); // 1600
 */
export class LowRankLinear extends Module {
  readonly down: Linear;
  readonly up: Linear;

  constructor(inFeatures: number, outFeatures: number, rank: number, { bias = true } = {}) {
    super();
    this.down = new Linear(inFeatures, rank, { bias: false });
    this.up = new Linear(rank, outFeatures, { bias });
  }

  override forward(x: Tensor): Tensor {
    return this.up.forward(this.down.forward(x)); // (..., out)
  }
}
