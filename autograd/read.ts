import { bytesOf } from '../kernels/kernel.ts';
import type { Dtype } from '../kernels/kernel.ts';
import { roundUp, sizeOf } from '../kernels/layout.ts';
import { refuseWhileCapturing } from './context.ts';
import { noGrad } from './context.ts';
import { fromHalf } from '../common/half.ts';
import { clone } from './ops/reshape.ts';
import { onDevice, ready } from './runtime.ts';
import type { Tensor } from './tensor.ts';

export type DataArray = Float32Array | Int32Array | Uint32Array | Uint8Array;
export type NestedList = number | boolean | NestedList[];

/**
 * The elements in row-major order: Float32Array for floats, Int32Array, Uint32Array, or Uint8Array of 0 and 1
 * for bool.
 */
export function data(x: Tensor): Promise<DataArray> {
  refuse('data');
  return read(x);
}

/** Thrown at once, not into a promise that nobody may be awaiting. */
function refuse(op: string): void {
  refuseWhileCapturing(op, 'a compiled function cannot read data back; return the tensor and read it outside');
}

async function read(x: Tensor): Promise<DataArray> {
  if (x.storage.isFreed)
    throw new Error('data: this tensor was freed when its scope ended; call keep() on it inside the scope');
  if (x.size === 0) return decode(new Uint8Array(0), x.dtype);
  // Copies need whole words: a view that starts inside one (f16) is moved first.
  const aligned = x.isContiguous && (x.offset * bytesOf(x.dtype)) % 4 === 0;
  const source = aligned ? x.detach() : noGrad(() => clone(x)); // x itself may move before the device is there
  const bytes = source.size * bytesOf(source.dtype);
  // The copy is recorded before anything is awaited: the caller's scope may end, or the tensor change, in the
  // meantime.
  let reading: Promise<Uint8Array> | undefined;
  onDevice(
    (gpu) => {
      const allocation = source.storage.memoryOn(gpu);
      reading = gpu.read(allocation, source.offset * bytesOf(source.dtype), roundUp(bytes, 4));
      reading.catch(() => undefined); // awaited below
    },
    (error) => {
      reading = Promise.reject(error as Error);
      reading.catch(() => undefined);
    },
  );
  if (!aligned) source.storage.free();
  await ready();
  const raw = await reading!;
  return decode(raw.subarray(0, bytes), x.dtype);
}

/** The one element of a tensor of size 1. */
export function item(x: Tensor): Promise<number> {
  refuse('item');
  return readItem(x);
}

async function readItem(x: Tensor): Promise<number> {
  if (x.size !== 1)
    throw new Error(
      `item: needs exactly one element, this tensor has shape [${x.shape.join(', ')}]; use data() or tolist()`,
    );
  return (await read(x))[0]!;
}

/** The elements as nested lists; booleans for bool. */
export function tolist(x: Tensor): Promise<NestedList> {
  refuse('tolist');
  return readList(x);
}

async function readList(x: Tensor): Promise<NestedList> {
  const flat = await read(x);
  const values: (number | boolean)[] = x.dtype === 'bool' ? Array.from(flat, (v) => v !== 0) : Array.from(flat);
  const nest = (axis: number, from: number): NestedList => {
    if (axis === x.ndim) return values[from]!;
    const step = sizeOf(x.shape.slice(axis + 1));
    return Array.from({ length: x.shape[axis]! }, (_, i) => nest(axis + 1, from + i * step));
  };
  return nest(0, 0);
}

/** Elements from their stored form. */
export function decode(raw: Uint8Array, dtype: Dtype): DataArray {
  const { buffer, byteOffset, byteLength } = raw;
  if (dtype === 'f16') return Float32Array.from(new Uint16Array(buffer, byteOffset, byteLength / 2), fromHalf);
  if (dtype === 'f32') return new Float32Array(buffer, byteOffset, byteLength / 4);
  if (dtype === 'i32') return new Int32Array(buffer, byteOffset, byteLength / 4);
  const words = new Uint32Array(buffer, byteOffset, byteLength / 4);
  return dtype === 'bool' ? Uint8Array.from(words) : words;
}
