import { grad } from './backward.ts';
import { enableGrad, isGradEnabled } from './grad-mode.ts';
import { defineView } from './op.ts';
import type { Vjp } from './op.ts';
import { applyView } from './tape.ts';
import type { Tensor } from './tensor.ts';

const aliasOp = defineView<null>({ name: 'alias', view: (layout) => layout, vjp: ({ g }) => [g] });

/**
 * Derivative rule of a fused op from a composite of ops that computes the same: the fused kernel serves the
 * forward pass, the composite any order of differentiation. The op must save all its inputs.
 */
export function compositeVjp<A>(fn: (inputs: readonly Tensor[], attrs: A) => readonly Tensor[]): Vjp<A> {
  return ({ grads, input, specs, attrs, needs }) => {
    const createGraph = isGradEnabled();
    return enableGrad(() => {
      // Aliases make the inputs independent of each other: only the composite itself is differentiated.
      const aliases = specs.map((_, i) => (needs(i) ? applyView(aliasOp, input(i), null) : input(i)));
      const outputs = fn(aliases, attrs);
      const wanted = specs.flatMap((_, i) => (needs(i) ? [i] : []));
      const found = grad(
        outputs,
        wanted.map((i) => aliases[i]!),
        { gradOutputs: grads, createGraph },
      );
      return specs.map((_, i) => found[wanted.indexOf(i)] ?? null);
    });
  };
}
