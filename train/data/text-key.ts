import { createHash } from 'node:crypto';

/** Two texts that differ in case and white space alone have one key: 52 bits of a hash, a whole number. */
export function textKey(text: string): number {
  const folded = text.normalize('NFC').toLowerCase().replace(/\s+/g, ' ').trim();
  const digest = createHash('sha256').update(folded).digest();
  return digest.readUInt32LE(0) + (digest.readUInt32LE(4) & 0xfffff) * 2 ** 32;
}
