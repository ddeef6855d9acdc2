import type { Dispatch } from '../gpu/dispatch.ts';
import { bytesOf, computeType, i32, kernel, read, storedType, u32, write } from './kernel.ts';
import { linesOf } from './layout.ts';
import type { Operand } from './layout.ts';

export interface FoldAttrs {
  /** Axis of y that the windows were cut from. */
  readonly axis: number;
  /** Distance between neighbouring windows. */
  readonly step: number;
  /** Distance between neighbouring elements of a window. */
  readonly dilation: number;
}

const workgroup = 64;

/**
 * Computes y[o, l, i] = sum of x[o, w, i, k] over w * step + k * dilation = l, the adjoint of cutting
 * windows. x [outer, windows, inner, size] is row-major. Each output finds its own terms, in order of k, so
 * that the result is the same on every run.
 */
export function fold(
  { x, y }: { readonly x: Operand; readonly y: Operand },
  { axis, step, dilation }: FoldAttrs,
): Dispatch {
  const { dtype, offset } = x;
  const { outer, length, inner } = linesOf(y.shape, axis);
  const [windows, size] = [x.shape[axis]!, x.shape.at(-1)!];
  const threads = outer * length * inner;
  return kernel({
    name: 'fold',
    bindings: [read('x', storedType(dtype)), write('y', storedType(dtype))],
    params: {
      n: u32(threads),
      length: u32(length),
      inner: u32(inner),
      windows: i32(windows),
      size: i32(size),
      step: i32(step),
      dilation: i32(dilation),
      o: u32(offset),
    },
    workgroup,
    groups: Math.ceil(threads / workgroup),
    cost: { flops: outer * windows * inner * size, bytes: (outer * windows * inner * size + threads) * bytesOf(dtype) },
    body: `
if (id >= p.n) { return; }
let inner = id % p.inner;
let l = i32((id / p.inner) % p.length);
let outer = id / (p.inner * p.length);
var total = ${computeType(dtype)}(0);
for (var k = 0; k < p.size; k++) {
  let start = l - k * p.dilation;
  if (start < 0) { break; }
  let w = start / p.step;
  if (start % p.step == 0 && w < p.windows) {
    let window = (outer * u32(p.windows) + u32(w)) * p.inner + inner;
    total += ${computeType(dtype)}(x[p.o + window * u32(p.size) + u32(k)]);
  }
}
y[id] = ${storedType(dtype)}(total);`,
  });
}
