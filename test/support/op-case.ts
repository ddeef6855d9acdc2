import type { Dtype, Tensor } from '../../autograd/index.ts';
import type { Nd } from './nd.ts';

/** What an input holds: its shape and type, and either uniform random numbers of a range or given values. */
export interface InputSpec {
  readonly shape: readonly number[];
  readonly dtype: Dtype;
  /** Uniform between these (whole numbers, both ends included, for integers); default -2 to 2. */
  readonly range?: readonly [number, number];
  readonly values?: readonly number[];
  /** Whether gradients are checked; default for floats. */
  readonly differentiable?: boolean;
}

/** One case of an op: one line in test/ops/. */
export interface OpCase {
  /** The name the op goes by on the tape. The driver checks that the case really applies it. */
  readonly op: string;
  /** Tells cases of one op apart where their shapes do not. */
  readonly note?: string;
  readonly inputs: readonly InputSpec[];
  readonly run: (...x: Tensor[]) => Tensor | readonly Tensor[];
  /** The same in float64, by plain loops. */
  readonly ref: (...x: Nd[]) => Nd | readonly Nd[];
  /** Other ops, mostly derivatives' kernels, that the gradients of this case apply and check. */
  readonly covers?: readonly string[];
  /** Compare gradients with differences of the reference; default true. Off at kinks and for what has no gradient. */
  readonly grad?: boolean;
  /** Gradients known in closed form (for a cotangent of ones), in the place of differences: kinks and ties. */
  readonly grads?: readonly (readonly number[])[];
  /** Also compare second derivatives: for smooth functions, on small cases. */
  readonly second?: boolean;
  /** Factor on the tolerance, with the reason beside it. */
  readonly loose?: number;
  /** Absolute error allowed, relative to the largest magnitude among a result's elements; default that of the type. */
  readonly type?: Dtype;
  /** Also run with inputs that are not row-major; default true. */
  readonly strided?: boolean;
}

/** An argument that must be refused. */
export interface ErrorCase {
  readonly op: string;
  readonly run: () => unknown;
  /** What the message must say: the shapes or values at fault. It must also start with the op's name and fit one line. */
  readonly says: RegExp;
}

type InputOptions = Omit<InputSpec, 'shape' | 'dtype'>;

export const f32 = (shape: readonly number[], ...range: number[]): InputSpec => input('f32', shape, range);
export const f16 = (shape: readonly number[], ...range: number[]): InputSpec => input('f16', shape, range);
export const i32 = (shape: readonly number[], ...range: number[]): InputSpec => input('i32', shape, range);
export const u32 = (shape: readonly number[], ...range: number[]): InputSpec => input('u32', shape, range);
export const bool = (shape: readonly number[]): InputSpec => input('bool', shape, [0, 1]);

/** A vector of these values, or another shape of them. */
export const values = (list: readonly number[], options: InputOptions & { readonly shape?: readonly number[]; readonly dtype?: Dtype } = {}): InputSpec => ({
  shape: [list.length],
  dtype: 'f32',
  ...options,
  values: list,
});

function input(dtype: Dtype, shape: readonly number[], [low, high]: readonly number[]): InputSpec {
  return { shape, dtype, range: low === undefined ? undefined : [low, high!] };
}
