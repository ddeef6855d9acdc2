import type { Dispatch } from '../gpu/dispatch.ts';
import { bytesOf, computeType, f32, i32, kernel, read, storedType, u32 } from './kernel.ts';
import type { Param } from './kernel.ts';
import { rowMajor, sizeOf } from './layout.ts';
import type { Operand } from './layout.ts';
import { aliases, bytesMoved, declare, storeElements } from './map/elements.ts';
import type { Elements } from './map/elements.ts';

export interface PadAttrs {
  /** Place of x's first element along each axis of the result. */
  readonly starts: readonly number[];
  /** Distance between neighbouring elements of x along each axis of the result. */
  readonly steps: readonly number[];
  readonly value: number;
}

const workgroup = 64;

/** Places x in a result that is `value` elsewhere: y[starts + i * steps] = x[i]. One element a thread. */
export function pad(
  { x, y }: { readonly x: Operand; readonly y: Elements },
  { starts, steps, value }: PadAttrs,
): Dispatch {
  const { shape } = y;
  const { dtype } = x;
  const sink = storeElements('put', y, { width: 1, prefix: 'y_', carries: true });
  const size = sizeOf(shape);
  const type = computeType(dtype);
  const strides = rowMajor(shape);
  const params: Record<string, Param> = { n: u32(size), o: i32(x.offset), value: { f32, i32, u32 }[type](value) };
  const lines = shape.flatMap((_, axis) => {
    params[`r${axis}`] = u32(strides[axis]!);
    params[`b${axis}`] = i32(starts[axis]!);
    params[`t${axis}`] = i32(steps[axis]!);
    params[`l${axis}`] = i32(x.shape[axis]!);
    params[`k${axis}`] = i32(x.strides[axis]!);
    return [
      `let d${axis} = i32(rest / p.r${axis}) - p.b${axis}; rest = rest % p.r${axis};`,
      `let i${axis} = d${axis} / p.t${axis};`,
      `inside = inside && d${axis} >= 0 && d${axis} % p.t${axis} == 0 && i${axis} < p.l${axis};`,
      `at += i${axis} * p.k${axis};`,
    ];
  });
  return kernel({
    name: 'pad',
    bindings: [read('x', storedType(dtype)), ...sink.operands, ...sink.outputs],
    params: { ...params, ...sink.params },
    workgroup,
    groups: Math.ceil(size / workgroup),
    cost: { flops: size * sink.flops, bytes: sizeOf(x.shape) * bytesOf(dtype) + bytesMoved(y, true) },
    declarations: `${aliases(y.compute, 1)}\n${declare(sink)}`,
    body: `
if (id >= p.n) { return; }
var rest = id;
var at = p.o;
var inside = true;
${lines.join('\n')}
var v = V(p.value);
if (inside) { v = V(x[at]); }
put(id, v);`,
  });
}
