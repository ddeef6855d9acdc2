// The safetensors layout: 8 bytes little-endian header length N, N bytes of JSON {"name": {"dtype", "shape",
// "data_offsets": [begin, end]}, "__metadata__": {string: string}}, then the data.
// https://github.com/huggingface/safetensors#format. The rules checked here are those of its Rust reader.
import { isJsonObject } from '../../common/json-file.ts';

/** Bytes per element of every dtype the format names that has whole bytes. */
export const DTYPE_BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
} as const;

export type Dtype = keyof typeof DTYPE_BYTES;

/** One tensor as the header describes it; offsets count bytes from the start of the data section. */
export interface TensorEntry {
  name: string;
  dtype: Dtype;
  shape: readonly number[];
  begin: number;
  end: number;
}

export interface SafetensorsHeader {
  entries: Map<string, TensorEntry>;
  metadata: Record<string, string>;
}

/** The reference reader refuses longer headers; no real file comes near. */
export const MAX_HEADER_BYTES = 100_000_000;

/** The number of elements of a shape; [] is a scalar and has one. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((count, size) => count * size, 1);
}

/**
 * Parses and checks the JSON header of `file` whose data section is `dataBytes` long.
 *
 * Errors, each one line naming the file: no JSON object, an unknown dtype, a shape that is not of whole
 * numbers >= 0, offsets outside the file, a byte length other than shape x dtype, tensors that overlap, bytes
 * no tensor owns.
 */
export function parseHeader(json: string, dataBytes: number, file: string): SafetensorsHeader {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch (error) {
    throw new Error(`${file} is no safetensors file: its header is not JSON`, { cause: error });
  }
  if (!isJsonObject(parsed)) throw new Error(`${file} is no safetensors file: its header is not a JSON object`);
  const header: SafetensorsHeader = { entries: new Map(), metadata: {} };
  for (const [name, value] of Object.entries(parsed)) {
    if (name === '__metadata__') header.metadata = parseMetadata(value, file);
    else header.entries.set(name, parseEntry(name, value, file));
  }
  checkLayout(header.entries, dataBytes, file);
  return header;
}

function parseMetadata(value: unknown, file: string): Record<string, string> {
  const valid = isJsonObject(value) && Object.values(value).every((text) => typeof text === 'string');
  if (!valid) throw new Error(`${file} is damaged: __metadata__ must map strings to strings`);
  return value as Record<string, string>;
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function parseEntry(name: string, value: unknown, file: string): TensorEntry {
  const fail = (what: string): never => {
    throw new Error(`${file} is damaged: tensor "${name}" ${what}; download or save it again`);
  };
  if (!isJsonObject(value)) return fail('has no description');
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string' || !Object.hasOwn(DTYPE_BYTES, dtype)) {
    const known = Object.keys(DTYPE_BYTES).join(', ');
    throw new Error(`${file}: tensor "${name}" has dtype ${JSON.stringify(dtype)}, which is none of ${known}`);
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    return fail(`has shape ${JSON.stringify(shape)}, which is not a list of whole numbers >= 0`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    return fail(`has data_offsets ${JSON.stringify(offsets)}, which are not two whole numbers >= 0`);
  }
  const [begin, end] = offsets as [number, number];
  const bytes = elementCount(shape) * DTYPE_BYTES[dtype as Dtype];
  if (end - begin !== bytes) {
    return fail(`of shape [${shape.join(', ')}] ${dtype} needs ${bytes} bytes but its offsets span ${end - begin}`);
  }
  return { name, dtype: dtype as Dtype, shape, begin, end };
}

function checkLayout(entries: Map<string, TensorEntry>, dataBytes: number, file: string): void {
  const inOrder = [...entries.values()].sort((a, b) => a.begin - b.begin || a.end - b.end);
  let position = 0;
  for (const { name, begin, end } of inOrder) {
    if (begin < position) throw new Error(`${file} is damaged: tensor "${name}" overlaps another; download it again`);
    if (begin > position) {
      throw new Error(`${file} is damaged: bytes ${position} to ${begin} belong to no tensor; download it again`);
    }
    position = end;
  }
  if (position > dataBytes) {
    throw new Error(
      `${file} is truncated: its header describes ${position} bytes of data but ${dataBytes} are there; download ` +
        'or save it again',
    );
  }
  if (position < dataBytes) {
    throw new Error(
      `${file} is damaged: ${dataBytes - position} bytes at its end belong to no tensor; download it again`,
    );
  }
}

/**
 * The header bytes, length prefix included, for entries laid out one after the other from offset 0; padded
 * with spaces to a multiple of 8 so that the data section is aligned.
 */
export function encodeHeader(entries: Iterable<TensorEntry>, metadata: Record<string, string>): Uint8Array {
  const header: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  header['__metadata__'] = metadata;
  for (const { name, dtype, shape, begin, end } of entries) header[name] = { dtype, shape, data_offsets: [begin, end] };
  const json = new TextEncoder().encode(JSON.stringify(header));
  const length = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return bytes;
}
