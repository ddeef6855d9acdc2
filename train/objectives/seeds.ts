import { createHash } from 'node:crypto';

/**
 * A seed for one purpose of several that share a run's seed: equal (seed, purpose) give equal seeds, and no
 * two purposes the same random numbers.
 */
export function purposeSeed(seed: number, purpose: string): number {
  return createHash('sha256').update(`${seed}/${purpose}`).digest().readUIntBE(0, 6);
}
