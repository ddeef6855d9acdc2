import type { Target } from '../../gpu/index.ts';
import type { Tensor } from '../tensor.ts';
import { partsOf } from './split.ts';
import { isBindable, viewOf, windowed } from './window.ts';

/** Windows for multi-tensor kernels, which take row-major tensors in quads: four neighbouring elements. */

/** Quads from one aligned place to the next: 32 * 4 f16 take 256 bytes, the largest alignment of a device. */
const step = 32;

export interface QuadPart {
  /**
   * Runs of one parameter and what lies like it, such as its gradient: [quads, 4], from the beginning of
   * their windows.
   */
  readonly own: readonly Tensor[];
  /** The parts of what it shares with others: [rows, ...]. */
  readonly kept: readonly Tensor[];
  /** The row of `kept` that the run begins with. */
  readonly start: number;
}

/**
 * Cuts what a multi-tensor kernel does to one parameter of so many quads. `own`: tensors of its own, from
 * their beginnings. `kept`: tensors [rows, ...] with a row for each quad, in which its rows begin at `start`.
 */
export function quadParts(
  op: string,
  target: Target,
  quads: number,
  own: readonly Tensor[],
  kept: { readonly tensors: readonly Tensor[]; readonly start: number },
): QuadPart[] {
  const rows = (x: Tensor, from: number, count: number): Tensor =>
    viewOf(x, { shape: [count, ...x.shape.slice(1)], strides: x.strides, offset: x.offset + from * x.strides[0]! });
  const flat = own.map((x) => viewOf(x, { shape: [quads, 4], strides: [4, 1], offset: x.offset }));
  const placed = [...flat, ...kept.tensors.map((x) => rows(x, kept.start, quads))].map((tensor) => ({
    tensor,
    axes: tensor.shape.map((_, axis) => (axis === 0 ? 0 : undefined)),
  }));
  // Windows of what is shared begin at a row that is aligned in all of it.
  const most = Math.max(0, ...kept.tensors.map(({ strides }) => 4 * strides[0]! * step));
  const room = { ...target, bindingLimit: target.bindingLimit - most };
  return partsOf(op, room, [quads], placed).map(({ starts, lengths, tensors }) => {
    const first = kept.start + starts[0]!;
    const before = first % step;
    return {
      own: tensors.slice(0, own.length).map((x) => windowed(x, target)!),
      kept: kept.tensors.map((x) => windowed(rows(x, first - before, before + lengths[0]!), target)!),
      start: before,
    };
  });
}

/**
 * Cuts a tensor into runs of a multiple of `unit` elements that one binding holds; the tensor itself where
 * one holds it whole.
 */
export function runsOf(op: string, target: Target, x: Tensor, unit: number): Tensor[] {
  if (isBindable(x, target)) return [x];
  const { size, offset } = x;
  const count = Math.ceil(size / unit);
  const units = viewOf(x, { shape: [count, unit], strides: [unit, 1], offset });
  return partsOf(op, target, [count], [{ tensor: units, axes: [0, undefined] }]).map(({ starts, lengths }) => {
    const from = starts[0]! * unit;
    const shape = [Math.min(lengths[0]! * unit, size - from)];
    return windowed(viewOf(x, { shape, strides: [1], offset: offset + from }), target)!;
  });
}
