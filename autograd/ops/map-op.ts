import type { Dtype } from '../../kernels/kernel.ts';
import { differentiate } from '../../kernels/map/differentiate.ts';
import { input, scalar, substitute } from '../../kernels/map/expr.ts';
import type { Expr, Kind } from '../../kernels/map/expr.ts';
import { inputsOf } from '../../kernels/map/print.ts';
import type { Draw } from '../../kernels/random.ts';
import { broadcastShapes, promote, rangeOf, show } from '../shapes.ts';
import { elementwise } from '../lower/elementwise.ts';
import { defineOp, ShapeError } from '../op.ts';
import type { Op, Spec } from '../op.ts';
import { apply } from '../tape.ts';
import { isFloat } from '../tensor.ts';
import type { Tensor } from '../tensor.ts';
import { cast, sumTo } from './broadcast.ts';

/** An elementwise function: an expression, and its derivatives, which are made when first needed. */
export interface MapFunction {
  readonly name: string;
  readonly expr: Expr;
  readonly kinds: readonly Kind[];
  /** Converts integers to f32 first, as exp and division do. */
  readonly float: boolean;
  readonly autocast?: 'f32';
  /** Types that numbers must not have, and the mend for each. */
  readonly refuses?: Readonly<Partial<Record<Dtype, string>>>;
  derivatives?: readonly (Derivative | null)[];
}

/** A derivative is a map too; `operands` are places in [cotangent, ...inputs]. */
interface Derivative {
  readonly fn: MapFunction;
  readonly operands: readonly number[];
}

export interface MapAttrs {
  readonly fn: MapFunction;
  readonly scalars: readonly number[];
  readonly draws?: readonly Draw[];
}

/** Inputs by letters: a is input 0 of the expression. */
type MapInputs = Readonly<Record<string, Tensor>>;
const inputName = (i: number): string => 'abcdefgh'[i]!;

export const mapOp: Op<MapInputs, { y: Tensor }, MapAttrs> = defineOp<MapInputs, { y: Tensor }, MapAttrs>({
  ...elementwise<MapInputs, MapAttrs>(
    ({ fn }) => fn.name,
    (inputs, { fn, scalars, draws = [] }) => ({
      expr: fn.expr,
      kinds: fn.kinds,
      scalars,
      draws,
      compute: computeDtype(fn, inputs, scalars),
    }),
  ),
  infer(given, { fn, scalars }) {
    const inputs = Object.values(given);
    checkNumbers(fn, inputs, scalars);
    const shape = broadcastShapes(fn.name, ...inputs.map((x) => x.shape));
    return { y: { shape, dtype: fn.expr.kind === 'b' ? 'bool' : computeDtype(fn, inputs, scalars) } };
  },
  autocast: ({ fn }) => fn.autocast,
  saves({ fn }) {
    const read = new Set(derivativesOf(fn).flatMap((d) => d?.operands ?? []));
    return { inputs: fn.kinds.flatMap((_, i) => (read.has(i + 1) ? [inputName(i)] : [])) };
  },
  vjp({ g, input, specs, attrs: { fn, scalars, draws }, needs }) {
    const cotangents = derivativesOf(fn).map((derivative, i) => {
      const name = inputName(i);
      if (!derivative || !needs(name)) return [name, null] as const;
      const operands = derivative.operands.map((k) => (k === 0 ? g : input(inputName(k - 1))!));
      // The derivative of a sum is the cotangent itself.
      const full = derivative.fn.expr.op === 'input' ? operands[0]! : applyMap(derivative.fn, operands, scalars, draws);
      return [name, cast(sumTo(full, specs[name]!.shape), specs[name]!.dtype)] as const;
    });
    return Object.fromEntries(cotangents);
  },
});

/** Throws for numbers of a type that the function does not take, and a scalar that the type cannot hold. */
function checkNumbers(fn: MapFunction, inputs: readonly Spec[], scalars: readonly number[]): void {
  const { name, kinds, refuses } = fn;
  inputs.forEach(({ dtype, shape }, i) => {
    const mend = kinds[i] === 'v' && refuses?.[dtype];
    if (mend) throw new ShapeError(`${name}: does not take ${dtype} ${show(shape)}; ${mend}`);
  });
  if (scalars.length === 0) return;
  const dtype = computeDtype(fn, inputs, scalars);
  if (isFloat(dtype)) return;
  const [low, high] = rangeOf(dtype);
  const bad = scalars.find((value) => value < low || value > high);
  if (bad === undefined) return;
  const mend = dtype === 'u32' && bad >= -(2 ** 31) && bad < 0 ? 'i32' : 'f32';
  throw new ShapeError(`${name}: ${bad} does not fit ${dtype}; convert the tensor with to('${mend}')`);
}

