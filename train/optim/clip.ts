import { add, clamp, div, noGrad } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { checkNumber } from './options.ts';
import { globalNorm } from './step.ts';

/**
 * Norm of all gradients together, a scalar on the device. Parameters without a gradient count for nothing.
 *
 * @example
 * const x = new Parameter(tensor([3, 4]));
 * x.mul(x).sum().backward();
 * gradNorm([x]); // 10
 */
export function gradNorm(parameters: Iterable<Tensor>): Tensor {
  return globalNorm([...parameters].flatMap((x) => x.grad ?? []));
}

/**
 * The factor of gradients of the given norm so that it does not exceed maxNorm: min(1, maxNorm /
 * (norm + 1e-6)), PyTorch's formula. Pass it to `optimizer.step({ gradScale })`; nothing is read back.
 *
 * @example
 * clipCoefficient(tensor(5), 1); // 0.2
 */
export function clipCoefficient(norm: Tensor, maxNorm: number): Tensor {
  checkMaxNorm(maxNorm);
  return noGrad(() => clamp(div(maxNorm, add(norm, 1e-6)), undefined, 1));
}

/** Throws RangeError for what norms cannot be clipped to. Infinity clips nothing. */
export function checkMaxNorm(maxNorm: number): void {
  if (maxNorm !== Infinity) checkNumber('clipping', 'maxNorm', maxNorm, { above: 0 });
}
