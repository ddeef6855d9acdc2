import type { Dtype } from '../kernels/kernel.ts';
import { bytesOf } from '../kernels/kernel.ts';
import { contiguousLayout, sizeOf } from '../kernels/layout.ts';
import { toHalf } from '../common/half.ts';
import { brief } from '../common/printable.ts';
import { checkDtype, checkOptions, checkShape, rangeOf, show } from './shapes.ts';
import { ShapeError } from './op.ts';
import { fill } from './ops/fill.ts';
import { decode } from './read.ts';
import { onDevice } from './runtime.ts';
import { Storage } from './storage.ts';
import { checkRoom, isFloat, Tensor } from './tensor.ts';

export interface TensorOptions {
  /** Default f32 for plain numbers, the matching type for typed arrays, bool for booleans. */
  readonly dtype?: Dtype;
  readonly requiresGrad?: boolean;
}

const optionNames = ['dtype', 'requiresGrad'];

/** Elements up to which the host keeps its own copy of what it uploads: batches of indices, not weights. */
const hostLimit = 2 ** 16;

/** Numbers or booleans, nested to any depth; all rows of an axis equally long. */
export type NestedArray = number | boolean | readonly NestedArray[];
export type TypedArray =
  Float32Array | Float64Array | Int32Array | Uint32Array | Uint8Array | Int8Array | Uint16Array | Int16Array;

/**
 * A tensor from nested arrays, a number, or a typed array with a shape. The data is copied.
 *
 * @example
 * tensor([[1, 2], [3, 4]]).shape; // [2, 2]
 * tensor(new Float32Array(6), { shape: [2, 3], dtype: 'f16' }); // [[0, 0, 0], [0, 0, 0]]
 */
export function tensor(
  data: NestedArray | TypedArray,
  options: TensorOptions & { readonly shape?: readonly number[] } = {},
): Tensor {
  const { values, shape: found, dtype: natural } = isTyped(data) ? fromTyped(data) : fromNested(data);
  const shape = options.shape ?? found;
  checkOptions('tensor', options, [...optionNames, 'shape']);
  checkShape('tensor', shape);
  if (sizeOf(shape) !== values.length) {
    throw new ShapeError(
      `tensor: ${values.length} values do not fill shape [${shape.join(', ')}] (${sizeOf(shape)} elements)`,
    );
  }
  return fromValues('tensor', values, shape, options.dtype ?? natural, options.requiresGrad ?? false);
}

function fromValues(
  op: string,
  values: ArrayLike<number>,
  shape: readonly number[],
  dtype: Dtype,
  requiresGrad: boolean,
): Tensor {
  checkDtype(op, dtype);
  checkWhole(op, values, shape, dtype);
  const bytes = encode(values, dtype);
  const storage = new Storage(bytes.byteLength, 'tensor');
  if (values.length <= hostLimit) storage.host = decode(bytes, dtype);
  onDevice(
    (gpu) => {
      storage.on((_, label) => gpu.upload(bytes, label));
    },
    (error) => storage.fail(error),
  );
  const made = new Tensor(storage, dtype, contiguousLayout(shape));
  if (requiresGrad) made.requiresGrad = true;
  return made;
}

/**
 * Overwrites the first elements of a tensor's memory from the host, after everything recorded so far. Not an
 * op: nothing of it is on the tape.
 */
export function overwrite(x: Tensor, values: Float32Array): void {
  const { storage } = x; // x itself may move before the device is there
  const bytes = new Uint8Array(values.slice().buffer);
  storage.version++;
  storage.host = undefined;
  onDevice(
    (gpu) => gpu.write(storage.memoryOn(gpu), bytes),
    (error) => storage.fail(error),
  );
}

/**
 * A tensor of one value.
 *
 * @example
 * full([2, 2], 7); // [[7, 7], [7, 7]]
 */
export function full(shape: readonly number[], value: number, options: TensorOptions = {}): Tensor {
  return filled('full', shape, value, options);
}

