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
  /** The function's name, which is the op's on the tape unless it is composed of others. */
  readonly op: string;
  /** Tells cases of one op apart where their shapes do not. */
  readonly note?: string;
  readonly inputs: readonly InputSpec[];
  /** Given to manualSeed before each run. */
  readonly seed?: number;
  readonly run: (...x: Tensor[]) => Tensor | readonly Tensor[];
  /** The same in float64, by plain loops. */
  readonly ref: (...x: Nd[]) => Nd | readonly Nd[];
  /** Other ops that this case applies and checks: parts of a composite, and derivatives' kernels. */
  readonly covers?: readonly string[];
  /**
   * Compare gradients with differences of the reference; default true. Off at kinks and for what has no
   * gradient.
   */
  readonly grad?: boolean;
  /**
   * Gradients known in closed form, for a cotangent of ones, in the place of differences: at kinks and ties.
   */
  readonly grads?: readonly (readonly number[])[];
  /** Also compare second derivatives: for smooth functions, on small cases. */
  readonly second?: boolean;
  /** Factor on the tolerance; the reason stands beside it. */
  readonly loose?: number;
  /** Step of the differences, where the reference varies faster than in proportion to its arguments. */
  readonly step?: number;
  /**
   * Also run compiled, with elementwise work around it that fusion may move into its kernels; default true.
   */
  readonly compiled?: boolean;
  /** Also run with inputs that are not row-major; default true. */
  readonly strided?: boolean;
}

/** An argument that must be refused. */
export interface ErrorCase {
  readonly op: string;
  readonly run: () => unknown;
  /**
   * What the message must say: the shapes or values at fault. It must also start with the op's name and fit
   * one line.
   */
  readonly says: RegExp;
}

/** What a file of test/ops exports. */
export interface OpCases {
  readonly cases: readonly OpCase[];
  readonly errors?: readonly ErrorCase[];
}

export const f32 = (shape: readonly number[], ...range: number[]): InputSpec => input('f32', shape, range);
export const f16 = (shape: readonly number[], ...range: number[]): InputSpec => input('f16', shape, range);
export const i32 = (shape: readonly number[], ...range: number[]): InputSpec => input('i32', shape, range);
export const u32 = (shape: readonly number[], low = 0, high = 5): InputSpec => input('u32', shape, [low, high]);
export const bool = (shape: readonly number[]): InputSpec => input('bool', shape, [0, 1]);

/** These values: a vector, unless a shape is given. */
export const values = (list: readonly number[], options: Partial<InputSpec> = {}): InputSpec => ({
  shape: [list.length],
  dtype: 'f32',
  ...options,
  values: list,
});

/** An input whose gradient is not asked for. */
export const fixed = (spec: InputSpec): InputSpec => ({ ...spec, differentiable: false });

function input(dtype: Dtype, shape: readonly number[], [low, high]: readonly number[]): InputSpec {
  return { shape, dtype, range: low === undefined ? undefined : [low, high!] };
}
