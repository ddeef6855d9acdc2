// The safetensors layout: 8 bytes little-endian header length N, N bytes of JSON {"name": {"dtype", "shape",
// "data_offsets": [begin, end]}, "__metadata__": {string: string}}, then the data.
// https://github.com/huggingface/safetensors#format. The rules checked here are those of its Rust reader.
import { isJsonObject } from '../../common/json-file.ts';
import { brief, printable } from '../../common/printable.ts';

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
 * Errors, each one line naming the file: bytes that are no UTF-8, no JSON object, a key given twice, an
 * unknown dtype, a shape that is not of whole numbers >= 0 written as such (1.0 is not), offsets outside the
 * file, a byte length other than shape x dtype, tensors that overlap, bytes no tensor owns.
 */
export function parseHeader(bytes: Uint8Array, dataBytes: number, file: string): SafetensorsHeader {
  let json: string;
  let parsed: unknown;
  try {
    json = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new Error(`${file} is no safetensors file: its header is not UTF-8`, { cause: error });
  }
  if (isDeep(bytes)) throw new Error(`${file} is damaged: its header is nested deeper than ${MAX_DEPTH}`);
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
  const wrong = findLooseJson(json);
  if (wrong) throw new Error(`${file} is damaged: its header ${wrong}; download or save it again`);
  checkLayout(header.entries, dataBytes, file);
  return header;
}

/** The reference reader refuses to go deeper. */
const MAX_DEPTH = 128;

/** Whether brackets nest deeper than any header's, whatever else is wrong with the text. */
function isDeep(json: Uint8Array): boolean {
  let depth = 0;
  let isText = false;
  for (let i = 0; i < json.length && depth <= MAX_DEPTH; i++) {
    const byte = json[i]!;
    if (byte === 0x22) isText = !isText;
    else if (isText && byte === 0x5c)
      i++; // the character after a backslash
    else if (!isText && (byte === 0x5b || byte === 0x7b)) depth++;
    else if (!isText && (byte === 0x5d || byte === 0x7d)) depth--;
  }
  return depth > MAX_DEPTH;
}

/**
 * Says what is wrong with valid JSON where JSON.parse is more lenient than the reference reader: a key given
 * twice in one object, half of a surrogate pair, a number that JavaScript rounds to a whole one.
 */
function findLooseJson(json: string): string | undefined {
  const token = /["{}[\],]|[^\s{}[\],:"]+/g;
  const open: (Set<string> | undefined)[] = []; // the keys of each object around, undefined for an array
  let isKey = false;
  for (let match = token.exec(json); match; match = token.exec(json)) {
    let [text] = match;
    if (text === '"') {
      const end = endOfString(json, match.index);
      text = json.slice(match.index, end);
      token.lastIndex = end;
    }
    if (text === '{' || text === '[') open.push(text === '{' ? new Set() : undefined);
    else if (text === '}' || text === ']') open.pop();
    const keys = open.at(-1);
    if (text.startsWith('"')) {
      const value = JSON.parse(text) as string;
      if (/\p{Cs}/u.test(value)) return `has ${brief(value)}, which holds half of a pair of surrogates`;
      if (isKey && keys!.has(value)) return `has ${brief(value)} twice`;
      if (isKey) keys!.add(value);
    } else if (!keys && /^-0|^\d.*[.eE]/.test(text)) return `has the size or offset ${text}; it must be written whole`;
    isKey = keys !== undefined && (text === '{' || text === ',');
  }
  return undefined;
}

/** Returns the end of the string that begins at `start`. An expression would run out of stack. */
function endOfString(json: string, start: number): number {
  for (let at = json.indexOf('"', start + 1); ; at = json.indexOf('"', at + 1)) {
    let slashes = 0;
    while (json[at - 1 - slashes] === '\\') slashes++;
    if (slashes % 2 === 0) return at + 1;
  }
}

function parseMetadata(value: unknown, file: string): Record<string, string> {
  if (value === null) return {};
  const valid = isJsonObject(value) && Object.values(value).every((text) => typeof text === 'string');
  if (!valid) throw new Error(`${file} is damaged: __metadata__ must map strings to strings`);
  return value as Record<string, string>;
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function parseEntry(name: string, value: unknown, file: string): TensorEntry {
  const fail = (what: string): never => {
    throw new Error(`${file} is damaged: tensor "${printable(name)}" ${what}; download or save it again`);
  };
  if (!isJsonObject(value)) return fail('has no description');
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string' || !Object.hasOwn(DTYPE_BYTES, dtype)) {
    const known = Object.keys(DTYPE_BYTES).join(', ');
    throw new Error(`${file}: tensor "${printable(name)}" has dtype ${brief(dtype)}, which is none of ${known}`);
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    return fail(`has shape ${brief(shape)}, which is not a list of whole numbers >= 0`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    return fail(`has data_offsets ${brief(offsets)}, which are not two whole numbers >= 0`);
  }
  const [begin, end] = offsets as [number, number];
  const bytes = elementCount(shape) * DTYPE_BYTES[dtype as Dtype];
  let count = 1;
  if (!shape.every((size) => Number.isSafeInteger((count *= size))))
    return fail(`has shape ${brief(shape)}, more elements than can be counted`);
  if (end - begin !== bytes) {
    return fail(`of shape ${brief(shape)} ${dtype} needs ${bytes} bytes but its offsets span ${end - begin}`);
  }
  return { name, dtype: dtype as Dtype, shape, begin, end };
}

function checkLayout(entries: Map<string, TensorEntry>, dataBytes: number, file: string): void {
  const inOrder = [...entries.values()].sort((a, b) => a.begin - b.begin || a.end - b.end);
  let position = 0;
  for (const { name, begin, end } of inOrder) {
    if (begin < position)
      throw new Error(`${file} is damaged: tensor "${printable(name)}" overlaps another; download it again`);
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
