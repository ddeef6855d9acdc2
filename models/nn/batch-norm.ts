import {
  add,
  add_,
  assign,
  cast,
  div,
  mean,
  mul,
  noGrad,
  reshape,
  rsqrt,
  sub,
  tensor,
  zeros,
} from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { Module } from '../module.ts';
import { showShape } from '../names.ts';
import { ModuleBuffer, onesInit, parameter, zerosInit } from '../parameter.ts';
import type { Parameter } from '../parameter.ts';

export interface BatchNormOptions {
  readonly eps?: number;
  /** Share of a batch in the running statistics, default 0.1; null: they are the mean over all batches. */
  readonly momentum?: number | null;
  /** Learn a weight and a bias for each channel, default true. */
  readonly affine?: boolean;
  /** Keep running statistics for evaluation (default); without, a batch is always normalised by its own. */
  readonly trackRunningStats?: boolean;
}

/**
 * (x - mean) / sqrt(variance + eps) * weight + bias for each channel (Ioffe and Szegedy 2015): in training
 * mode with the mean and the biased variance of the batch, which move the running ones (the variance
 * unbiased), in evaluation with those. Keys and arithmetic are PyTorch's; computed in f32.
 */
class BatchNorm extends Module {
  weight: Parameter | undefined;
  bias: Parameter | undefined;
  readonly runningMean: ModuleBuffer | undefined;
  readonly runningVar: ModuleBuffer | undefined;
  /** Batches seen in training mode, i32 []. */
  readonly numBatchesTracked: ModuleBuffer | undefined;
  readonly features: number;
  readonly eps: number;
  readonly momentum: number | null;

  constructor(features: number, options: BatchNormOptions = {}) {
    super();
    const { eps = 1e-5, momentum = 0.1, affine = true, trackRunningStats = true } = options;
    this.weight = affine ? parameter([features], onesInit) : undefined;
    this.bias = affine ? parameter([features], zerosInit) : undefined;
    if (trackRunningStats) {
      this.runningMean = new ModuleBuffer(zeros([features]));
      this.runningVar = new ModuleBuffer(onesInit([features]));
      this.numBatchesTracked = new ModuleBuffer(tensor(0, { dtype: 'i32' }));
    }
    this.features = features;
    this.eps = eps;
    this.momentum = momentum;
  }

  /** x (N, C, ...) of any number of places; returns its shape and type. */
  protected normalise(x: Tensor): Tensor {
    const { features, eps, weight, bias } = this;
    const shape = [features, ...x.shape.slice(2).map(() => 1)]; // (C, 1, ...)
    const perChannel = (own: Tensor): Tensor => reshape(own, shape);
    const [average, spread] = this.#statistics(cast(x, 'f32')).map(perChannel) as [Tensor, Tensor];
    const scale = rsqrt(add(spread, eps));
    const y = mul(sub(x, average), weight ? mul(scale, perChannel(weight)) : scale);
    return cast(bias ? add(y, perChannel(bias)) : y, x.dtype);
  }

  /** Mean and variance by which a batch is normalised, (C) each. */
  #statistics(x: Tensor): [average: Tensor, spread: Tensor] {
    const { features, runningMean, runningVar } = this;
    if (!this.training && runningMean) return [runningMean, runningVar!];
    const count = x.size / features;
    if (this.training && count <= 1)
      throw new Error(
        `${this.constructor.name}: training needs more than one value a channel, got ${showShape(x.shape)}; use eval()`,
      );
    const axes = x.shape.map((_, axis) => axis).filter((axis) => axis !== 1);
    const average = mean(x, axes, { keepDims: true });
    const centred = sub(x, average);
    const spread = mean(mul(centred, centred), axes);
    const own = reshape(average, [features]);
    if (this.training && runningMean) this.#track(own, mul(spread, count / (count - 1)));
    return [own, spread];
  }

  /** Moves the running statistics towards those of a batch. */
  #track(average: Tensor, spread: Tensor): void {
    noGrad(() => {
      const seen = add_(this.numBatchesTracked!, 1);
      const share = this.momentum ?? div(1, cast(seen, 'f32'));
      assign(this.runningMean!, add(this.runningMean!, mul(sub(average, this.runningMean!), share)));
      assign(this.runningVar!, add(this.runningVar!, mul(sub(spread, this.runningVar!), share)));
    });
  }

  protected check(x: Tensor, ranks: readonly number[], form: string): void {
    if (!ranks.includes(x.ndim) || x.shape[1] !== this.features)
      throw new Error(`${this.constructor.name}(${this.features}): needs ${form}, got ${showShape(x.shape)}`);
  }

  override extraRepr(): string {
    return `${this.features}, eps: ${this.eps}, momentum: ${this.momentum}`;
  }
}

/**
 * Batch normalisation of (N, C) or (N, C, L).
 *
 * @example
 * const layer = new BatchNorm1d(2);
 * layer.forward(tensor([[1, 10], [3, 30]])); // [[-1.000, -1.000], [1.000, 1.000]]
 */
export class BatchNorm1d extends BatchNorm {
  override forward(x: Tensor): Tensor {
    this.check(x, [2, 3], '[N, C] or [N, C, L]');
    return this.normalise(x);
  }
}

/**
 * Batch normalisation of images (N, C, H, W).
 *
 * @example
 * new BatchNorm2d(3).forward(randn(4, 3, 8, 8)).shape; // [4, 3, 8, 8]
 */
export class BatchNorm2d extends BatchNorm {
  override forward(x: Tensor): Tensor {
    this.check(x, [4], '[N, C, H, W]');
    return this.normalise(x);
  }
}
