import type { Target } from '../gpu/index.ts';
import type { Dtype } from '../kernels/kernel.ts';
import { broadcastLayout } from '../kernels/layout.ts';
import { plainSink, plainSource } from '../kernels/map/elements.ts';
import { copyTo } from './copy.ts';
import type { Fused, Lowering, Port } from './op.ts';
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

/** Emits the dispatches of one application. Returns the scratch tensors it made, whose memory is free afterwards. */
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
    emit(copyTo(x, y), [x, y]);
    return y;
  };
  const contiguous = (x: Tensor): Tensor => (x.isContiguous ? x : copy(x));
  const source = (i: number): Port => fused?.sources.get(i) ?? sourceOf(inputs[i]!);
  const sink = (): Port => fused?.sink ?? sinkOf(outputs[0]!);
  op.lower({ target, emit, temporary, copy, contiguous, fused, source, sink }, inputs, outputs, attrs);
  return temporaries;
}

/** A tensor's elements as they lie, over its shape or one that it broadcasts to. */
export function sourceOf(x: Tensor, shape: readonly number[] = x.shape): Port {
  return { elements: plainSource({ dtype: x.dtype, layout: broadcastLayout(x, shape) }), tensors: [x] };
}

/** Results stored as they are. */
export function sinkOf(y: Tensor): Port {
  return { elements: plainSink(y.shape, y.dtype), tensors: [y] };
}
