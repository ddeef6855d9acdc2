import { refuseWhileCapturing } from './context.ts';
import type { Draw } from '../kernels/random.ts';

/** State of the device's random numbers: seed, and the number of draws so far. */
export interface RandomState {
  readonly seed: number;
  readonly stream: number;
}

let state: RandomState = { seed: Math.floor(Math.random() * 2 ** 48), stream: 0 };

/**
 * Seeds dropout, sampling and initialisation: the same seed and the same calls give the same numbers on every
 * device.
 *
 * @example
 * manualSeed(1);
 * const first = rand(3);
 * manualSeed(1);
 * first.eq(rand(3)); // [true, true, true]
 */
export function manualSeed(seed: number): void {
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new Error(`manualSeed: the seed must be a whole number from 0 to 2^53 - 1, got ${seed}`);
  refuseWhileCapturing('manualSeed', 'a compiled function would seed once, when it is captured; seed before the call');
  state = { seed, stream: 0 };
}

/**
 * @example
 * const state = randomState();
 * const first = rand(3);
 * setRandomState(state);
 * first.eq(rand(3)); // [true, true, true]
 */
export function randomState(): RandomState {
  return state;
}

/**
 * @example
 * // As manualSeed(7).
 * setRandomState({ seed: 7, stream: 0 });
 */
export function setRandomState({ seed, stream }: RandomState): void {
  state = { seed, stream };
}

/** Takes the next stream: each application of a random op draws from its own. */
export function nextDraw(): Draw {
  const { seed, stream } = state;
  state = { seed, stream: stream + 1 };
  return { key: [seed >>> 0, Math.floor(seed / 2 ** 32)], stream };
}
