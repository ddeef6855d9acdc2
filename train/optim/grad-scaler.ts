import { mul, slice, tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { checkNumber, refuseUnknown } from './options.ts';
import { updateScale } from './step.ts';
import type { StepOptions } from './optimizer.ts';

/** An optimizer of any options. */
interface Steps {
  step(options: StepOptions): void;
}

export interface GradScalerOptions {
  /** First scale of the loss. */
  readonly initScale?: number;
  /** Factor of the scale after `growthInterval` good steps in a row. */
  readonly growthFactor?: number;
  /** Factor of the scale after a step with an infinite or NaN gradient. */
  readonly backoffFactor?: number;
  readonly growthInterval?: number;
}

/**
 * Dynamic loss scaling (Micikevicius et al. 2018), with PyTorch's rules and defaults: gradients too small for
 * f16 are lifted by scaling the loss; a step whose gradients overflow is skipped and halves the scale, a long
 * run of good ones doubles it. All of it is decided on the device, nothing is read back:
 *
 *     scaler.scale(loss).backward();
 *     scaler.step(optimizer, { maxNorm: 1 }); // of each optimizer
 *     scaler.update();
 *
 * With one optimizer, `optimizer.step({ scaler, maxNorm: 1 })` is the same as the last two in one dispatch
 * less.
 *
 * @example
 * const x = new Parameter(tensor([1]));
 * const [optimizer, scaler] = [new SGD([x], { lr: 0.1 }), new GradScaler()];
 * scaler.scale(x.mul(x).sum()).backward();
 * scaler.step(optimizer);
 * scaler.update();
 * x; // [0.8]
 */
export class GradScaler {
  readonly growth: number;
  readonly backoff: number;
  readonly interval: number;
  /**
   * f32 [4] on the device: scale, good steps in a row (-1 - their number from `step` to `update`), 1 if the
   * last step was skipped, steps skipped in all.
   */
  readonly state: Tensor;

  constructor(options: GradScalerOptions = {}) {
    refuseUnknown('GradScaler', options, ['initScale', 'growthFactor', 'backoffFactor', 'growthInterval']);
    const { initScale = 2 ** 16, growthFactor = 2, backoffFactor = 0.5, growthInterval = 2000 } = options;
    checkNumber('GradScaler', 'initScale', initScale, { above: 0 });
    checkNumber('GradScaler', 'growthFactor', growthFactor, { above: 1 });
    checkNumber('GradScaler', 'backoffFactor', backoffFactor, { above: 0, below: 1 });
    checkNumber('GradScaler', 'growthInterval', growthInterval, { above: 0, whole: true });
    this.growth = growthFactor;
    this.backoff = backoffFactor;
    this.interval = growthInterval;
    this.state = tensor([initScale, 0, 0, 0]).keep();
  }

  /** loss times the scale, f32. */
  scale(loss: Tensor): Tensor {
    return mul(loss, slice(this.state, 0));
  }

  /**
   * Steps an optimizer with the gradients of the scaled loss, divided by the scale; where one is infinite or
   * NaN the optimizer's step is skipped. The scale stays until `update`. `maxNorm` clips the unscaled
   * gradients.
   */
  step(optimizer: Steps, options: Omit<StepOptions, 'scaler'> = {}): void {
    optimizer.step({ ...options, scaler: this, keepScale: true });
  }

  /** Moves the scale by what the steps since the last update found; without such a step it does nothing. */
  update(): void {
    updateScale(this);
  }

  /**
   * The scale that the next loss is multiplied by: a scalar on the device, as are the others; `await
   * scaler.found.item()` reads one.
   */
  get current(): Tensor {
    return slice(this.state, 0);
  }

  /** 1 if the last step was skipped, since a gradient was infinite or NaN. */
  get found(): Tensor {
    return slice(this.state, 2);
  }

  /** Steps skipped so far. */
  get skipped(): Tensor {
    return slice(this.state, 3);
  }
}
