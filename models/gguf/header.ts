/**
 * The head of a GGUF file: metadata and a list of tensors
 * (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). All numbers are little-endian: "GGUF", the
 * version, how many tensors and settings there are, the settings, the tensors; the data begins at the next
 * multiple of the alignment.
 */
import { printable } from '../../common/printable.ts';
import { showText } from '../names.ts';
import { blockTypes } from './blocks.ts';
import type { BlockType } from './blocks.ts';

/** A setting; numbers of 64 bits are numbers too, as far as they are whole there. */
export type GgufValue = string | number | boolean | readonly GgufValue[];

export interface GgufTensor {
  readonly name: string;
  /** Rows first, as in PyTorch; the file has it the other way round. */
  readonly shape: readonly number[];
  /** undefined where its type, `typeId`, is not known here. */
  readonly type: BlockType | undefined;
  readonly typeId: number;
  /** From the beginning of the file. */
  readonly begin: number;
  readonly bytes: number;
}

export interface GgufHeader {
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

/** More bytes of the file are needed. */
export class NeedsMore extends Error {}

/** The largest head: the vocabulary of the largest takes some 20 MB. */
export const maxHeaderBytes = 2 ** 28;

const maxNameBytes = 65_535;
const maxDimensions = 4;

/**
 * Reads the head of `file` from its first bytes. Throws `NeedsMore` where they end before it does; other
 * errors, each one line naming the file: no GGUF file, a version that is not known, counts and lengths beyond
 * the file's size, a name that comes twice, text that is no UTF-8, tensors that lie outside of the file.
 */
export function parseGguf(bytes: Uint8Array, fileBytes: number, file: string): GgufHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let at = 0;
  const damaged = (what: string): Error =>
    new Error(`${printable(file)} is damaged: ${what}; download or save it again`);
  const take = (length: number, what: string): number => {
    if (!(length <= fileBytes - at)) throw damaged(`${what} ends behind the end of the file, it is cut short or lies`);
    if (at + length > bytes.byteLength) throw new NeedsMore();
    at += length;
    return at - length;
  };
  const u32 = (what: string): number => view.getUint32(take(4, what), true);
  const whole = (what: string): number => {
    const value = view.getBigUint64(take(8, what), true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw damaged(`${what} is ${value}`);
    return Number(value);
  };
  /** A number of things of at least `size` bytes each. */
  const count = (size: number, what: string): number => {
    const value = whole(what);
    if (value * size > fileBytes - at) throw damaged(`${what} is ${value}, more than the file has room for`);
    return value;
  };
  const string = (what: string, most = Infinity): string => {
    const length = count(1, `the length of ${what}`);
    if (length > most) throw damaged(`${what} has ${length} bytes, more than ${most}`);
    const begin = take(length, what);
    try {
      return text.decode(bytes.subarray(begin, begin + length));
    } catch (error) {
      throw new Error(damaged(`${what} is no UTF-8`).message, { cause: error });
    }
  };
  const integer = (value: bigint, what: string): number => {
    if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER))
      throw damaged(`${what} is ${value}, which cannot be meant`);
    return Number(value);
  };
  const readers: readonly (readonly [size: number, read: (what: string) => GgufValue])[] = [
    [1, (what) => view.getUint8(take(1, what))],
    [1, (what) => view.getInt8(take(1, what))],
    [2, (what) => view.getUint16(take(2, what), true)],
    [2, (what) => view.getInt16(take(2, what), true)],
    [4, u32],
    [4, (what) => view.getInt32(take(4, what), true)],
    [4, (what) => view.getFloat32(take(4, what), true)],
    [1, (what) => view.getUint8(take(1, what)) !== 0],
    [8, string],
    [12, (what) => list(what)],
    [8, (what) => integer(view.getBigUint64(take(8, what), true), what)],
    [8, (what) => integer(view.getBigInt64(take(8, what), true), what)],
    [8, (what) => view.getFloat64(take(8, what), true)],
  ];
  const readerOf = (what: string): (typeof readers)[number] => {
    const type = u32(`the type of ${what}`);
    const reader = readers[type];
    if (!reader) throw damaged(`${what} is of type ${type}, which no version has`);
    return reader;
  };
  let depth = 0;
  const list = (what: string): GgufValue[] => {
    if (++depth > 4) throw damaged(`${what} is a list of lists of lists of lists`);
    const [size, read] = readerOf(`the items of ${what}`);
    const length = count(size, `the length of ${what}`);
    const items: GgufValue[] = [];
    for (let i = 0; i < length; i++) items.push(read(what));
    depth--;
    return items;
  };

  if (fileBytes < 24) throw new Error(`${printable(file)} is no GGUF file: it is only ${fileBytes} bytes long`);
  take(4, 'the head');
  if (view.getUint32(0, true) !== 0x46554747)
    throw new Error(`${printable(file)} is no GGUF file: it does not begin with "GGUF"`);
  const version = u32('the version');
  if (version === 0x03000000 || version === 0x02000000)
    throw new Error(`${printable(file)} is a big-endian GGUF file, for other processors; convert the model again`);
  if (version !== 2 && version !== 3)
    throw new Error(`${printable(file)} is a GGUF file of version ${version}; 2 and 3 can be read: convert it again`);
  const tensorCount = count(24, 'the number of tensors');
  const settings = count(13, 'the number of settings');

  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < settings; i++) {
    const key = string(`the name of setting ${i}`, maxNameBytes);
    if (metadata.has(key)) throw damaged(`it has the setting "${showText(key)}" twice`);
    const [, read] = readerOf(`"${showText(key)}"`);
    metadata.set(key, read(`"${showText(key)}"`));
  }
  const alignment = metadata.get('general.alignment') ?? 32;
  if (typeof alignment !== 'number' || alignment <= 0 || alignment % 8 !== 0)
    throw damaged(`general.alignment is ${String(alignment)}, no multiple of 8`);

  const found: (Omit<GgufTensor, 'begin'> & { readonly offset: number })[] = [];
  for (let i = 0; i < tensorCount; i++) {
    const name = string(`the name of tensor ${i}`, maxNameBytes);
    const label = `tensor "${showText(name)}"`;
    const dimensions = u32(`the dimensions of ${label}`);
    if (dimensions > maxDimensions) throw damaged(`${label} has ${dimensions} dimensions, more than ${maxDimensions}`);
    const shape = Array.from({ length: dimensions }, () => whole(`a dimension of ${label}`)).reverse();
    const typeId = u32(`the type of ${label}`);
    const type = blockTypes.get(typeId);
    const offset = whole(`the place of ${label}`);
    if (offset % alignment !== 0) throw damaged(`${label} lies at ${offset}, no multiple of ${alignment}`);
    const elements = shape.reduce((product, size) => product * size, 1);
    const row = shape.at(-1) ?? 1;
    if (type && row % type.size !== 0)
      throw damaged(`${label} has rows of ${row} weights, no whole number of blocks of ${type.size} (${type.name})`);
    found.push({ name, shape, type, typeId, offset, bytes: type ? (elements / type.size) * type.bytes : 0 });
  }
  const start = Math.ceil(at / alignment) * alignment;
  const tensors = new Map<string, GgufTensor>();
  for (const { offset, ...tensor } of found) {
    const label = `tensor "${showText(tensor.name)}"`;
    if (tensors.has(tensor.name)) throw damaged(`it has ${label} twice`);
    const begin = start + offset;
    if (!(begin + tensor.bytes <= fileBytes))
      throw damaged(`${label} ends at byte ${begin + tensor.bytes} of ${fileBytes}, the file is cut short or lies`);
    tensors.set(tensor.name, { ...tensor, begin });
  }
  return { metadata, tensors };
}
