/** Numbers that every process makes alike, so that inputs need not travel between them. */

export interface HostArray {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}

/** Arrays by name. */
export type HostArrays = Readonly<Record<string, HostArray>>;

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);

/** Words in [0, 2^32), seeded by a name, of which it takes the FNV-1a hash. */
function words(seed: string): () => number {
  let state = 2166136261;
  for (let i = 0; i < seed.length; i++) state = Math.imul(state ^ seed.charCodeAt(i), 16777619) >>> 0;
  return random(state);
}

/** Words in [0, 2^32) from a seed: Mulberry32. Fast, and good enough for benchmarks. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

/** Even around 0 with the given standard deviation. */
export function noise(seed: string, shape: readonly number[], deviation = 1): HostArray {
  const next = words(seed);
  const half = Math.sqrt(3) * deviation;
  return { shape, data: Float32Array.from({ length: sizeOf(shape) }, () => half * (next() / 2 ** 31 - 1)) };
}

/** Whole numbers in [0, below). */
export function integers(seed: string, shape: readonly number[], below: number): HostArray {
  const next = words(seed);
  return { shape, data: Int32Array.from({ length: sizeOf(shape) }, () => next() % below) };
}

/** One value everywhere. */
export function constant(shape: readonly number[], value: number): HostArray {
  return { shape, data: new Float32Array(sizeOf(shape)).fill(value) };
}
