/**
 * The .model files of SentencePiece: protocol buffers (sentencepiece_model.proto), read as far as is needed.
 */
import { toBase64 } from '../../common/bytes.ts';
import { printable } from '../../common/printable.ts';

export interface Piece {
  readonly text: string;
  readonly score: number;
  readonly kind: 'normal' | 'unknown' | 'control' | 'user' | 'unused' | 'byte';
}

export interface SentencePieceModel {
  readonly pieces: readonly Piece[];
  readonly kind: 'unigram' | 'bpe';
  readonly unknownId: number;
  readonly byteFallback: boolean;
  /** What `Precompiled` of a tokenizer.json takes, in base64; undefined for none. */
  readonly charsmap: string | undefined;
}

const pieceKinds = { 1: 'normal', 2: 'unknown', 3: 'control', 4: 'user', 5: 'unused', 6: 'byte' } as const;

type Value = number | Uint8Array;

/**
 * Reads a model. Errors, each one line naming the file: bytes that are no such message or end too early, no
 * pieces, a piece that comes twice, text that is no UTF-8, an algorithm other than Unigram and BPE.
 */
export function readSentencePiece(bytes: Uint8Array, path: string): SentencePieceModel {
  const damaged = (what: string): Error =>
    new Error(`${printable(path)} is no model of SentencePiece, or damaged: ${what}; download or save it again`);
  const model = fieldsOf(bytes, damaged);
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const messages = (field: number): ReturnType<typeof fieldsOf>[] =>
    (model.get(field) ?? []).map((value) => fieldsOf(bytesOf(value, damaged), damaged));
  const pieces = messages(1).map((fields, id): Piece => {
    const kind = pieceKinds[Number(last(fields, 3) ?? 1) as keyof typeof pieceKinds];
    if (kind === undefined) throw damaged(`piece ${id} has a kind that is not known`);
    const score = last(fields, 2) ?? 0;
    if (typeof score !== 'number' || !Number.isFinite(score)) throw damaged(`the score of piece ${id} is no number`);
    try {
      return { text: text.decode(bytesOf(last(fields, 1) ?? new Uint8Array(0), damaged)), score, kind };
    } catch (error) {
      throw new Error(damaged(`piece ${id} is no text`).message, { cause: error });
    }
  });
  if (pieces.length === 0) throw damaged('it has no pieces');
  const seen = new Set<string>();
  for (const { text } of pieces) {
    if (seen.has(text)) throw damaged(`it has the piece "${printable(text)}" twice`);
    seen.add(text);
  }
  const trainer = messages(2).at(-1) ?? new Map<number, Value[]>();
  const normalizer = messages(3).at(-1) ?? new Map<number, Value[]>();
  const number = (field: number, otherwise: number): number => {
    const value = last(trainer, field) ?? otherwise;
    if (typeof value !== 'number') throw damaged(`field ${field} of its trainer is no number`);
    return value;
  };
  const algorithm = number(3, 1);
  if (algorithm !== 1 && algorithm !== 2)
    throw new Error(
      `${printable(path)} cuts texts into ${algorithm === 3 ? 'words' : 'characters'}; only Unigram and BPE of ` +
        'SentencePiece can be read',
    );
  const unknownId = number(40, 0);
  if (pieces[unknownId]?.kind !== 'unknown') throw damaged(`piece ${unknownId} is not the one for what is unknown`);
  const charsmap = bytesOf(last(normalizer, 2) ?? new Uint8Array(0), damaged);
  return {
    pieces,
    kind: algorithm === 1 ? 'unigram' : 'bpe',
    unknownId,
    byteFallback: number(35, 0) !== 0,
    charsmap: charsmap.length > 0 ? toBase64(charsmap) : undefined,
  };
}

type Damaged = (what: string) => Error;

/** The last value of a field counts. */
const last = (fields: ReadonlyMap<number, readonly Value[]>, field: number): Value | undefined =>
  fields.get(field)?.at(-1);

function bytesOf(value: Value, damaged: Damaged): Uint8Array {
  if (typeof value === 'number') throw damaged('a number stands where bytes are needed');
  return value;
}

/** The fields of a message by number: whole numbers, floats of 32 bits, bytes. */
function fieldsOf(bytes: Uint8Array, damaged: Damaged): Map<number, Value[]> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fields = new Map<number, Value[]>();
  let at = 0;
  const take = (length: number): number => {
    if (!(length <= bytes.length - at)) throw damaged('it ends within a field');
    at += length;
    return at - length;
  };
  const varint = (): number => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = view.getUint8(take(1));
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return Number(BigInt.asIntN(64, value));
    }
    throw damaged('a number has more than 64 bits');
  };
  const readers: Readonly<Record<number, () => Value>> = {
    0: varint,
    1: () => bytes.subarray(take(8), at),
    2: () => {
      const length = varint();
      if (length < 0) throw damaged('a field has a length below 0');
      return bytes.subarray(take(length), at);
    },
    5: () => view.getFloat32(take(4), true),
  };
  while (at < bytes.length) {
    const tag = varint();
    const [field, wire] = [Math.floor(tag / 8), tag % 8];
    const read = readers[wire];
    if (!read || field < 1) throw damaged(`a field has the type ${wire}`);
    const value = read();
    const values = fields.get(field);
    if (values) values.push(value);
    else fields.set(field, [value]);
  }
  return fields;
}
