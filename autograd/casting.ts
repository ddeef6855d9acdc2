import type { Tensor } from './tensor.ts';

/** Changes the inputs of an application before it goes onto the tape. */
export interface Casting {
  /** The inputs of op `name` in the types it is to take. */
  readonly inputs: (name: string, inputs: readonly Tensor[]) => readonly Tensor[];
  /** What ops store that compute in f32 whatever they are given. */
  readonly store: 'f16';
  /** The same for another run of the same function, as a checkpoint makes one. */
  readonly again: () => Casting;
}

let current: Casting | undefined;

/** How the types of inputs are changed now; see `autocast`. */
export function casting(): Casting | undefined {
  return current;
}

/**
 * Runs fn with another way of changing types; undefined for none, which backward asks for: its rules know the
 * types they want.
 */
export function withCasting<T>(other: Casting | undefined, fn: () => T): T {
  const before = current;
  current = other;
  try {
    return fn();
  } finally {
    current = before;
  }
}

/** Type that norms store their results in; undefined: that of their input. */
export function autocastStore(): 'f16' | undefined {
  return current?.store;
}
