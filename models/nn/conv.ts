import { conv1d, conv2d } from '../../autograd/index.ts';
import type { ConvOptions, Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { parameter, uniformInit } from '../parameter.ts';
import type { Parameter } from '../parameter.ts';

export interface ConvLayerOptions extends ConvOptions {
  readonly bias?: boolean;
}

/** Channels, kernel and options of a convolution; initial values are PyTorch's: even in +-1/sqrt(fan-in). */
class Convolution extends Module {
  weight: Parameter;
  bias: Parameter | undefined;
  readonly options: ConvOptions;

  constructor(inChannels: number, outChannels: number, kernel: readonly number[], options: ConvLayerOptions) {
    super();
    const { bias = true, ...rest } = options;
    const depth = inChannels / (rest.groups ?? 1);
    if (!Number.isInteger(depth) || outChannels % (rest.groups ?? 1) !== 0)
      throw new Error(
        `${new.target.name}: ${inChannels} and ${outChannels} channels do not divide into ${rest.groups} groups`,
      );
    const fanIn = kernel.reduce((fan, size) => fan * size, depth);
    const even = uniformInit(1 / Math.sqrt(Math.max(1, fanIn)));
    this.weight = parameter([outChannels, depth, ...kernel], even);
    this.bias = bias ? parameter([outChannels], even) : undefined;
    this.options = rest;
  }

  override extraRepr(): string {
    const [out, depth, ...kernel] = this.weight.shape as [number, number, ...number[]];
    const options = Object.entries({ ...this.options, ...(this.bias ? {} : { bias: false }) });
    const settings = [depth * (this.options.groups ?? 1), out, `kernel ${kernel.join(' x ')}`];
    return [...settings, ...options.map(([name, value]) => `${name}: ${String(value)}`)].join(', ');
  }
}

/**
 * Convolves sequences: (N, C, L) -> (N, O, L'), also without N; weight [O, C / groups, K], bias [O]. Options
 * and L': see `conv1d`.
 *
 * @example
 * new Conv1d(3, 8, 5, { padding: 2 }).forward(zeros(1, 3, 20)).shape; // [1, 8, 20]
 */
export class Conv1d extends Convolution {
  constructor(inChannels: number, outChannels: number, kernelSize: number, options: ConvLayerOptions = {}) {
    super(inChannels, outChannels, [kernelSize], options);
  }

  override forward(x: Tensor): Tensor {
    return conv1d(x, this.weight, this.bias, this.options); // (N, O, L')
  }
}

/**
 * Convolves images: (N, C, H, W) -> (N, O, H', W'), also without N; weight [O, C / groups, KH, KW].
 *
 * @example
 * new Conv2d(3, 8, 3).forward(zeros(1, 3, 10, 10)).shape; // [1, 8, 8, 8]
 */
export class Conv2d extends Convolution {
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: number | readonly [number, number],
    options: ConvLayerOptions = {},
  ) {
    super(inChannels, outChannels, typeof kernelSize === 'number' ? [kernelSize, kernelSize] : kernelSize, options);
  }

  override forward(x: Tensor): Tensor {
    return conv2d(x, this.weight, this.bias, this.options); // (N, O, H', W')
  }
}
