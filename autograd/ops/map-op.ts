import type { Dtype } from '../../kernels/kernel.ts';
import { differentiate } from '../../kernels/map/differentiate.ts';
import { input, scalar } from '../../kernels/map/expr.ts';
import type { Expr, Kind } from '../../kernels/map/expr.ts';
import { inputsOf } from '../../kernels/map/print.ts';
import type { Draw } from '../../kernels/random.ts';
import { broadcastShapes, promote } from '../dtypes.ts';
import { elementwise } from '../elementwise.ts';
import { defineOp } from '../op.ts';
import type { Op, Spec } from '../op.ts';
import { apply } from '../tape.ts';
import { isFloat } from '../tensor.ts';
import type { Tensor } from '../tensor.ts';
import { cast, sumTo } from './broadcast.ts';

/** An elementwise function: its expression, and the derivatives made from it when first asked for. */
export interface MapFunction {
  readonly name: string;
  readonly expr: Expr;
  readonly kinds: readonly Kind[];
  /** Integers are converted to f32 first, as for exp or true division. */
  readonly float: boolean;
  derivatives?: readonly (Derivative | null)[];
}

/** A derivative is a map again; `operands` are positions in [cotangent, ...inputs]. */
interface Derivative {
  readonly fn: MapFunction;
  readonly operands: readonly number[];
}

export interface MapAttrs {
  readonly fn: MapFunction;
  readonly scalars: readonly number[];
  readonly draws?: readonly Draw[];
}

export const mapOp: Op<MapAttrs> = defineOp<MapAttrs>({
  ...elementwise<MapAttrs>(
    ({ fn }) => fn.name,
    (inputs, { fn, scalars, draws = [] }) => ({
      expr: fn.expr,
      kinds: fn.kinds,
      scalars,
      draws,
      compute: computeDtype(fn, inputs, scalars),
    }),
  ),
  infer(inputs, { fn, scalars }) {
    const shape = broadcastShapes(fn.name, ...inputs.map((x) => x.shape));
    return [{ shape, dtype: fn.expr.kind === 'b' ? 'bool' : computeDtype(fn, inputs, scalars) }];
  },
  saves({ fn }) {
    const read = new Set(derivativesOf(fn).flatMap((d) => d?.operands ?? []));
    return { inputs: fn.kinds.map((_, i) => i).filter((i) => read.has(i + 1)) };
  },
  vjp({ g, input, specs, attrs: { fn, scalars, draws }, needs }) {
    return derivativesOf(fn).map((derivative, i) => {
      if (!derivative || !needs(i)) return null;
      const operands = derivative.operands.map((k) => (k === 0 ? g : input(k - 1)));
      // Sums hand the cotangent on as it is.
      const full = derivative.fn.expr.op === 'input' ? operands[0]! : applyMap(derivative.fn, operands, scalars, draws);
      return cast(sumTo(full, specs[i]!.shape), specs[i]!.dtype);
    });
  },
});

/** Numbers are computed in the type that holds all number operands. */
function computeDtype(fn: MapFunction, inputs: readonly Spec[], scalars: readonly number[]): Dtype {
  const numbers = inputs.filter((_, i) => fn.kinds[i] === 'v');
  const dtype = numbers.map((x) => x.dtype).reduce<Dtype>(promote, 'bool');
  if (isFloat(dtype)) return dtype;
  if (fn.float || scalars.some((s) => !Number.isInteger(s))) return 'f32';
  return dtype === 'bool' && fn.kinds.includes('v') ? (scalars.some((s) => s < 0) ? 'i32' : 'u32') : dtype;
}

function derivativesOf(fn: MapFunction): readonly (Derivative | null)[] {
  fn.derivatives ??= differentiate(fn.expr, fn.kinds.length).map((expr, i) => {
    if (!expr) return null;
    const operands = inputsOf(expr);
    const kinds = operands.map((k) => (k === 0 ? 'v' : fn.kinds[k - 1]!));
    return {
      operands,
      fn: { name: `${fn.name}.d${i}`, expr: renumber(expr, operands, new Map()), kinds, float: true },
    };
  });
  return fn.derivatives;
}

function renumber(e: Expr, operands: readonly number[], done: Map<Expr, Expr>): Expr {
  const known = done.get(e);
  if (known) return known;
  const moved: Expr =
    e.op === 'input'
      ? { ...e, value: operands.indexOf(e.value!) }
      : e.args.length === 0
        ? e
        : { ...e, args: e.args.map((a) => renumber(a, operands, done)) };
  done.set(e, moved);
  return moved;
}

/** Where a function's expression comes from: inputs and scalars as expressions. */
type Build = (x: Expr[], s: Expr[]) => Expr;

interface MapOptions {
  readonly float?: boolean;
  readonly scalars?: number;
}

const functions: MapFunction[] = [];

/** Every elementwise function defined so far, so that tests find those without cases. */
export function mapFunctions(): readonly MapFunction[] {
  return functions;
}

/** Defines an elementwise function of inputs of the given kinds. */
export function mapFunction(name: string, kinds: readonly Kind[], build: Build, options: MapOptions = {}): MapFunction {
  const x = kinds.map((kind, i) => input(i, kind));
  const s = Array.from({ length: options.scalars ?? 0 }, (_, i) => scalar(i));
  const fn = { name, expr: build(x, s), kinds, float: options.float ?? false };
  functions.push(fn);
  return fn;
}

export function applyMap(
  fn: MapFunction,
  inputs: readonly Tensor[],
  scalars: readonly number[] = [],
  draws?: readonly Draw[],
): Tensor {
  return apply(mapOp, inputs, draws ? { fn, scalars, draws } : { fn, scalars })[0]!;
}

/** A function of one tensor, one line each in the tables of ops. */
export function unary(name: string, build: (x: Expr) => Expr, options: MapOptions = {}): (x: Tensor) => Tensor {
  const fn = mapFunction(name, ['v'], ([x]) => build(x!), options);
  return (x) => applyMap(fn, [x]);
}

/** A function of two operands, tensors or numbers, with broadcasting. */
export function binary(
  name: string,
  build: (a: Expr, b: Expr) => Expr,
  options: MapOptions = {},
): (a: Tensor | number, b: Tensor | number) => Tensor {
  const both = mapFunction(name, ['v', 'v'], ([a, b]) => build(a!, b!), options);
  const right = mapFunction(name, ['v'], ([a], [s]) => build(a!, s!), { ...options, scalars: 1 });
  const left = mapFunction(name, ['v'], ([b], [s]) => build(s!, b!), { ...options, scalars: 1 });
  return (a, b) => {
    if (typeof a === 'number') {
      if (typeof b === 'number')
        throw new TypeError(`${name}: one operand must be a tensor, got the numbers ${a} and ${b}`);
      return applyMap(left, [b], [a]);
    }
    return typeof b === 'number' ? applyMap(right, [a], [b]) : applyMap(both, [a, b]);
  };
}
