import { groupNorm, layerNorm, rmsNorm } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { onesInit, parameter, zerosInit } from '../parameter.ts';
import { Module } from '../module.ts';
import type { Initializer, Parameter } from '../parameter.ts';

/**
 * (x - mean) / sqrt(variance + eps) * weight + bias over the last axis (Ba et al. 2016); weight 1 and bias 0
 * at first.
 *
 * @example
 * new LayerNorm(3).forward(tensor([[1, 2, 3]])); // [[-1.2247, 0, 1.2247]]
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

/**
 * x / sqrt(mean(x^2) + eps) * weight over the last axis (Zhang and Sennrich 2019).
 *
 * @example
 * new RMSNorm(2).forward(tensor([[3, 4]])); // [[0.8485, 1.1314]]
 */
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

export interface GroupNormOptions {
  readonly eps?: number;
  /** Learn a weight and a bias for each channel, default true. */
  readonly affine?: boolean;
}

/**
 * Normalises groups of channels of (N, C, ...), each by its own mean and variance (Wu and He 2018).
 *
 * @example
 * new GroupNorm(2, 4).forward(randn(1, 4, 8)).shape; // [1, 4, 8]
 */
export class GroupNorm extends Module {
  weight: Parameter | undefined;
  bias: Parameter | undefined;
  readonly groups: number;
  readonly eps: number;

  constructor(groups: number, channels: number, { eps = 1e-5, affine = true }: GroupNormOptions = {}) {
    super();
    if (channels % groups !== 0) throw new Error(`GroupNorm: ${channels} channels do not divide into ${groups} groups`);
    this.weight = affine ? parameter([channels], onesInit) : undefined;
    this.bias = affine ? parameter([channels], zerosInit) : undefined;
    this.groups = groups;
    this.eps = eps;
  }

  override forward(x: Tensor): Tensor {
    return groupNorm(x, this.groups, this.weight, this.bias, this.eps); // as x
  }

  override extraRepr(): string {
    return `${this.groups} groups, eps: ${this.eps}`;
  }
}
