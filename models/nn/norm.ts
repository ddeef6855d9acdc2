import { layerNorm, rmsNorm } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { onesInit, parameter, zerosInit } from '../parameter.ts';
import { Module } from '../module.ts';
import type { Initializer, Parameter } from '../parameter.ts';

/**
 * (x - mean) / sqrt(variance + eps) * weight + bias over the last axis (Ba et al. 2016); weight 1 and bias 0
 * at first.
 */
export class LayerNorm extends Module {
  weight: Parameter;
  bias: Parameter;
  readonly eps: number;

  constructor(dim: number, { eps = 1e-5 }: { readonly eps?: number } = {}) {
    super();
    this.weight = parameter([dim], onesInit);
    this.bias = parameter([dim], zerosInit);
    this.eps = eps;
  }

  override forward(x: Tensor): Tensor {
    return layerNorm(x, this.weight, this.bias, this.eps); // as x
  }

  override extraRepr(): string {
    return `${this.weight.size}, eps: ${this.eps}`;
  }
}

export interface RMSNormOptions {
  readonly eps?: number;
  /** Default: 1. */
  readonly weightInit?: Initializer;
}

/** x / sqrt(mean(x^2) + eps) * weight over the last axis (Zhang and Sennrich 2019). */
export class RMSNorm extends Module {
  weight: Parameter;
  readonly eps: number;

  constructor(dim: number, { eps = 1e-6, weightInit = onesInit }: RMSNormOptions = {}) {
    super();
    this.weight = parameter([dim], weightInit);
    this.eps = eps;
  }

  override forward(x: Tensor): Tensor {
    return rmsNorm(x, this.weight, this.eps); // as x
  }

  override extraRepr(): string {
    return `${this.weight.size}, eps: ${this.eps}`;
  }
}
