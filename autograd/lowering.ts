import type { Target } from '../gpu/index.ts';
import type { Dtype } from '../kernels/kernel.ts';
import { lowerOp } from './blocks/lower.ts';
import { copyTo } from './copy.ts';
import type { Fused, Lowering } from './op.ts';
import type { Entry } from './tape.ts';
import { emptyTensor } from './tensor.ts';
import type { Tensor } from './tensor.ts';

export interface LowerOptions {
  readonly target: Target;
  /** Takes each dispatch, with its tensors in binding order. */
  readonly emit: Lowering['emit'];
  /** What fusion put around the op; nothing in immediate mode. */
  readonly fused?: Fused;
}

/**
 * Emits the dispatches of one application. Returns the scratch tensors it made, whose memory is free
 * afterwards.
 */
export function lowerEntry(
  { name, op, inputs, outputs, attrs }: Entry,
  { target, emit, fused }: LowerOptions,
): Tensor[] {
  const temporaries: Tensor[] = [];
  const temporary = (shape: readonly number[], dtype: Dtype): Tensor => {
    const t = emptyTensor(shape, dtype, name);
    temporaries.push(t);
    return t;
  };
  const copy = (x: Tensor): Tensor => {
    const y = temporary(x.shape, x.dtype);
    copyTo({ target, emit }, x, y);
    return y;
  };
  const contiguous = (x: Tensor): Tensor => (x.isContiguous ? x : copy(x));
  const lowering = { target, emit, temporary, copy, contiguous, fused };
  lowerOp(name, op, lowering, inputs, outputs, attrs);
  return temporaries;
}
