import type { Target } from '../gpu/device.ts';
import type { Dispatch } from '../gpu/dispatch.ts';

const capacity = 1024;

/**
 * Remembers the dispatches that a generator made of equal operands and attributes: generators are pure, and a
 * model asks for the same few dozen kernels in every step. Worth it for long sources: half of the host's
 * share of a training step went into writing those of matmul again. Operands and attributes must be plain
 * data.
 */
export function memoise<K, A, T extends object = Target>(
  generate: (operands: K, attrs: A, target: T) => Dispatch,
): (operands: K, attrs: A, target: T) => Dispatch {
  const made = new WeakMap<T, Map<string, Dispatch>>();
  return (operands, attrs, target) => {
    const known = made.get(target) ?? new Map<string, Dispatch>();
    made.set(target, known);
    const key = JSON.stringify([operands, attrs]);
    let dispatch = known.get(key);
    if (!dispatch) {
      if (known.size >= capacity) known.clear();
      dispatch = generate(operands, attrs, target);
      known.set(key, dispatch);
    }
    return dispatch;
  };
}
