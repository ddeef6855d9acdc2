import { Random } from '../../common/random.ts';
import { sha256 } from '../../common/sha256.ts';

/**
 * A seed for one purpose of several that share a run's seed: equal (seed, purpose) give equal seeds, and no
 * two purposes the same random numbers.
 */
export function purposeSeed(seed: number, purpose: string): number {
  const { buffer, byteOffset } = sha256([`${seed}/${purpose}`]);
  const view = new DataView(buffer, byteOffset);
  return view.getUint32(0) * 2 ** 16 + view.getUint16(4); // its first 48 bits
}

const ROUNDS = 6;

/**
 * A random order of the numbers 0 to n - 1 that is never in memory: `permutation(n, seed, stream)(i)` is the
 * i-th of them. A Feistel network over the next power of four, its keys from the seeded generator (Luby and
 * Rackoff 1988), walked until it lands below n (Black and Rogaway 2002, "Ciphers with arbitrary finite
 * domains"). n up to 2^48.
 */
export function permutation(n: number, seed: number, stream: number): (index: number) => number {
  if (!Number.isInteger(n) || n < 1 || n > 2 ** 48)
    throw new Error(`permutation: n must be an integer from 1 to 2^48, got ${n}`);
  let half = 2;
  while (half * half < n) half *= 2;
  const keys = new Random(seed, stream);
  const rounds = Array.from({ length: ROUNDS }, () => keys.nextU32());
  const step = (value: number): number => {
    let [left, right] = [Math.floor(value / half), value % half];
    for (const key of rounds) {
      const mixed = mix((right ^ key) >>> 0) % half;
      [left, right] = [right, (left ^ mixed) >>> 0];
    }
    return left * half + right;
  };
  return (index) => {
    if (!Number.isInteger(index) || index < 0 || index >= n)
      throw new Error(`permutation: index must be an integer from 0 to ${n - 1}, got ${index}`);
    let value = step(index);
    while (value >= n) value = step(value);
    return value;
  };
}

/** Finaliser of MurmurHash3: every input bit reaches every output bit. */
function mix(value: number): number {
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