function filled(op: string, shape: readonly number[], value: number, options: TensorOptions): Tensor {
  const { dtype = 'f32', requiresGrad = false } = options;
  checkOptions(op, options, optionNames);
  checkDtype(op, dtype);
  checkShape(op, shape);
  checkRoom(op, shape, dtype);
  if (typeof value !== 'number' && typeof value !== 'boolean')
    throw new ShapeError(`${op}: the value must be a number, got ${brief(value)}`);
  if (requiresGrad && !isFloat(dtype)) throw new ShapeError(`${op}: gradients need f32 or f16, got ${dtype}`);
  const made = fill(op, shape, dtype, value);
  if (requiresGrad) made.requiresGrad = true;
  return made;
}

/** Lengths as a list or one by one, then options: `zeros([2, 3])`, `zeros(2, 3, { dtype: 'f16' })`. */
export type ShapeThen<Options> =
  [shape: readonly number[], options?: Options] | number[] | [...lengths: number[], options: Options];

/** The parts of `ShapeThen`. */
export function shapeThen<Options extends object>(given: ShapeThen<Options>): [readonly number[], Options] {
  const list = given as readonly (number | readonly number[] | Options | undefined)[];
  const last = list.at(-1);
  const options = list.length > 1 && typeof last !== 'number' ? (last as Options | undefined) : undefined;
  const lengths = typeof list[0] === 'number' ? list.filter((length) => typeof length === 'number') : list[0];
  return [(list.length > 0 ? lengths : []) as readonly number[], options ?? ({} as Options)];
}

/**
 * Zeros of a shape, given as a list or by its lengths: `zeros([2, 3])`, `zeros(2, 3, { dtype: 'f16' })`.
 *
 * @example
 * zeros(2, 3); // [[0, 0, 0], [0, 0, 0]]
 */
export function zeros(...shape: ShapeThen<TensorOptions>): Tensor {
  const [lengths, options] = shapeThen(shape);
  return filled('zeros', lengths, 0, options);
}

/**
 * Ones of a shape, given as for `zeros`.
 *
 * @example
 * ones(2, 3); // [[1, 1, 1], [1, 1, 1]]
 */
export function ones(...shape: ShapeThen<TensorOptions>): Tensor {
  const [lengths, options] = shapeThen(shape);
  return filled('ones', lengths, 1, options);
}

/**
 * start, start + step, ... below end (above, for a negative step).
 *
 * @example
 * arange(3); // [0, 1, 2]
 * arange(0, 1, 0.25); // [0, 0.25, 0.5, 0.75]
 */
export function arange(start: number, end?: number, step = 1, options: TensorOptions = {}): Tensor {
  const [from, to] = end === undefined ? [0, start] : [start, end];
  checkOptions('arange', options, optionNames);
  if (![from, to, step].every(Number.isFinite) || step === 0)
    throw new ShapeError(
      `arange: start, end and step must be finite numbers, and step not 0, got ${brief(from)}, ${brief(to)} and ` +
        brief(step),
    );
  return fromNumbers('arange', [Math.max(0, Math.ceil((to - from) / step))], options, (i) => from + i * step);
}

/**
 * `steps` numbers evenly from start to end, both included; f32.
 *
 * @example
 * linspace(0, 1, 5); // [0, 0.25, 0.5, 0.75, 1]
 */
export function linspace(start: number, end: number, steps: number, options: TensorOptions = {}): Tensor {
  checkOptions('linspace', options, optionNames);
  const last = Math.max(1, steps - 1);
  const round = isFloat(options.dtype ?? 'f32') ? (x: number) => x : Math.trunc; // as PyTorch does
  return fromNumbers('linspace', [steps], options, (i) => round(start + ((end - start) * i) / last));
}

/**
 * Ones on the main diagonal of a matrix [rows, columns] of zeros; f32.
 *
 * @example
 * eye(2); // [[1, 0], [0, 1]]
 */
export function eye(rows: number, columns = rows, options: TensorOptions = {}): Tensor {
  checkOptions('eye', options, optionNames);
  return fromNumbers('eye', [rows, columns], options, (i) => Number(Math.floor(i / columns) === i % columns));
}

/** A tensor of f32 numbers that the host computes by their place. */
function fromNumbers(
  op: string,
  shape: readonly number[],
  { dtype = 'f32', requiresGrad = false }: TensorOptions,
  at: (i: number) => number,
): Tensor {
  checkShape(op, shape);
  checkDtype(op, dtype);
  checkRoom(op, shape, dtype, true);
  const values = Float64Array.from({ length: sizeOf(shape) }, (_, i) => at(i));
  return fromValues(op, values, shape, dtype, requiresGrad);
}

