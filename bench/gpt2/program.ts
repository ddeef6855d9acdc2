import * as autograd from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';

/** What `compile` makes of a step, as far as it is reported here. */
export interface Program {
  (inputIds: Tensor): Tensor;
  explain(): { readonly dispatches: number; readonly plannedPeakBytes: number };
}

/** `compile`, or undefined where this checkout has none: the step then runs op by op. */
export const compile = (autograd as { readonly compile?: (fn: (inputIds: Tensor) => Tensor) => Program }).compile;
