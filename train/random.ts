import { philox4x32 } from '../kernels/philox.ts';

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
