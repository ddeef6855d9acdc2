import { clamp, exp, linear, mul, noGrad, reshape, round, sub } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Linear } from './linear.ts';
import type { LinearOptions } from './linear.ts';
import { parameter, zerosInit } from '../parameter.ts';
import type { Parameter } from '../parameter.ts';

/** Neighbours along a row that share a scale. */
export const fakeGroup = 32;

/**
 * Whole numbers of so many bits, as the packed kinds of weights have them.
 *
 * @example
 * codesOf(4); // [-8, 7]
 */
export const codesOf = (bits: 4 | 8): readonly [lowest: number, highest: number] =>
  bits === 4 ? [-8, 7] : [-127, 127];

/**
 * A linear layer that computes as if its weight had 4 or 8 bits while it learns, as Transformers' quantised
 * ones do: w = s round(clamp(weight / s)), with a learned scale s for each 32 neighbours of a row. Gradients
 * go straight through the rounding, which gives the scales those of LSQ (Esser et al. 2020). What is learnt
 * is log s, so that a step of Adam changes a scale by a share of it.
 *
 * @example
 * new FakeQuantizedLinear(32, 8, 4).forward(zeros(1, 32)).shape; // [1, 8]
 */
export class FakeQuantizedLinear extends Linear {
  /** log s of each group, row after row, [out * in / 32]: of one axis, so that it does not decay. */
  readonly logScale: Parameter;
  readonly bits: 4 | 8;

  /** Error: rows that are no whole groups of 32. */
  constructor(inFeatures: number, outFeatures: number, bits: 4 | 8, options: LinearOptions = {}) {
    super(inFeatures, outFeatures, options);
    if (inFeatures % fakeGroup !== 0)
      throw new Error(`FakeQuantizedLinear: rows of ${inFeatures} weights are no whole groups of ${fakeGroup}`);
    this.logScale = parameter([(outFeatures * inFeatures) / fakeGroup], zerosInit);
    this.bits = bits;
  }

  /** Scales [out, in / 32, 1]. */
  scales(): Tensor {
    const [out, into] = this.weight.shape as [number, number];
    return reshape(exp(this.logScale), [out, into / fakeGroup, 1]);
  }

  /** The weight [out, in] that it computes with. */
  quantizedWeight(): Tensor {
    const scales = this.scales();
    const [out, groups] = scales.shape as [number, number];
    const inside = clamp(reshape(this.weight, [out, groups, fakeGroup]).div(scales), ...codesOf(this.bits));
    const rounding = noGrad(() => sub(round(inside), inside)); // it has no gradient
    return reshape(mul(inside.add(rounding), scales), [out, groups * fakeGroup]);
  }

  override forward(x: Tensor): Tensor {
    return linear(x, this.quantizedWeight(), this.bias); // (..., out)
  }

  override extraRepr(): string {
    return `${super.extraRepr()}, bits: ${this.bits}`;
  }
}
