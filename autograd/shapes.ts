import type { Dtype } from '../kernels/kernel.ts';
import { ShapeError } from './op.ts';
import type { Spec } from './op.ts';

/** Element types, each after those that it can hold. */
const order: readonly Dtype[] = ['bool', 'u32', 'i32', 'f16', 'f32'];

/** The type that holds both: bool < u32 < i32 < f16 < f32. */
export function promote(a: Dtype, b: Dtype): Dtype {
  return order.indexOf(a) >= order.indexOf(b) ? a : b;
}

/** Names that a PyTorch or NumPy user may ask for, and the mend for each. */
const mends: readonly (readonly [names: RegExp, mend: string])[] = [
  [/^(torch\.)?(f64|float64|double)$/, "WGSL has no 64-bit floats, use 'f32'"],
  [/^(torch\.)?(float|float32)$/, "use 'f32'"],
  [/^(torch\.)?(half|float16|bf16|bfloat16)$/, "use 'f16', or 'f32' for the range of bfloat16"],
  [/^(torch\.)?(i64|int64|long|int|int32|i8|int8|i16|int16)$/, "use 'i32'"],
  [/^(torch\.)?(u8|uint8|u16|u64)$/, "use 'u32'"],
  [/^(cuda|gpu|webgpu|mps)(:\d+)?$/, 'every tensor is on the device already'],
  [/^cpu$/, 'values are read with data(), item() or tolist()'],
];

/** Throws for what is no element type, naming the choices. */
export function checkDtype(op: string, dtype: Dtype, choices: readonly Dtype[] = order): void {
  if (choices.includes(dtype)) return;
  const mend = mends.find(([names]) => names.test(String(dtype)))?.[1];
  const named = choices.map((choice) => `'${choice}'`);
  const list = `${named.slice(0, -1).join(', ')} or ${named.at(-1)}`;
  const given = typeof dtype === 'string' ? `'${String(dtype)}'` : String(dtype);
  throw new ShapeError(`${op}: dtype must be ${list}, got ${given}${mend ? `; ${mend}` : ''}`);
}

/** The smallest and the largest number of a type of whole numbers. */
export function rangeOf(dtype: Dtype): readonly [low: number, high: number] {
  return dtype === 'i32' ? [-(2 ** 31), 2 ** 31 - 1] : [0, dtype === 'bool' ? 1 : 2 ** 32 - 1];
}

/**
 * The number that a tensor of a type holds for a value: of bool whether it is not 0 (1 or 0), of i32 and u32
 * without its fraction. Throws where the type cannot hold it, as PyTorch does.
 */
export function heldAs(op: string, dtype: Dtype, value: number): number {
  if (dtype === 'f32' || dtype === 'f16') return value;
  if (dtype === 'bool') return Number(Number(value) !== 0); // JavaScript may give false
  const whole = Math.trunc(value);
  const [low, high] = rangeOf(dtype);
  if (!(whole >= low && whole <= high)) throw new ShapeError(`${op}: ${value} does not fit ${dtype}; use 'f32'`);
  return whole;
}

/** Throws for what is no list of lengths. */
export function checkShape(op: string, shape: readonly number[]): void {
  if (Array.isArray(shape) && shape.every((length) => Number.isInteger(length) && length >= 0)) return;
  const given = Array.isArray(shape) ? `[${shape.map(String).join(', ')}]` : String(shape);
  throw new ShapeError(`${op}: a shape must be a list of whole numbers from 0, such as [2, 3], got ${given}`);
}

/** Throws for options that the op does not have, which JavaScript would ignore, and for what is no object. */
export function checkOptions(op: string, options: object, names: readonly string[]): void {
  if (typeof options !== 'object' || options === null)
    throw new ShapeError(`${op}: options must be an object with ${names.join(', ')}, got ${String(options)}`);
  const unknown = Object.keys(options).find((name) => !names.includes(name));
  if (unknown !== undefined)
    throw new ShapeError(`${op}: there is no option ${unknown}; the options are ${names.join(', ')}`);
}

/** Throws where a value is none of the choices. */
export function checkChoice<T extends string>(op: string, option: string, value: T, choices: readonly T[]): void {
  if (choices.includes(value)) return;
  throw new ShapeError(
    `${op}: ${option} must be ${choices.map((choice) => `'${choice}'`).join(' or ')}, got '${String(value)}'`,
  );
}

/** Lengths or axes, one by one or as a list: `x.reshape(3, 2)`, `x.reshape([3, 2])`. */
export type Numbers = number[] | readonly [readonly number[]];

export function listOf(numbers: Numbers): readonly number[] {
  return Array.isArray(numbers[0]) ? numbers[0] : (numbers as number[]);
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
          `${op}: shapes ${shapes.map(show).join(' and ')} do not broadcast; ` +
            'lengths must be equal or 1, counted from the last axis',
        );
      }
      length = own;
    }
    return length;
  });
}

/** Non-negative axis; negative ones count from the end. */
export function normaliseAxis(op: string, axis: number, rank: number): number {
  const at = axis < 0 ? axis + Math.max(rank, 1) : axis;
  if (typeof axis !== 'number')
    throw new ShapeError(`${op}: the axis must be a whole number, got ${axis === null ? 'null' : typeof axis}`);
  if (!Number.isInteger(axis) || at < 0 || at >= Math.max(rank, 1)) {
    const range =
      rank === 0
        ? 'a scalar, which has no axes; use 0 or -1, or leave it out'
        : `${rank} ${rank === 1 ? 'axis' : 'axes'}; use ${-rank} to ${rank - 1}`;
    throw new ShapeError(`${op}: axis ${axis} is out of range for ${range}`);
  }
  return at;
}

/** As normaliseAxis, for ops that cut an axis: a scalar has none. */
export function axisToCut(op: string, axis: number, { shape }: Spec): number {
  if (shape.length === 0)
    throw new ShapeError(`${op}: needs at least one axis, got a scalar []; unsqueeze(0) gives it one`);
  return normaliseAxis(op, axis, shape.length);
}

/** Sorted, distinct axes; undefined means all. A scalar has none: axes 0 and -1 of it stand for nothing. */
export function normaliseAxes(op: string, axes: number | readonly number[] | undefined, rank: number): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, i) => i);
  if (typeof axes !== 'number' && !Array.isArray(axes))
    throw new ShapeError(
      `${op}: the axes must be a number or a list of numbers, got ${axes === null ? 'null' : typeof axes}`,
    );
  const list = (typeof axes === 'number' ? [axes] : (axes as readonly number[])).map((axis) =>
    normaliseAxis(op, axis, rank),
  );
  if (new Set(list).size !== list.length)
    throw new ShapeError(`${op}: axes [${list.join(', ')}] repeat; name each once`);
  return rank === 0 ? [] : list.sort((a, b) => a - b);
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
