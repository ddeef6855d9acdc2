import { broadcastLayout } from '../kernels/layout.ts';
import { plainSink, plainSource } from '../kernels/map/elements.ts';
import type { Port } from './op.ts';
import type { Tensor } from './tensor.ts';

/** A tensor's elements as they lie, over its shape or one that it broadcasts to. */
export function sourceOf(x: Tensor, shape: readonly number[] = x.shape): Port {
  return { elements: plainSource({ dtype: x.dtype, layout: broadcastLayout(x, shape) }), tensors: [x] };
}

/** Results stored as they are. */
export function sinkOf(y: Tensor): Port {
  return { elements: plainSink(y.shape, y.dtype), tensors: [y] };
}
