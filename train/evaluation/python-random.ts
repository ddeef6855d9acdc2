/**
 * Python's `random.Random(seed)`, number for number, so that the examples and the bootstraps of
 * lm-evaluation-harness come out as they do there: the Mersenne Twister MT19937 (Matsumoto and Nishimura
 * 1998), seeded by its `init_by_array` with the seed's one word.
 */
export class PythonRandom {
  readonly #state = new Uint32Array(size);
  #at = size;

  /** seed: a whole number in [0, 2^32). */
  constructor(seed: number) {
    if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32)
      throw new Error(`PythonRandom: the seed must be a whole number from 0 to 2^32 - 1, got ${seed}`);
    const state = this.#state;
    state[0] = 19650218;
    const stir = (i: number, by: number): number => Math.imul(state[i - 1]! ^ (state[i - 1]! >>> 30), by);
    for (let i = 1; i < size; i++) state[i] = stir(i, 1812433253) + i;
    let i = 1;
    const next = (): void => {
      if (++i < size) return;
      state[0] = state[size - 1]!;
      i = 1;
    };
    for (let k = 0; k < size; k++, next()) state[i] = (state[i]! ^ stir(i, 1664525)) + seed;
    for (let k = 1; k < size; k++, next()) state[i] = (state[i]! ^ stir(i, 1566083941)) - i;
    state[0] = 0x80000000;
  }

  /** Next whole number in [0, 2^32). */
  nextU32(): number {
    if (this.#at === size) this.#twist();
    let y = this.#state[this.#at++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  /** `random()`: the next number in [0, 1), of 53 bits. */
  random(): number {
    const high = this.nextU32() >>> 5;
    return (high * 2 ** 26 + (this.nextU32() >>> 6)) / 2 ** 53;
  }

  /** `sample(items, k)`: k different places of `count`, in the order in which they are drawn. */
  sample(count: number, k: number): number[] {
    if (k > count) throw new Error(`PythonRandom: ${k} of ${count} cannot be drawn; ask for fewer`);
    // A list of those left, or, where it would be long beside k, a set of those drawn.
    const most = k > 5 ? 21 + 4 ** Math.ceil(Math.log(3 * k) / Math.log(4)) : 21;
    if (count > most) {
      const drawn = new Set<number>();
      while (drawn.size < k) drawn.add(this.#below(count));
      return [...drawn];
    }
    const left = Array.from({ length: count }, (_, i) => i);
    return Array.from({ length: k }, (_, i) => {
      const at = this.#below(count - i);
      const place = left[at]!;
      left[at] = left[count - i - 1]!;
      return place;
    });
  }

  /** `_randbelow`: as many bits as n has, drawn again until they are below it. */
  #below(n: number): number {
    const bits = 32 - Math.clz32(n);
    for (;;) {
      const drawn = this.nextU32() >>> (32 - bits);
      if (drawn < n) return drawn;
    }
  }

  #twist(): void {
    const state = this.#state;
    for (let i = 0; i < size; i++) {
      const y = (state[i]! & 0x80000000) | (state[(i + 1) % size]! & 0x7fffffff);
      state[i] = state[(i + 397) % size]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.#at = 0;
  }
}

/** Words of the twister's state. */
const size = 624;
