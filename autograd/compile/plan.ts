/** Memory that a program needs from step `first` to step `last`, both included. */
export interface Lifetime {
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

export interface MemoryPlan {
  /** Bytes of each buffer. */
  readonly buffers: readonly number[];
  /** The buffer of each lifetime. */
  readonly bufferOf: readonly number[];
  /** Bytes of all buffers together. */
  readonly total: number;
  /** Most bytes that are alive in one step: every plan needs as many. */
  readonly lowerBound: number;
}

/**
 * Assigns lifetimes that do not overlap to the same buffers: the largest first, each to the smallest buffer
 * that is free for its time (Pisarchyk and Lee 2020, "Efficient memory management for deep neural net
 * inference", greedy by size for shared objects). Buffers are never cut, because WebGPU's barriers are per
 * buffer.
 */
export function planMemory(lifetimes: readonly Lifetime[]): MemoryPlan {
  const order = lifetimes.map((_, i) => i).sort((a, b) => lifetimes[b]!.bytes - lifetimes[a]!.bytes);
  const buffers: { bytes: number; taken: Lifetime[] }[] = [];
  const bufferOf = new Array<number>(lifetimes.length);
  for (const i of order) {
    const life = lifetimes[i]!;
    const free = (b: { taken: readonly Lifetime[] }): boolean =>
      b.taken.every(({ first, last }) => last < life.first || first > life.last);
    // Buffers were made in descending size: the last free one is the tightest.
    let at = buffers.findLastIndex(free);
    if (at < 0) at = buffers.push({ bytes: life.bytes, taken: [] }) - 1;
    buffers[at]!.taken.push(life);
    bufferOf[i] = at;
  }
  return {
    buffers: buffers.map(({ bytes }) => bytes),
    bufferOf,
    total: buffers.reduce((sum, { bytes }) => sum + bytes, 0),
    lowerBound: mostAlive(lifetimes),
  };
}

function mostAlive(lifetimes: readonly Lifetime[]): number {
  const changes = new Map<number, number>();
  for (const { bytes, first, last } of lifetimes) {
    changes.set(first, (changes.get(first) ?? 0) + bytes);
    changes.set(last + 1, (changes.get(last + 1) ?? 0) - bytes);
  }
  let [alive, most] = [0, 0];
  for (const [, change] of [...changes].sort((a, b) => a[0] - b[0])) most = Math.max(most, (alive += change));
  return most;
}
