import type { Dtype } from './kernel.ts';

/** Where elements lie in a buffer: (i0, i1, ...) is at `offset + i0 * strides[0] + i1 * strides[1] + ...`. */
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

/**
 * Number of elements of a shape; 1 for a scalar.
 *
 * @example
 * sizeOf([2, 3, 4]); // 24
 */
export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (const length of shape) size *= length;
  return size;
}

/**
 * @example
 * roundUp(10, 8); // 16
 */
export const roundUp = (length: number, step: number): number => Math.ceil(length / step) * step;

/**
 * Splits a shape around an axis: [2, 3, 4, 5] at axis 2 has outer 2 * 3, length 4 and inner 5.
 *
 * @example
 * linesOf([2, 3, 4, 5], 2); // { outer: 6, length: 4, inner: 5 }
 */
export function linesOf(shape: readonly number[], axis: number): { outer: number; length: number; inner: number } {
  return { outer: sizeOf(shape.slice(0, axis)), length: shape[axis] ?? 1, inner: sizeOf(shape.slice(axis + 1)) };
}

/**
 * Row-major strides.
 *
 * @example
 * rowMajor([2, 3, 4]); // [12, 4, 1]
 */
export function rowMajor(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis]!;
  }
  return strides;
}

/**
 * @example
 * contiguousLayout([2, 3]); // { shape: [2, 3], strides: [3, 1], offset: 0 }
 */
export function contiguousLayout(shape: readonly number[], offset = 0): Layout {
  return { shape, strides: rowMajor(shape), offset };
}

/**
 * Whether the elements lie in row-major order without gaps; the strides of axes of length 1 do not count.
 *
 * @example
 * isContiguous({ shape: [2, 3], strides: [1, 2], offset: 0 }); // false
 */
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
 * Whether two elements may share memory, as in expanded views (stride 0) and in windows that overlap: some
 * axis steps no further than the faster axes reach.
 *
 * @example
 * overlaps({ shape: [2, 3], strides: [0, 1], offset: 0 }); // true
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

/** The axes that `collapse` leaves. */
export interface Collapsed {
  readonly shape: number[];
  /** The strides of each operand. */
  readonly strides: number[][];
}

/**
 * Merges two neighbouring axes where one stride walks both in every operand, and drops axes of length 1:
 * [2, 3, 4] with strides [[12, 4, 1], [0, 0, 1]] becomes [6, 4] with [[4, 1], [0, 1]]. Kernels then divide
 * fewer indices and come in fewer ranks. Strides count over `shape`, 0 where an operand is broadcast.
 *
 * @example
 * collapse([2, 3, 4], [[12, 4, 1], [0, 0, 1]]); // { shape: [6, 4], strides: [[4, 1], [0, 1]] }
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

/**
 * Broadcasts a layout to `shape` by NumPy's rules; the caller has checked that it fits.
 *
 * @example
 * broadcastLayout(contiguousLayout([3, 1]), [2, 3, 4]).strides; // [0, 1, 0]
 */
export function broadcastLayout(layout: Layout, shape: readonly number[]): Layout {
  const missing = shape.length - layout.shape.length;
  const strides = shape.map((_, axis) => {
    const own = axis - missing;
    return own < 0 || layout.shape[own] === 1 ? 0 : layout.strides[own]!;
  });
  return { shape, strides, offset: layout.offset };
}

/**
 * Returns the layout of the same elements under another shape, or undefined where that needs a copy.
 *
 * @example
 * reshapeLayout(contiguousLayout([2, 6]), [4, 3])?.strides; // [3, 1]
 */
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
 * Whether a vec4 can hold elements c, ..., c + 3 of the last axis, for any c that is a multiple of 4: they
 * lie side by side at a multiple of 4, or are one value (stride 0).
 *
 * @example
 * vectorises(0, [8, 1]); // true
 */
export function vectorises(offset: number, strides: readonly number[]): boolean {
  const last = strides[strides.length - 1] ?? 0;
  if (last === 0) return true;
  return last === 1 && offset % 4 === 0 && strides.slice(0, -1).every((s) => s % 4 === 0);
}
