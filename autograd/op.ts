import type { Target } from '../gpu/index.ts';
import type { Dtype } from '../kernels/kernel.ts';
import type { Layout } from '../kernels/layout.ts';
import type { Draw } from '../kernels/random.ts';
import type { Elements } from '../kernels/map/elements.ts';
import type { Expr, Kind } from '../kernels/map/expr.ts';
import type { ReduceKind } from '../kernels/reduce.ts';
import type { Kernel } from '../kernels/remember.ts';
import type { Tensor } from './tensor.ts';

/** A tensor's shape and type, without its data. */
export interface Spec {
  readonly shape: readonly number[];
  readonly dtype: Dtype;
}

/**
 * A bad argument of an op: the message is one line, `op: what is wrong; the mend`.
 *
 * @example
 * try {
 *   add(zeros(2), zeros(3));
 * } catch (error) {
 *   if (error instanceof ShapeError) console.log(error.message);
 * }
 */
export class ShapeError extends Error {
  override readonly name = 'ShapeError';
}

// Inputs and outputs by name

/** An op's inputs or outputs: one tensor, a list of them, or none under each name. */
export type Named<T> = Readonly<Record<string, T | readonly T[] | undefined>>;
export type Tensors = Named<Tensor>;

/** The same names, with U in the place of each tensor. */
export type Like<N, U> = {
  readonly [K in keyof N]: Exclude<N[K], undefined> extends readonly unknown[] ? readonly U[] : U;
};

/** Name and number of the tensors of a list; undefined for one that is no list. */
export type Form = readonly (readonly [name: string, count: number | undefined])[];

/** The names under which tensors are given, in order; absent ones are left out. */
export function formOf<T>(named: Named<T>): Form {
  const form: [string, number | undefined][] = [];
  for (const name in named) {
    const value = named[name];
    if (value !== undefined) form.push([name, isList(value) ? value.length : undefined]);
  }
  return form;
}

/** Returns the tensors under all names as one list. */
export function valuesOf<T>(named: Named<T>): T[] {
  const list: T[] = [];
  for (const name in named) {
    const value = named[name];
    if (isList(value)) list.push(...value);
    else if (value !== undefined) list.push(value);
  }
  return list;
}

/** The inverse of `valuesOf`. */
export function namedOf<T>(form: Form, list: readonly T[]): Named<T> {
  const named: Record<string, T | readonly T[]> = {};
  let at = 0;
  for (const [name, count] of form) {
    named[name] = count === undefined ? list[at]! : list.slice(at, at + count);
    at += count ?? 1;
  }
  return named;
}

/** For each place of the list, whether its name is one of `names`. */
export function placesOf(form: Form, names: readonly PropertyKey[] | undefined): boolean[] {
  return form.flatMap(([name, count]) => {
    const wanted = names?.includes(name) ?? false;
    return count === undefined ? [wanted] : new Array<boolean>(count).fill(wanted);
  });
}

function isList<T>(value: T | readonly T[] | undefined): value is readonly T[] {
  return Array.isArray(value);
}

// Lowering

/** Elementwise expressions and the tensors that they read and write, in their order. */
export interface Bound {
  readonly elements: Elements;
  readonly operands: readonly Tensor[];
  readonly outputs: readonly Tensor[];
}

/** Operands of a kernel as `emit` takes them: tensors, and bound expressions in the place of `Elements`. */
export type BoundTo<K> = {
  readonly [P in keyof K]: K[P] extends Elements | undefined
    ? Bound | Extract<K[P], undefined>
    : K[P] extends readonly unknown[]
      ? readonly Tensor[]
      : Tensor | Extract<K[P], undefined>;
};

/** Elementwise work that fusion moved into an op's kernels: behind its first output, and before inputs. */
export interface Fused {
  readonly sink?: Bound;
  readonly sources: ReadonlyMap<string, Bound>;
}

