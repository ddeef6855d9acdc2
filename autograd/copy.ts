import type { Dispatch } from '../gpu/index.ts';
import type { Layout } from '../kernels/layout.ts';
import { input } from '../kernels/map/expr.ts';
import { map } from '../kernels/map/map.ts';
import type { Dtype } from '../kernels/kernel.ts';

/** Addressing and type of what is copied; a tensor is one. */
type Source = Layout & { readonly dtype: Dtype };

const identity = input(0);

/** Copies a strided tensor into a freshly made row-major one of the same shape. */
export function copyTo(x: Source, y: Layout): Dispatch {
  return copy(x, y, true);
}

/** Copies a strided tensor to a place inside another storage of its dtype. */
export function copyInto(x: Source, place: Layout): Dispatch {
  return copy(x, place, false);
}

function copy(x: Source, layout: Layout, fresh: boolean): Dispatch {
  const { dtype } = x;
  return map({
    name: 'copy',
    shape: layout.shape,
    operands: [{ dtype, kind: 'v', layout: x }],
    outputs: [{ expr: identity, dtype, layout, fresh }],
    scalars: [],
    compute: dtype,
  });
}
