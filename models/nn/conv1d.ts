import { linear, quantizedLinear, transpose } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { normalInit, parameter, zerosInit } from '../parameter.ts';
import type { Initializer, Parameter } from '../parameter.ts';

/**
 * x @ weight + bias: (..., in) -> (..., out); weight [in, out], bias [out]. GPT-2's layout of a linear layer,
 * called so (a convolution of width 1) in its first code and in Transformers.
 *
 * @example
 * new Conv1D(4, 8).weight.shape; // [4, 8]
 */
export class Conv1D extends Module {
  weight: Parameter;
  bias: Parameter;

  /** Default: normal weights with deviation 0.02, biases 0, as in Transformers. */
  constructor(
    inFeatures: number,
    outFeatures: number,
    { weightInit = normalInit(0.02) }: { readonly weightInit?: Initializer } = {},
  ) {
    super();
    this.weight = parameter([inFeatures, outFeatures], weightInit);
    this.bias = parameter([outFeatures], zerosInit);
  }

  override forward(x: Tensor): Tensor {
    const { weight, bias } = this;
    if (weight.quantized) return quantizedLinear(x, weight.quantized, bias);
    return linear(x, transpose(weight), bias); // (..., out); transposing moves nothing
  }

  override extraRepr(): string {
    return this.weight.shape.join(', ');
  }
}