function isTyped(data: NestedArray | TypedArray): data is TypedArray {
  if (!ArrayBuffer.isView(data)) return false;
  const { name } = (data as TypedArray).constructor;
  if (data instanceof DataView || name.startsWith('Big'))
    throw new ShapeError(`tensor: takes arrays of 8 to 32-bit integers or of floats, got a ${name}; convert it`);
  return true;
}

function fromTyped(data: TypedArray): { values: TypedArray; shape: number[]; dtype: Dtype } {
  const dtype =
    data instanceof Uint32Array ? 'u32' : data instanceof Float32Array || data instanceof Float64Array ? 'f32' : 'i32';
  return { values: data, shape: [data.length], dtype };
}

function fromNested(data: NestedArray): { values: number[]; shape: number[]; dtype: Dtype } {
  const shape: number[] = [];
  for (let level: NestedArray | undefined = data; Array.isArray(level); level = (level as readonly NestedArray[])[0])
    shape.push(level.length);
  const values: number[] = [];
  let booleans = true;
  const walk = (level: NestedArray, depth: number): void => {
    if (typeof level === 'number' || typeof level === 'boolean') {
      if (depth !== shape.length) throw raggedError(shape, depth);
      booleans &&= typeof level === 'boolean';
      values.push(Number(level));
    } else if (Array.isArray(level)) {
      if (level.length !== shape[depth]) throw raggedError(shape, depth);
      for (const inner of level as readonly NestedArray[]) walk(inner, depth + 1);
    } else {
      throw new ShapeError(`tensor: takes numbers and booleans, got ${level === null ? 'null' : typeof level}`);
    }
  };
  walk(data, 0);
  return { values, shape, dtype: booleans && values.length > 0 ? 'bool' : 'f32' };
}

function raggedError(shape: readonly number[], depth: number): ShapeError {
  return new ShapeError(
    `tensor: rows of unequal length or depth at axis ${depth} of [${shape.join(', ')}]; pad them first`,
  );
}

/** Types of arrays whose numbers a type of whole numbers holds all, so that nobody need look at them. */
const within: Readonly<Partial<Record<Dtype, readonly unknown[]>>> = {
  i32: [Int32Array, Int16Array, Int8Array, Uint16Array, Uint8Array],
  u32: [Uint32Array, Uint16Array, Uint8Array],
};

/** Throws for a number that i32 or u32 would change, and names its place. */
function checkWhole(op: string, values: ArrayLike<number>, shape: readonly number[], dtype: Dtype): void {
  if (!(dtype in within) || within[dtype]!.includes(values.constructor)) return;
  const [low, high] = rangeOf(dtype);
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (value >= low && value <= high && Number.isInteger(value)) continue;
    const strides = contiguousLayout(shape).strides;
    const place = show(shape.map((length, axis) => Math.floor(i / strides[axis]!) % length));
    const other = dtype === 'u32' && value < 0 && value >= -(2 ** 31) ? 'i32' : 'f32';
    const problem =
      Number.isFinite(value) && !Number.isInteger(value)
        ? `is not a whole number; round it first, or leave it f32 and truncate with to('${dtype}')`
        : `does not fit ${dtype} (${low} to ${high}); use '${other}'`;
    throw new ShapeError(`${op}: ${value} at ${place} ${problem}`);
  }
}

/** Values in their stored form. */
function encode(values: ArrayLike<number>, dtype: Dtype): Uint8Array {
  const count = values.length;
  if (dtype === 'f16') {
    const half = new Uint16Array(count);
    for (let i = 0; i < count; i++) half[i] = toHalf(values[i]!);
    return new Uint8Array(half.buffer);
  }
  if (dtype === 'bool') return new Uint8Array(Uint32Array.from(values, (v) => (v !== 0 ? 1 : 0)).buffer);
  const array =
    dtype === 'f32' ? new Float32Array(count) : dtype === 'i32' ? new Int32Array(count) : new Uint32Array(count);
  array.set(values);
  return new Uint8Array(array.buffer, 0, count * bytesOf(dtype));
}
