import { toHex } from '../../common/bytes.ts';
import { sha256 } from '../../common/sha256.ts';

/** FNV-1a over UTF-16 code units, mixed: a u32. */
export function hashText(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return mix(value);
}

/** Finaliser of MurmurHash3: a bijection of u32 whose every input bit reaches every output bit. */
export function mix(value: number): number {
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}

/** Two texts that differ in case and white space alone have one key: 52 bits of a hash, a whole number. */
export function textKey(text: string): number {
  const folded = text.normalize('NFC').toLowerCase().replace(/\s+/g, ' ').trim();
  const { buffer, byteOffset } = sha256([folded]);
  const view = new DataView(buffer, byteOffset);
  return view.getUint32(0, true) + (view.getUint32(4, true) & 0xfffff) * 2 ** 32;
}

/** SHA-256 of a value as JSON has it: what a run depends on, in its identity. */
export function hashOfJson(value: unknown): string {
  return toHex(sha256([JSON.stringify(value)]));
}
