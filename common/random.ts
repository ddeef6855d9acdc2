/** Four 32-bit words, each an integer in [0, 2^32). */
export type U32x4 = readonly [number, number, number, number];
/** Two 32-bit words, each an integer in [0, 2^32). */
export type U32x2 = readonly [number, number];

/** Philox 4x32's multipliers and key increments (the golden ratio and sqrt(3) - 1 as 32-bit fractions). */
export const philoxConstants = {
  multipliers: [0xd2511f53, 0xcd9e8d57],
  increments: [0x9e3779b9, 0xbb67ae85],
} as const;
const [M0, M1] = philoxConstants.multipliers;
const [W0, W1] = philoxConstants.increments;

/**
 * Philox 4x32-10: four independent uniform u32 words as a pure function of counter and key, so that any
 * element of a random stream is computed alone, on the host or in any GPU invocation, with the same result.
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 *
 * @example
 * philox4x32([0, 0, 0, 0], [0, 0])[0].toString(16); // '6627e8d5'
 */
export function philox4x32(counter: U32x4, key: U32x2): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const hi0 = mulHigh(M0, c0);
    const lo0 = Math.imul(M0, c0);
    const hi1 = mulHigh(M1, c2);
    const lo1 = Math.imul(M1, c2);
    c0 = (hi1 ^ c1 ^ k0) >>> 0;
    c1 = lo1 >>> 0;
    c2 = (hi0 ^ c3 ^ k1) >>> 0;
    c3 = lo0 >>> 0;
    k0 = (k0 + W0) >>> 0;
    k1 = (k1 + W1) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** Upper 32 bits of the 64-bit product of two u32, by 16-bit halves: every partial sum stays below 2^32. */
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + (middle >>> 16) + (carry >>> 16)) >>> 0;
}

/** Everything a Random needs to go on where it stopped; plain JSON. */
export interface RandomState {
  readonly seed: number;
  readonly stream: number;
  /** How many u32 words have been drawn. */
  readonly drawn: number;
  /** The second value of the last Box-Muller pair, null when it has been given out. */
  readonly spareNormal: number | null;
}

/**
 * Seeded random numbers on the host, for shuffles, splits and samplers: Philox 4x32-10 keyed by the seed, its
 * counter the block number and the stream. Equal (seed, stream) give equal numbers on every machine; streams
 * of one seed are independent, so a per-epoch shuffle takes the epoch as its stream and needs no state of the
 * epochs before it.
 *
 * @example
 * const random = new Random(7);
 * random.int(6); // 3
 * random.permutation(4); // [1, 2, 3, 0]
 */
export class Random {
  private readonly seed: number;
  private readonly stream: number;
  private drawn = 0;
  private spareNormal: number | null = null;
  private block: readonly number[] = [];

  /** seed and stream: integers in [0, 2^53). */
  constructor(seed: number, stream = 0) {
    this.seed = wholeNumber('seed', seed);
    this.stream = wholeNumber('stream', stream);
  }

  /** Next integer in [0, 2^32). */
  nextU32(): number {
    const word = this.drawn % 4;
    if (word === 0 || this.block.length === 0) {
      const index = Math.floor(this.drawn / 4);
      this.block = philox4x32([...words(index), ...words(this.stream)], words(this.seed));
    }
    this.drawn++;
    return this.block[word]!;
  }

  /** Next number in [0, 1), a multiple of 2^-24: exact in f32, hence the same on the GPU. */
  uniform(): number {
    return (this.nextU32() >>> 8) / 0x1000000;
  }

  /** Next sample of the standard normal distribution (Box and Muller, 1958); magnitudes up to 6.7. */
  normal(): number {
    if (this.spareNormal !== null) {
      const spare = this.spareNormal;
      this.spareNormal = null;
      return spare;
    }
    const radius = Math.sqrt(-2 * Math.log((this.nextU32() + 1) / 0x100000000));
    const angle = 2 * Math.PI * (this.nextU32() / 0x100000000);
    this.spareNormal = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  /** Next integer in [0, n), every value equally likely; n from 1 to 2^32. */
  int(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 0x100000000) {
      throw new Error(`Random.int: n must be an integer from 1 to 2^32, got ${n}`);
    }
    // The words above the last whole multiple of n would favour small values: draw again.
    const limit = 0x100000000 - (0x100000000 % n);
    let word = this.nextU32();
    while (word >= limit) word = this.nextU32();
    return word % n;
  }

  /** Shuffles in place (Fisher-Yates) and returns the same array. */
  shuffle<T extends { length: number; [index: number]: unknown }>(items: T): T {
    const values: { [index: number]: unknown } = items;
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.int(i + 1);
      [values[i], values[j]] = [values[j], values[i]];
    }
    return items;
  }

  /** The integers 0..n-1 in random order. */
  permutation(n: number): number[] {
    return this.shuffle(Array.from({ length: n }, (_, i) => i));
  }

  state(): RandomState {
    return { seed: this.seed, stream: this.stream, drawn: this.drawn, spareNormal: this.spareNormal };
  }

  /** A generator that goes on exactly where the one that gave `state` stopped. */
  static fromState(state: RandomState): Random {
    const random = new Random(state.seed, state.stream);
    random.drawn = wholeNumber('drawn', state.drawn);
    random.spareNormal = state.spareNormal;
    return random;
  }
}

function wholeNumber(name: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new Error(`Random: ${name} must be an integer from 0 to 2^53 - 1, got ${value}`);
  }
  return value;
}

/** Low and high 32-bit words. */
function words(value: number): [number, number] {
  return [value >>> 0, Math.floor(value / 0x100000000)];
}
