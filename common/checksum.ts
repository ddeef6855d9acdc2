/** Remainders of each byte by a polynomial whose bits are reversed. */
const tableOf = (polynomial: number): Uint32Array =>
  Uint32Array.from({ length: 256 }, (_, byte) => {
    for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ polynomial : byte >>> 1;
    return byte;
  });

const ieee = tableOf(0xedb88320);
const castagnoli = tableOf(0x82f63b78);

function remainder(table: Uint32Array, parts: readonly Uint8Array[]): number {
  let crc = ~0;
  for (const part of parts) for (const byte of part) crc = (crc >>> 8) ^ table[(crc ^ byte) & 0xff]!;
  return ~crc >>> 0;
}

/** CRC-32 of bytes, one behind the other (ISO 3309), as zip archives have it. */
export const crc32 = (...parts: readonly Uint8Array[]): number => remainder(ieee, parts);

/** CRC-32C (Castagnoli; RFC 3720, B.4), as TensorBoard's files have it. */
export const crc32c = (...parts: readonly Uint8Array[]): number => remainder(castagnoli, parts);
