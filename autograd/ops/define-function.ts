import { applyFunction } from '../tape.ts';
import { Tensor } from '../tensor.ts';

/** What the derivative of a function reads. */
export interface FunctionContext<Inputs> {
  /** Cotangent of the first output. */
  readonly g: Tensor;
  /** Cotangents of all outputs; zeros where nothing used an output. */
  readonly grads: readonly Tensor[];
  readonly inputs: Inputs;
  readonly outputs: readonly Tensor[];
  /** Whether an input, by its number, needs a gradient: skip work where it does not. */
  needs(input: number): boolean;
}

export interface FunctionRecord<Inputs extends readonly Tensor[], Outputs extends Tensor | readonly Tensor[]> {
  /** For errors. */
  readonly name: string;
  /** Computes the outputs, without gradients of its own. */
  forward(...inputs: Inputs): Outputs;
  /** Cotangents of the inputs, in their order, of their shapes and types; null where there is none. */
  vjp(context: FunctionContext<Inputs>): readonly (Tensor | null)[];
  /** What `vjp` reads, and is kept until then; default both. */
  readonly saves?: readonly ('inputs' | 'outputs')[];
}

/**
 * Returns a function made of ops, with a derivative of its own in the place of theirs, as
 * torch.autograd.Function: for one that is smoother or cheaper than what the chain rule gives. `forward` and
 * `vjp` are written in ops, so the function compiles, and has second derivatives where `vjp` has. Errors in
 * backward: `vjp` gives another number of cotangents than there are inputs, or one of another shape or type.
 *
 *     defineFunction({ name: 'round', forward: (x: Tensor) => x.round(), vjp: ({ g }) => [g] });
 *
 * @example
 * // Rounds, and lets the gradient through.
 * const straight = defineFunction({ name: 'round', forward: (x: Tensor) => x.round(), vjp: ({ g }) => [g] });
 * const x = tensor([1.6], { requiresGrad: true });
 * grad(straight(x).sum(), [x]); // [[1]]
 */
export function defineFunction<Inputs extends readonly Tensor[], Outputs extends Tensor | readonly Tensor[]>(
  record: FunctionRecord<Inputs, Outputs>,
): (...inputs: Inputs) => Outputs {
  const { name, saves = ['inputs', 'outputs'] } = record;
  const saved = {
    inputs: saves.includes('inputs') ? (['x'] as const) : [],
    outputs: saves.includes('outputs') ? (['y'] as const) : [],
  };
  return (...inputs) => {
    let single = false;
    const forward = (): readonly Tensor[] => {
      const made: Tensor | readonly Tensor[] = record.forward(...inputs);
      single = made instanceof Tensor;
      return made instanceof Tensor ? [made] : made;
    };
    const outputs = applyFunction(name, inputs, forward, saved, ({ grads, input, output, needs }) => {
      const found = record.vjp({
        grads: grads.y,
        get g() {
          return grads.y[0]!;
        },
        get inputs() {
          return input('x') as unknown as Inputs;
        },
        get outputs() {
          return output('y');
        },
        needs: (place) => needs('x', place),
      });
      if (found.length !== inputs.length)
        throw new Error(`${name}: its vjp gives ${found.length} cotangents for ${inputs.length} inputs; null for none`);
      return { x: found };
    });
    return (single ? outputs[0]! : outputs) as Outputs;
  };
}
