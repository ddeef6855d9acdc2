import { grad } from '../backward.ts';
import { enableGrad, isGradEnabled } from '../context.ts';
import { defineView, formOf, namedOf } from '../op.ts';
import type { Cotangents, Tensors, Vjp } from '../op.ts';
import { applyView } from '../tape.ts';
import type { Tensor } from '../tensor.ts';

const aliasOp = defineView<null>({ name: 'alias', view: (layout) => layout, vjp: ({ g }) => g });

/**
 * Returns the derivative rule of a fused op by differentiating `fn`, which computes the same outputs with
 * other ops. It serves derivatives of any order. The op must save all inputs that fn reads.
 */
export function compositeVjp<I extends Tensors, O extends Tensors, A>(fn: (inputs: I, attrs: A) => O): Vjp<I, O, A> {
  return ({ grads, input, specs, attrs, needs }) => {
    const createGraph = isGradEnabled();
    return enableGrad(() => {
      const form = formOf(specs as Tensors);
      const wanted: Tensor[] = [];
      // Detached inputs are leaves: only the composite itself is differentiated.
      const inputs = form.map(([name]) => {
        const x = input(name) as Tensor;
        if (!needs(name)) return x;
        const alias = applyView(aliasOp, x, null);
        wanted.push(alias);
        return alias;
      });
      const outputs = fn(namedOf(form, inputs) as unknown as I, attrs);
      // An output may depend on none of them, as the gradient of a bias does on none but g.
      const roots = Object.entries(outputs).filter(([, y]) => (y as Tensor).requiresGrad);
      const gradOutputs = roots.map(([name]) => grads[name]! as Tensor);
      const found = grad(
        roots.map(([, y]) => y as Tensor),
        wanted,
        { gradOutputs, createGraph },
      );
      const cotangents = form.map(([name], i) => [name, found[wanted.indexOf(inputs[i]!)] ?? null] as const);
      return Object.fromEntries(cotangents) as Cotangents<I>;
    });
  };
}
