import type { Dtype } from '../kernels/kernel.ts';
import { ShapeError } from './op.ts';
import type { Spec } from './op.ts';

const order: readonly Dtype[] = ['bool', 'u32', 'i32', 'f16', 'f32'];

/** The type that holds both: bool < u32 < i32 < f16 < f32. */
export function promote(a: Dtype, b: Dtype): Dtype {
  return order.indexOf(a) >= order.indexOf(b) ? a : b;
}

/**
 * NumPy broadcasting: axes are matched from the last; lengths must be equal or 1. Throws naming op and
 * shapes.
 */
export function broadcastShapes(op: string, ...shapes: (readonly number[])[]): number[] {
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  return Array.from({ length: rank }, (_, axis) => {
    let length = 1;
    for (const shape of shapes) {
      const own = shape[axis - rank + shape.length] ?? 1;
      if (own === 1 || own === length) continue;
      if (length !== 1) {
        throw new ShapeError(
          `${op}: shapes ${shapes.map(show).join(' and ')} do not broadcast; lengths must be equal or 1, counted from the last axis`,
        );
      }
      length = own;
    }
    return length;
  });
}

/** Non-negative axis; negative ones count from the end. */
export function normaliseAxis(op: string, axis: number, rank: number): number {
  const at = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || at < 0 || at >= Math.max(rank, 1)) {
    throw new ShapeError(`${op}: axis ${axis} is out of range for ${rank} axes; use ${-rank} to ${rank - 1}`);
  }
  return at;
}

/** Sorted, distinct axes; undefined means all. */
export function normaliseAxes(op: string, axes: number | readonly number[] | undefined, rank: number): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, i) => i);
  const list = (typeof axes === 'number' ? [axes] : axes).map((axis) => normaliseAxis(op, axis, rank));
  if (new Set(list).size !== list.length)
    throw new ShapeError(`${op}: axes [${list.join(', ')}] repeat; name each once`);
  return list.sort((a, b) => a - b);
}

export function requireFloat(op: string, { dtype }: Spec): void {
  if (dtype !== 'f32' && dtype !== 'f16') {
    throw new ShapeError(`${op}: needs f32 or f16, got ${dtype}; convert with to('f32')`);
  }
}

export function show(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((length, i) => length === b[i]);
}
