// Element types between checkpoint files and typed arrays. F16 and BF16 travel as their bits in a
// Uint16Array, because not every runtime we support has Float16Array.
import { fromHalf as f16ToF32, toHalf as f32ToF16 } from '../../common/half.ts';
import type { Dtype } from './safetensors-format.ts';
import { DTYPE_BYTES, elementCount } from './safetensors-format.ts';

export type TensorData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** A tensor in main memory, its elements in row-major order. */
export interface LoadedTensor {
  dtype: Dtype;
  shape: readonly number[];
  data: TensorData;
}

/** The typed array that holds `dtype`'s elements (bits for F16, BF16; bytes for BOOL). */
export function viewOf(dtype: Dtype, buffer: ArrayBuffer): TensorData {
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer);
    case 'F64':
      return new Float64Array(buffer);
    case 'I64':
      return new BigInt64Array(buffer);
    case 'U64':
      return new BigUint64Array(buffer);
    case 'I32':
      return new Int32Array(buffer);
    case 'U32':
      return new Uint32Array(buffer);
    case 'I16':
      return new Int16Array(buffer);
    case 'U16':
    case 'F16':
    case 'BF16':
      return new Uint16Array(buffer);
    case 'I8':
      return new Int8Array(buffer);
    case 'U8':
    case 'BOOL':
    case 'F8_E4M3':
    case 'F8_E5M2':
      return new Uint8Array(buffer);
  }
}

const scratch = new DataView(new ArrayBuffer(4));

export { f16ToF32, f32ToF16 };

/** The f32 value of bfloat16 bits: the upper half of an f32. */
export function bf16ToF32(bits: number): number {
  scratch.setUint32(0, bits << 16);
  return scratch.getFloat32(0);
}

/** bfloat16 bits nearest to an f32 value, ties to even. */
export function f32ToBf16(value: number): number {
  scratch.setFloat32(0, value);
  const bits = scratch.getUint32(0);
  if ((bits & 0x7fffffff) > 0x7f800000) return ((bits >>> 16) & 0x8000) | 0x7fc0;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

let f16Table: Float32Array | undefined;

/** Every f16 as f32, by its bits; made when it is first asked for. */
export function halfTable(): Float32Array {
  f16Table ??= Float32Array.from({ length: 65536 }, (_, bits) => f16ToF32(bits));
  return f16Table;
}

/**
 * The elements as f32: exact from F32, F16, BF16, I8, U8, I16, U16 and BOOL; rounded to nearest from F64,
 * I32, U32, I64 and U64. F8 has no conversion yet and throws.
 */
export function toFloat32({ dtype, data }: LoadedTensor): Float32Array {
  if (data instanceof Float32Array) return data;
  if (dtype === 'F16') {
    const table = halfTable();
    const result = new Float32Array(data.length);
    for (let index = 0; index < data.length; index++) result[index] = table[data[index] as number]!;
    return result;
  }
  if (dtype === 'BF16') {
    const words = new Uint32Array(data.length);
    for (let index = 0; index < data.length; index++) words[index] = (data[index] as number) << 16;
    return new Float32Array(words.buffer);
  }
  if (dtype === 'F8_E4M3' || dtype === 'F8_E5M2') {
    throw new Error(`dtype ${dtype} cannot be converted to f32 yet: save the checkpoint as F32, F16 or BF16`);
  }
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    return Float32Array.from({ length: data.length }, (_, index) => Number(data[index]));
  }
  return Float32Array.from(data);
}

/**
 * The elements as i32, from any whole-number dtype or BOOL.
 *
 * Errors: a value outside [-2^31, 2^31) (I64, U64, U32), a floating-point dtype. `name` is only for the
 * message.
 */
export function toInt32({ dtype, data }: LoadedTensor, name = 'tensor'): Int32Array {
  if (data instanceof Int32Array) return data;
  if (/^B?F/.test(dtype)) throw new Error(`${name} has dtype ${dtype}, not a whole-number dtype: read it as f32`);
  const result = new Int32Array(data.length);
  for (let index = 0; index < data.length; index++) {
    const value = Number(data[index]);
    if (value < -(2 ** 31) || value >= 2 ** 31) {
      throw new Error(`${name} holds ${data[index]} at index ${index}, which does not fit in i32: keep it on the CPU`);
    }
    result[index] = value;
  }
  return result;
}

/**
 * The bytes of `data` as elements of `dtype`: the typed array that `viewOf` gives, or a Float32Array, which
 * is converted for F16 and BF16 (nearest, ties to even) and F64.
 *
 * Errors: any other array type; an element count other than the shape's. `name` is for the message.
 */
export function toBytes(name: string, dtype: Dtype, shape: readonly number[], data: TensorData): Uint8Array {
  const count = elementCount(shape);
  if (data.length !== count) {
    throw new Error(`tensor "${name}" of shape [${shape.join(', ')}] needs ${count} elements but got ${data.length}`);
  }
  let elements = data;
  if (data instanceof Float32Array) {
    if (dtype === 'F16') elements = Uint16Array.from(data, f32ToF16);
    else if (dtype === 'BF16') elements = Uint16Array.from(data, f32ToBf16);
    else if (dtype === 'F64') elements = Float64Array.from(data);
  }
  const expected = viewOf(dtype, new ArrayBuffer(0))[Symbol.toStringTag];
  if (elements[Symbol.toStringTag] !== expected) {
    throw new Error(`tensor "${name}" of dtype ${dtype} needs a ${expected} but got a ${data[Symbol.toStringTag]}`);
  }
  return new Uint8Array(elements.buffer, elements.byteOffset, count * DTYPE_BYTES[dtype]);
}
