import { context, enableGrad, isGradEnabled, newRegion, within } from '../context.ts';
import { randomState, setRandomState } from '../generator.ts';
import type { SavedTensors, Saver } from '../op.ts';
import { holdTensors } from '../tape.ts';

/**
 * Runs fn without keeping what its backward pass needs, and runs it again when backward gets there: less
 * memory for more time (Chen et al. 2016, "Training deep nets with sublinear memory cost";
 * torch.utils.checkpoint). The second run draws the same random numbers, under the same autocast. fn may use
 * tensors from outside; it must do the same each time and change no state. Backward throws where the second
 * run applies other ops. A compiled function plans its memory so; op by op inside of a `scope`, what fn made
 * is given back at the scope's end only.
 *
 * @example
 * const x = tensor([0], { requiresGrad: true });
 * checkpoint(() => x.exp().sin()).sum().backward();
 * x.grad; // [0.5403]
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

  // Applications of fn are identified by their order, which is the same in the second run.
  const forget: Saver = (inputs, outputs) => {
    const ordinal = applications++;
    // A derivative that reads no tensor needs no second run.
    if (![...inputs.reads, ...outputs.reads].includes(true)) return holdTensors(nothing, nothing);
    return { get: (kind, place, op) => (again ??= recompute(op))[ordinal]!.get(kind, place, op) };
  };
  return within({ saver: forget }, fn);
}
