import {
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  avgPool1d,
  avgPool2d,
  maxPool1d,
  maxPool2d,
} from '../../autograd/index.ts';
import type { AvgPoolOptions, MaxPoolOptions, Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';

type Size = number | readonly number[];

/** A pooling function as a module, for Sequential. */
class Pool<Options extends object = object> extends Module {
  readonly size: Size;
  readonly options: Options;

  constructor(size: Size, options = {} as Options) {
    super();
    this.size = size;
    this.options = options;
  }

  override extraRepr(): string {
    const options = Object.entries(this.options).map(([name, value]) => `${name}: ${String(value)}`);
    return [String(this.size), ...options].join(', ');
  }
}

/**
 * Largest element of each window of `size`: (N, C, L) -> (N, C, L'). See `maxPool1d`.
 *
 * @example
 * new MaxPool1d(2).forward(tensor([[1, 3, 2, 4]])); // [[3, 4]]
 */
export class MaxPool1d extends Pool<MaxPoolOptions> {
  override forward(x: Tensor): Tensor {
    return maxPool1d(x, this.size, this.options);
  }
}

/**
 * Largest element of each window: (N, C, H, W) -> (N, C, H', W'). See `maxPool2d`.
 *
 * @example
 * new MaxPool2d(2).forward(tensor([[[1, 2], [3, 4]]])); // [[[4]]]
 */
export class MaxPool2d extends Pool<MaxPoolOptions> {
  override forward(x: Tensor): Tensor {
    return maxPool2d(x, this.size, this.options);
  }
}

/**
 * Mean of each window: (N, C, L) -> (N, C, L'). See `avgPool1d`.
 *
 * @example
 * new AvgPool1d(2).forward(tensor([[1, 3, 2, 4]])); // [[2, 3]]
 */
export class AvgPool1d extends Pool<AvgPoolOptions> {
  override forward(x: Tensor): Tensor {
    return avgPool1d(x, this.size, this.options);
  }
}

/**
 * Mean of each window: (N, C, H, W) -> (N, C, H', W'). See `avgPool2d`.
 *
 * @example
 * new AvgPool2d(2).forward(tensor([[[1, 2], [3, 4]]])); // [[[2.5]]]
 */
export class AvgPool2d extends Pool<AvgPoolOptions> {
  override forward(x: Tensor): Tensor {
    return avgPool2d(x, this.size, this.options);
  }
}

/**
 * Means of `size` windows that cover the length: (N, C, L) -> (N, C, size). See `adaptiveAvgPool1d`.
 *
 * @example
 * new AdaptiveAvgPool1d(2).forward(tensor([[1, 2, 3, 4]])); // [[1.5, 3.5]]
 */
export class AdaptiveAvgPool1d extends Pool {
  override forward(x: Tensor): Tensor {
    return adaptiveAvgPool1d(x, this.size);
  }
}

/**
 * The same of images: (N, C, H, W) -> (N, C, size, size), or a size for each axis.
 *
 * @example
 * new AdaptiveAvgPool2d(1).forward(tensor([[[1, 2], [3, 4]]])); // [[[2.5]]]
 */
export class AdaptiveAvgPool2d extends Pool {
  override forward(x: Tensor): Tensor {
    return adaptiveAvgPool2d(x, this.size);
  }
}
