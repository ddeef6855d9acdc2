// SHA-256 (FIPS 180-4), since that of browsers, crypto.subtle, has to be awaited.
import { concatBytes, utf8 } from './bytes.ts';

/** The first 32 bits of the fractional part of the roots of the first `count` primes. */
function fractions(count: number, root: (prime: number) => number): Uint32Array {
  const primes: number[] = [];
  for (let n = 2; primes.length < count; n++) if (primes.every((prime) => n % prime !== 0)) primes.push(n);
  return Uint32Array.from(primes, (prime) => (root(prime) % 1) * 2 ** 32);
}

const initial = fractions(8, Math.sqrt);
const rounds = fractions(64, Math.cbrt);

export function sha256(parts: Iterable<string | Uint8Array>): Uint8Array {
  const text = concatBytes(Array.from(parts, (part) => (typeof part === 'string' ? utf8(part) : part)));
  const padded = new Uint8Array(64 * Math.ceil((text.length + 9) / 64));
  padded.set(text);
  padded[text.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setBigUint64(padded.length - 8, BigInt(text.length) * 8n);
  const state = initial.slice();
  const words = new Uint32Array(64);
  const turn = (x: number, bits: number): number => (x >>> bits) | (x << (32 - bits));
  for (let block = 0; block < padded.length; block += 64) {
    for (let i = 0; i < 16; i++) words[i] = view.getUint32(block + 4 * i);
    for (let i = 16; i < 64; i++) {
      const [near, far] = [words[i - 2]!, words[i - 15]!];
      const a = turn(near, 17) ^ turn(near, 19) ^ (near >>> 10);
      const b = turn(far, 7) ^ turn(far, 18) ^ (far >>> 3);
      words[i] = a + words[i - 7]! + b + words[i - 16]!;
    }
    let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number];
    for (let i = 0; i < 64; i++) {
      const mixed = (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g));
      const first = (h + mixed + rounds[i]! + words[i]!) | 0;
      const second = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + first) | 0, c, b, a, (first + second) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((value, i) => (state[i]! += value));
  }
  const digest = new DataView(new ArrayBuffer(32));
  state.forEach((word, i) => digest.setUint32(4 * i, word));
  return new Uint8Array(digest.buffer);
}
