import { context, enableGrad, isGradEnabled, newRegion, within } from './context.ts';
import { randomState, setRandomState } from './generator.ts';
import type { SavedTensors, Saver } from './op.ts';
import { holdTensors } from './tape.ts';

/**
 * Runs fn without keeping what its backward pass needs, and computes that again when backward gets there:
 * memory for time (Chen et al. 2016, "Training deep nets with sublinear memory cost"). The second run draws
 * the same random numbers. fn may use tensors and parameters from outside; it must be deterministic otherwise
 * and must not change state. Both run under the `autocast` of the first.
 */
export function checkpoint<T>(fn: () => T): T {
  if (!isGradEnabled()) return fn();
  const { autocast } = context();
  const random = randomState();
  const nothing = { tensors: [], reads: [] };
  let applications = 0;
  let again: SavedTensors[] | undefined;

  const recompute = (op: string): SavedTensors[] => {
    const filled: SavedTensors[] = [];
    const hold: Saver = (inputs, outputs) => {
      const held = holdTensors(inputs, outputs);
      filled.push(held);
      return held;
    };
    const now = randomState();
    setRandomState(random);
    try {
      const second = { saver: hold, autocast: autocast?.again(), region: newRegion() };
      within(second, () => enableGrad(fn));
    } finally {
      setRandomState(now);
    }
    if (filled.length !== applications) {
      throw new Error(
        `checkpoint: ${op} needs values that the second run did not make ` +
          `(${filled.length} applications instead of ${applications}); fn must do the same each time`,
      );
    }
    return filled;
  };

  // The applications of fn are known by their order: the second run makes the same ones.
  const forget: Saver = (inputs, outputs) => {
    const ordinal = applications++;
    // Nothing need be computed again for a derivative that reads nothing.
    if (![...inputs.reads, ...outputs.reads].includes(true)) return holdTensors(nothing, nothing);
    return { get: (kind, place, op) => (again ??= recompute(op))[ordinal]!.get(kind, place, op) };
  };
  return within({ saver: forget }, fn);
}
