import { HeldTensors } from './graph.ts';
import type { SavedTensors } from './graph.ts';
import type { Saves } from './op.ts';
import type { Tensor } from './tensor.ts';

/** Decides how the tensors that a derivative reads are kept. */
export type Saver = (saves: Saves, inputs: readonly Tensor[], outputs: readonly Tensor[]) => SavedTensors;

const hold: Saver = (saves, inputs, outputs) => new HeldTensors(saves, inputs, outputs);
let saver = hold;

export function saveFor(saves: Saves, inputs: readonly Tensor[], outputs: readonly Tensor[]): SavedTensors {
  return saver(saves, inputs, outputs);
}

/** Runs fn with another way of saving; checkpoints use it to save nothing. */
export function withSaver<T>(other: Saver, fn: () => T): T {
  const before = saver;
  saver = other;
  try {
    return fn();
  } finally {
    saver = before;
  }
}

/** The way of saving that holds the tensors themselves. */
export const holdTensors = hold;
