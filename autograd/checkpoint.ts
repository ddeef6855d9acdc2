import { inOwnRegion } from './capture.ts';
import { casting, withCasting } from './casting.ts';
import { enableGrad, isGradEnabled } from './grad-mode.ts';
import { HeldTensors } from './graph.ts';
import type { SavedTensors } from './graph.ts';
import { randomState, setRandomState } from './random.ts';
import { withSaver } from './saving.ts';

/**
 * Runs fn without keeping what its backward pass needs, and computes that again when backward gets there:
 * memory for time (Chen et al. 2016, "Training deep nets with sublinear memory cost"). The second run draws
 * the same random numbers. fn may use tensors and parameters from outside; it must be deterministic otherwise
 * and must not change state. Both run under the `autocast` of the first.
 */
export function checkpoint<T>(fn: () => T): T {
  if (!isGradEnabled()) return fn();
  const region = new Region(fn, randomState());
  return withSaver((saves, inputs, outputs) => region.register(saves, inputs, outputs), fn);
}

/**
 * The applications of one call of fn, by their order; filled again by a second call when the first of them is
 * needed.
 */
class Region {
  private readonly fn: () => unknown;
  private readonly random: ReturnType<typeof randomState>;
  private readonly casting = casting();
  private count = 0;
  private again: HeldTensors[] | undefined;

  constructor(fn: () => unknown, random: ReturnType<typeof randomState>) {
    this.fn = fn;
    this.random = random;
  }

  register(...[saves]: ConstructorParameters<typeof HeldTensors>): SavedTensors {
    const ordinal = this.count++;
    // Nothing is held where nothing is saved, and nothing need be computed again for it.
    if (!saves.inputs?.length && !saves.outputs?.length) return new HeldTensors({}, [], []);
    return { get: (kind, i, op) => this.recompute(op)[ordinal]!.get(kind, i, op) };
  }

  private recompute(op: string): HeldTensors[] {
    if (this.again) return this.again;
    const filled: HeldTensors[] = [];
    const now = randomState();
    setRandomState(this.random);
    try {
      withSaver(
        (saves, inputs, outputs) => {
          const held = new HeldTensors(saves, inputs, outputs);
          filled.push(held);
          return held;
        },
        () => withCasting(this.casting?.again(), () => inOwnRegion(() => enableGrad(this.fn))),
      );
    } finally {
      setRandomState(now);
    }
    if (filled.length !== this.count) {
      throw new Error(
        `checkpoint: ${op} needs values that the second run did not make (${filled.length} applications instead of ${this.count}); fn must do the same each time`,
      );
    }
    this.again = filled;
    return filled;
  }
}