/** The means of an op's `lower`: it allocates scratch memory and emits dispatches. */
export interface Lowering<I = Tensors> {
  /** Of the op, for errors. */
  readonly name: string;
  readonly target: Target;
  /** Runs a kernel on operands by name: `emit(softmax, { x: source('x'), y: sink() }, { log })`. */
  emit<K extends object, A>(kernel: Kernel<K, A>, operands: BoundTo<K>, attrs: A): void;
  /** Scratch memory for this op, row-major. */
  temporary(shape: readonly number[], dtype: Dtype): Tensor;
  /** The tensor itself if its elements lie in row-major order (from any offset), else a copy that does. */
  contiguous(x: Tensor): Tensor;
  /** A copy in row-major order from offset 0. */
  copy(x: Tensor): Tensor;
  /**
   * How the kernel reads an input by element, over the input's shape, with what fusion moved before it;
   * `plain` where nothing was moved (default: the input as it lies).
   */
  source(input: keyof I, plain?: Bound): Bound;
  /** How the kernel stores the first output, with what fusion moved behind it. */
  sink(): Bound;
  /** Where this part of a large tensor begins along an axis of the op's `axes`, and how long the axis is. */
  part(axis: string): { readonly start: number; readonly whole: number } | undefined;
  /** Lowers another op on tensors of this one; `accumulate` adds to what the output holds. */
  run<J extends Tensors, O extends Tensors, A>(
    op: Op<J, O, A>,
    inputs: J,
    outputs: O,
    attrs: A,
    options?: { readonly accumulate?: boolean },
  ): void;
}

/**
 * The axes of an op's inputs and outputs by letters, as in einsum: `a: '...mk', b: '...kn', y: '...mn'`.
 * Tensors above the binding limit are cut along them (lower/split.ts).
 */
export interface Axes {
  /**
   * One letter an axis; `...` for leading axes that broadcast; capitals stay whole; `*` for all axes as one
   * run of elements. An axis that the first output lacks is reduced over.
   */
  readonly of: Readonly<Record<string, string>>;
  /** How parts of a reduced axis come together: default `sum`; `fill`: each part writes its own elements. */
  readonly combine?: ReduceKind | 'fill';
  /** Inputs that count once where an axis is reduced over in parts, such as a bias. */
  readonly once?: readonly string[];
  /** Kernels read inputs from any element on and through any strides; else parts begin at aligned places. */
  readonly anywhere?: boolean;
}

// Derivatives

export interface VjpContext<I, O, A> {
  /** Cotangents of the outputs; zeros where nothing used an output. */
  readonly grads: Like<O, Tensor>;
  /** Cotangent of the first output. */
  readonly g: Tensor;
  /** An input that `saves` lists; reading another one throws. */
  input<K extends keyof I>(name: K): I[K];
  output<K extends keyof O>(name: K): O[K];
  readonly specs: Like<I, Spec>;
  readonly attrs: A;
  /** Whether an input (one of a list, by its number) needs a gradient: skip work where it does not. */
  needs(name: keyof I, index?: number): boolean;
}

/** Cotangents of the inputs by name; null or absent where there is none. */
export type Cotangents<I> = {
  readonly [K in keyof I]?: Exclude<I[K], undefined> extends readonly unknown[]
    ? readonly (Tensor | null)[]
    : Tensor | null;
};

export type Vjp<I, O, A> = (context: VjpContext<I, O, A>) => Cotangents<I>;

export interface Saves<I, O> {
  readonly inputs?: readonly (keyof I)[];
  readonly outputs?: readonly (keyof O)[];
}

/** Access to the tensors that a derivative reads, by their place in the op's list. */
export interface SavedTensors {
  get(kind: 'input' | 'output', place: number, op: string): Tensor;
}

/** Keeps the tensors of an application: for each place, whether its derivative reads it. */
export type Saver = (inputs: Kept, outputs: Kept) => SavedTensors;

export interface Kept {
  readonly tensors: readonly Tensor[];
  readonly reads: readonly boolean[];
}

// Records

/** How an elementwise op computes an output of its inputs, as data: input i is the op's i-th, broadcast. */
export interface ElementwiseForm {
  readonly expr: Expr;
  readonly kinds: readonly Kind[];
  readonly scalars: readonly number[];
  readonly draws: readonly Draw[];
  /** Type the numbers are computed in. */
  readonly compute: Dtype;
}

/**
 * The record of an op: shape rule, lowering and derivative in one place. I, O: its inputs and outputs by
 * name, `{ x: Tensor; weight?: Tensor }`; the first output is the one that fusion works on.
 */
