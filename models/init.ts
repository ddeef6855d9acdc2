import { assign, full, noGrad, normal, slice, uniform, zeros } from '../autograd/index.ts';
import { emptyTensor } from '../autograd/tensor.ts';
import type { Tensor } from '../autograd/index.ts';
import { Parameter, parametersIn } from './parameter.ts';

/** Makes the first values of a parameter. The random ones draw from the stream that `manualSeed` sets. */
export type Initializer = (shape: readonly number[]) => Tensor;

export const zerosInit: Initializer = (shape) => zeros(shape);
export const onesInit: Initializer = (shape) => full(shape, 1);

/** Normal with mean 0: Transformers' `initializer_range` is its deviation. */
export const normalInit =
  (std: number): Initializer =>
  (shape) =>
    normal(shape, { std });

/** Even in [-bound, bound). */
export const uniformInit =
  (bound: number): Initializer =>
  (shape) =>
    uniform(shape, { low: -bound, high: bound });

/** Even with variance 2 / (in + out) for a weight [out, in] (Glorot and Bengio 2010). */
export const xavierUniformInit: Initializer = (shape) => uniformInit(Math.sqrt(6 / (shape[0]! + shape[1]!)))(shape);

/** As `init`, with one row of zeros: the embedding of the padding token. */
export const zeroRowInit =
  (init: Initializer, row: number): Initializer =>
  (shape) => {
    const table = init(shape);
    assign(slice(table, row), zeros(shape.slice(1)));
    return table;
  };

let postponed: Map<Parameter, Initializer> | undefined;

/** A new parameter. Inside `postponeInit` it gets its values only when asked for. */
export function parameter(shape: readonly number[], init: Initializer): Parameter {
  if (!postponed) return new Parameter(init(shape));
  const made = new Parameter(emptyTensor(shape, 'f32', 'parameter'));
  postponed.set(made, init);
  return made;
}

/**
 * Parameters whose rows lie side by side in one table [shape], whose values are drawn as for a single
 * parameter: the i-th has the next `rows[i]` of them.
 */
export function parametersSideBySide(
  shape: readonly number[],
  rows: readonly number[],
  init: Initializer,
): Parameter[] {
  const parts = parametersIn(postponed ? emptyTensor(shape, 'f32', 'parameter') : init(shape), rows);
  for (const part of parts) postponed?.set(part, init);
  return parts;
}

/**
 * Builds a module without computing first values that a checkpoint is about to overwrite. `initialise`
 * computes those of one parameter, for the ones the checkpoint lacks.
 */
export function postponeInit<M>(build: () => M): { module: M; initialise: (parameter: Parameter) => void } {
  const outer = postponed;
  const waiting = new Map<Parameter, Initializer>();
  postponed = waiting;
  try {
    const module = build();
    const initialise = (target: Parameter): void => {
      const init = waiting.get(target);
      if (!init)
        throw new Error(`initialise: this parameter of shape [${target.shape.join(', ')}] was not made by the build`);
      const values = init(target.shape);
      noGrad(() => assign(target, values));
      values.storage.free();
    };
    return { module, initialise };
  } finally {
    postponed = outer;
  }
}
