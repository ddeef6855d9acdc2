import { philox4x32 } from '../../common/random.ts';
import { softmax } from './processors.ts';

/** The place of one draw: the same numbers for the same place, whatever else is drawn beside it. */
export interface Draw {
  /** An integer in [0, 2^53). */
  readonly seed: number;
  /** Number of the new token in its text. */
  readonly step: number;
  /** Number of the text among those of one prompt. */
  readonly sample: number;
}

/** Uniform in [0, 1), a multiple of 2^-53. */
function uniformAt({ seed, step, sample }: Draw): number {
  const [low, high] = philox4x32([step, sample, 0, 0], [seed >>> 0, Math.floor(seed / 2 ** 32)]);
  return (high * 2 ** 21 + (low >>> 11)) / 2 ** 53;
}

/**
 * A token with the probability that its score gives it (softmax): the first whose running sum, in the order
 * of ids, exceeds a uniform number.
 */
export function sampleToken(scores: ArrayLike<number>, draw: Draw): number {
  const chances = softmax(scores);
  let left = uniformAt(draw);
  let last = -1;
  for (let id = 0; id < chances.length; id++) {
    if (!(chances[id]! > 0)) continue;
    last = id;
    left -= chances[id]!;
    if (left < 0) return id;
  }
  return knownToken(last); // rounding: the sum came out below 1
}

/** The first of the largest. */
export function argmaxOf(scores: ArrayLike<number>): number {
  let best = 0;
  for (let id = 1; id < scores.length; id++) if (scores[id]! > scores[best]!) best = id;
  return knownToken(scores[best]! > -Infinity ? best : -1);
}

/** The id that was chosen; throws where there was none to choose, which is told as -1. */
export function knownToken(id: number): number {
  if (id < 0)
    throw new Error(
      'generate: no token has a probability (the logits are NaN or all ruled out); check the model with detectAnomaly',
    );
  return id;
}