export interface Op<I extends Tensors = Tensors, O extends Tensors = Tensors, A = unknown> {
  readonly name: string | ((attrs: A) => string);
  /** Shapes and dtypes of the outputs; throws ShapeError for inputs that do not fit. */
  infer(inputs: Like<I, Spec>, attrs: A): Like<O, Spec>;
  /** Emits the kernels that fill the outputs. Not called when all outputs are empty. */
  lower(lowering: Lowering<I>, inputs: I, outputs: O, attrs: A): void;
  /** How to cut tensors above the binding limit. Without it `lower` gets them as they are. */
  axes?(inputs: Like<I, Spec>, attrs: A): Axes;
  /** Derivative rule, written in ops; the literal 'none' says that no gradient flows. */
  vjp: 'none' | ((context: VjpContext<I, O, A>) => Cotangents<I>);
  /** The tensors that the derivative reads: everything else may be freed before backward. */
  saves?: Saves<I, O> | ((attrs: A) => Saves<I, O>);
  /**
   * Under `autocast`: inputs that are taken in f16, as products take them, or 'f32' for sums, losses and what
   * leaves f16's range (PyTorch's lists for CUDA, "Autocast Op Reference"). Without it inputs stay as they
   * are.
   */
  autocast?: Autocasting<I> | ((attrs: A) => Autocasting<I> | undefined);
  /** The expression of an elementwise op of one output, so that fusion can compose it with others. */
  elementwise?(inputs: readonly Spec[], attrs: A, output: Spec): ElementwiseForm;
  /** Elementwise work that fusion may move into the op's kernels. */
  readonly fuses?: {
    /** Behind its first output. */
    readonly epilogue?: boolean;
    /** Before these inputs. */
    readonly prologues?: readonly (keyof I)[];
    /** The kernel passes over its inputs several times: only cheap work moves into its loads. */
    readonly repeats?: boolean;
    /** It loads by row-major index alone: sources may have another shape of as many elements. */
    readonly flat?: boolean;
  };
  /** An optional input, of the type and shape of the one output, that is added to it. */
  readonly adds?: keyof I;
  /** Inputs that the op overwrites in place. */
  readonly mutates?: readonly (keyof I)[];
}

export type Autocasting<I> = 'f32' | readonly (keyof I)[];

/** An op that only changes how the elements are addressed: costs nothing until a kernel needs them moved. */
export interface ViewOp<A = unknown> {
  readonly name: string;
  /** The new addressing; throws ShapeError. */
  view(layout: Layout, attrs: A): Layout;
  /** The input's cotangent from that of the view, `g`. */
  vjp(context: { readonly g: Tensor; readonly spec: Spec; readonly attrs: A }): Tensor;
}

const records: (Op | ViewOp)[] = [];

/** Every record made so far, so that tests find the ops without cases. */
export function ops(): readonly (Op | ViewOp)[] {
  return records;
}

/** Registers a record: `defineOp<Inputs, Outputs, Attrs>({ ... })`, or with the record's type alone. */
export function defineOp<I extends Tensors, O extends Tensors, A>(op: Op<I, O, A>): Op<I, O, A>;
export function defineOp<R extends { readonly name: unknown }>(op: R): R;
export function defineOp<R>(op: R): R {
  records.push(op as unknown as Op);
  return op;
}

export function defineView<A>(op: ViewOp<A>): ViewOp<A> {
  records.push(op as ViewOp);
  return op;
}

/** An op's name, which may depend on its attributes. */
export function nameOf<A>(op: { readonly name: string | ((attrs: A) => string) }, attrs: A): string {
  return typeof op.name === 'string' ? op.name : op.name(attrs);
}

// The tape and its graph

/** One application of an op to values: what the tape is a list of. */
export interface Entry {
  readonly name: string;
  readonly op: Op;
  /** As lists; `inputForm` and `outputForm` hold the names under which the op knows them. */
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly inputForm: Form;
  readonly outputForm: Form;
  readonly attrs: unknown;
  readonly position: number;
  /** Inputs that the op overwrites in place. */
  readonly mutates: readonly Tensor[];
  /** See `Context.region`. */
  readonly region: number;
}

/** Where a gradient flows on: into another application's output, or into a leaf that accumulates it. */
export type Edge = { readonly node: GradNode; readonly output: number } | { readonly leaf: Tensor };

/**
 * One application on the tape whose gradient may be asked for. Nodes refer to earlier ones only, by
 * `position`, so descending positions are a reverse topological order.
 */
export interface GradNode {
  readonly name: string;
  readonly position: number;
  readonly op: Pick<Op, 'vjp'>;
  readonly attrs: unknown;
  readonly inputForm: Form;
  readonly outputForm: Form;
  readonly edges: readonly (Edge | undefined)[];
  readonly inputSpecs: readonly Spec[];
  readonly outputSpecs: readonly Spec[];
  /** A saved tensor by its place in the list of inputs or outputs. Throws where it was not saved. */
  get(kind: 'input' | 'output', place: number): Tensor;
  /** Drops the saved tensors: backward has passed, and their memory is free to go. */
  release(): void;
}