/**
 * Returns the type that numbers are computed in: the one that holds all number operands; i32 for bool and a
 * whole number (true + 1 is 2, true + true is true).
 */
function computeDtype(fn: MapFunction, inputs: readonly Spec[], scalars: readonly number[]): Dtype {
  const numbers = inputs.filter((_, i) => fn.kinds[i] === 'v');
  const dtype = numbers.map((x) => x.dtype).reduce<Dtype>(promote, 'bool');
  if (isFloat(dtype)) return dtype;
  if (fn.float || scalars.some((s) => !Number.isInteger(s))) return 'f32';
  return dtype === 'bool' && scalars.length > 0 ? 'i32' : dtype;
}

function derivativesOf(fn: MapFunction): readonly (Derivative | null)[] {
  fn.derivatives ??= differentiate(fn.expr, fn.kinds.length).map((expr, i) => {
    if (!expr) return null;
    const operands = inputsOf(expr);
    const kinds = operands.map((k) => (k === 0 ? 'v' : fn.kinds[k - 1]!));
    const own = (leaf: Expr): Expr => (leaf.op === 'input' ? { ...leaf, value: operands.indexOf(leaf.value!) } : leaf);
    return {
      operands,
      fn: { name: `${fn.name}.d${i}`, expr: substitute(expr, own), kinds, float: true },
    };
  });
  return fn.derivatives;
}

/** Builds an expression from inputs x and scalars s. */
type Build = (x: Expr[], s: Expr[]) => Expr;

/** `autocast`: under autocast, inputs are converted to f32. */
type MapOptions = Partial<Pick<MapFunction, 'float' | 'autocast' | 'refuses'>> & { readonly scalars?: number };

const functions: MapFunction[] = [];

/** Every elementwise function defined so far, so that tests find those without cases. */
export function mapFunctions(): readonly MapFunction[] {
  return functions;
}

/** Defines an elementwise function of inputs of the given kinds. */
export function mapFunction(name: string, kinds: readonly Kind[], build: Build, options: MapOptions = {}): MapFunction {
  const x = kinds.map((kind, i) => input(i, kind));
  const s = Array.from({ length: options.scalars ?? 0 }, (_, i) => scalar(i));
  const { float = false, autocast, refuses } = options;
  const fn = { name, expr: build(x, s), kinds, float, autocast, refuses };
  functions.push(fn);
  return fn;
}

export function applyMap(
  fn: MapFunction,
  inputs: readonly Tensor[],
  scalars: readonly number[] = [],
  draws?: readonly Draw[],
): Tensor {
  const named = Object.fromEntries(inputs.map((x, i) => [inputName(i), x]));
  return apply(mapOp, named, draws ? { fn, scalars, draws } : { fn, scalars }).y;
}

/**
 * Defines a function of one tensor: one line in the tables of ops.
 *
 * @example
 * const cube = unary('cube', (x) => expr.mul(x, expr.mul(x, x)));
 * cube(tensor([1, 2])); // [1, 8]
 */
export function unary(name: string, build: (x: Expr) => Expr, options: MapOptions = {}): (x: Tensor) => Tensor {
  const fn = mapFunction(name, ['v'], ([x]) => build(x!), options);
  return (x) => applyMap(fn, [x]);
}

/**
 * Defines a function of two operands, tensors or numbers, with broadcasting.
 *
 * @example
 * const distance = binary('distance', (a, b) => expr.abs(expr.sub(a, b)));
 * distance(tensor([1, 5]), 3); // [2, 2]
 */
export function binary(
  name: string,
  build: (a: Expr, b: Expr) => Expr,
  options: MapOptions = {},
): (a: Tensor | number, b: Tensor | number) => Tensor {
  const both = mapFunction(name, ['v', 'v'], ([a, b]) => build(a!, b!), options);
  const right = mapFunction(name, ['v'], ([a], [s]) => build(a!, s!), { ...options, scalars: 1 });
  const left = mapFunction(name, ['v'], ([b], [s]) => build(s!, b!), { ...options, scalars: 1 });
  return (a, b) => {
    if (a === undefined || b === undefined) throw new TypeError(`${name}: an operand is undefined`);
    if (typeof a === 'number') {
      if (typeof b === 'number')
        throw new TypeError(`${name}: one operand must be a tensor, got the numbers ${a} and ${b}`);
      return applyMap(left, [b], [a]);
    }
    return typeof b === 'number' ? applyMap(right, [a], [b]) : applyMap(both, [a, b]);
  };
}
