import type { Dtype } from './kernel.ts';

/**
 * How a tensor's elements lie in its buffer: element i0,i1,... is at `offset + i0*strides[0] + i1*strides[1]
 * + ...`.
 */
export interface Layout {
  readonly shape: readonly number[];
  /** In elements; 0 repeats (expand), negative walks backwards (flip). */
  readonly strides: readonly number[];
  readonly offset: number;
}

/** A kernel's operand: how its elements lie, and their type. */
export interface Operand extends Layout {
  readonly dtype: Dtype;
}

/** Number of elements of a shape; 1 for a scalar. */
export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (const length of shape) size *= length;
  return size;
}

/** A shape as lines along one axis: so many entries before it, its length, so many elements behind it. */
export function linesOf(shape: readonly number[], axis: number): { outer: number; length: number; inner: number } {
  return { outer: sizeOf(shape.slice(0, axis)), length: shape[axis] ?? 1, inner: sizeOf(shape.slice(axis + 1)) };
}

/** Row-major strides. */
export function rowMajor(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis]!;
  }
  return strides;
}

export function contiguousLayout(shape: readonly number[], offset = 0): Layout {
  return { shape, strides: rowMajor(shape), offset };
}

/** Whether the elements lie in row-major order without gaps. Axes of length 1 do not matter. */
export function isContiguous({ shape, strides }: Layout): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] === 0) return true;
    if (shape[axis] !== 1 && strides[axis] !== expected) return false;
    expected *= shape[axis]!;
  }
  return true;
}

/**
 * Whether elements may share memory: an axis steps no further than the faster ones reach, as in expanded views
 * (stride 0) and overlapping windows.
 */
export function overlaps({ shape, strides }: Layout): boolean {
  const axes = shape.flatMap((length, axis) => (length > 1 ? [{ length, stride: Math.abs(strides[axis]!) }] : []));
  let reach = 0;
  return axes
    .sort((a, b) => a.stride - b.stride)
    .some(({ length, stride }) => {
      const shares = stride <= reach;
      reach += (length - 1) * stride;
      return shares;
    });
}

/** Axes shared by several operands, merged where every operand walks two neighbours as one. */
export interface Collapsed {
  readonly shape: number[];
  /** One row of strides for each operand. */
  readonly strides: number[][];
}

/**
 * Merges neighbouring axes that all operands traverse with one stride, and drops axes of length 1, so that
 * kernels need few index divisions and few distinct ranks. All operands have the given shape (broadcast ones
 * with stride 0).
 */
export function collapse(shape: readonly number[], operands: readonly (readonly number[])[]): Collapsed {
  const sizes: number[] = [];
  const strides: number[][] = operands.map(() => []);
  for (let axis = 0; axis < shape.length; axis++) {
    const length = shape[axis]!;
    if (length === 1) continue;
    const last = sizes.length - 1;
    const merges = last >= 0 && operands.every((s, k) => strides[k]![last] === s[axis]! * length);
    if (merges) {
      sizes[last]! *= length;
      operands.forEach((s, k) => (strides[k]![last] = s[axis]!));
    } else {
      sizes.push(length);
      operands.forEach((s, k) => strides[k]!.push(s[axis]!));
    }
  }
  return { shape: sizes, strides };
}

/** A view of `layout` broadcast to `shape` (NumPy rules); the caller has checked that it fits. */
export function broadcastLayout(layout: Layout, shape: readonly number[]): Layout {
  const missing = shape.length - layout.shape.length;
  const strides = shape.map((_, axis) => {
    const own = axis - missing;
    return own < 0 || layout.shape[own] === 1 ? 0 : layout.strides[own]!;
  });
  return { shape, strides, offset: layout.offset };
}

/** The same elements under another shape without moving them, or undefined where that needs a copy. */
export function reshapeLayout(layout: Layout, shape: readonly number[]): Layout | undefined {
  if (isContiguous(layout)) return contiguousLayout(shape, layout.offset);
  const { shape: sizes, strides } = collapse(layout.shape, [layout.strides]);
  const result = new Array<number>(shape.length).fill(1);
  let block = sizes.length - 1;
  let remaining = sizes[block] ?? 1;
  let stride = strides[0]![block] ?? 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const length = shape[axis]!;
    if (length === 1) continue;
    if (remaining === 1) {
      block--;
      remaining = sizes[block] ?? 1;
      stride = strides[0]![block] ?? 1;
    }
    if (remaining % length !== 0) return undefined;
    result[axis] = stride;
    stride *= length;
    remaining /= length;
  }
  return { shape, strides: result, offset: layout.offset };
}

/**
 * Whether four neighbours of the last axis can be read (or written) at once, or are one value, wherever the
 * axis starts.
 */
export function vectorises(offset: number, strides: readonly number[]): boolean {
  const last = strides[strides.length - 1] ?? 0;
  if (last === 0) return true;
  return last === 1 && offset % 4 === 0 && strides.slice(0, -1).every((s) => s % 4 === 0);
}
