// Protocol buffers, written by hand: what a message needs of protobuf.dev/programming-guides/encoding.

/** A field of bytes, a text, or a message, which is its fields joined. Empty ones are written too. */
export const bytesField = (number: number, ...parts: readonly (string | Uint8Array)[]): Buffer => {
  const data = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'utf8') : part)));
  return Buffer.concat([tag(number, 2), varint(data.length), data]);
};

/** A whole number of 0 or more, or an enum's. */
export const intField = (number: number, value: number): Buffer => Buffer.concat([tag(number, 0), varint(value)]);

export function doubleField(number: number, value: number): Buffer {
  const data = Buffer.alloc(8);
  data.writeDoubleLE(value);
  return Buffer.concat([tag(number, 1), data]);
}

export function floatField(number: number, value: number): Buffer {
  const data = Buffer.alloc(4);
  data.writeFloatLE(value);
  return Buffer.concat([tag(number, 5), data]);
}

/** A field's number and wire type: 0 varint, 1 64 bit, 2 bytes with their length, 5 32 bit. */
const tag = (number: number, type: 0 | 1 | 2 | 5): Buffer => varint(number * 8 + type);

function varint(value: number): Buffer {
  const out: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) out.push((value % 128) | 128);
  return Buffer.of(...out, value);
}
