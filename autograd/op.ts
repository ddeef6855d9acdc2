import type { Target } from '../gpu/index.ts';
import type { Dispatch } from '../gpu/index.ts';
import type { Dtype } from '../kernels/kernel.ts';
import type { Layout } from '../kernels/layout.ts';
import type { Elements } from '../kernels/map/elements.ts';
import type { ElementwiseForm } from './elementwise.ts';
import type { Tensor } from './tensor.ts';

/** What is known of a tensor without its data. */
export interface Spec {
  readonly shape: readonly number[];
  readonly dtype: Dtype;
}

/** A bad argument of an op: the message is one line, `op: what is wrong; the mend`. */
export class ShapeError extends Error {
  override readonly name = 'ShapeError';
}

/** What a lowering may do. */
export interface Lowering {
  readonly target: Target;
  /** Records a dispatch; tensors in binding order. Offsets and strides travel in the kernel's parameters. */
  emit(dispatch: Dispatch, tensors: readonly Tensor[]): void;
  /** Scratch memory for this op. */
  temporary(shape: readonly number[], dtype: Dtype): Tensor;
  /** The tensor itself if its elements lie in row-major order (from any offset), else a copy that does. */
  contiguous(x: Tensor): Tensor;
  /** A copy in row-major order from offset 0. */
  copy(x: Tensor): Tensor;
  /** The work that fusion moved into this op's kernels, where its record says that it takes any. */
  readonly fused?: Fused;
  /**
   * How the kernel reads an input by element, over the input's shape; with the work that fusion moved before
   * it.
   */
  source(input: number): Port;
  /** How the kernel stores the first output; with the work that fusion moved behind it. */
  sink(): Port;
}

/** Enough of a lowering to emit elementwise kernels. */
export type Emitter = Pick<Lowering, 'emit' | 'target'>;

/** Elementwise expressions at a kernel's edge, and the tensors that they bind, in order. */
export interface Port {
  readonly elements: Elements;
  readonly tensors: readonly Tensor[];
}

/**
 * Elementwise work that fusion moved into an op's kernel: instead of storing its first output, and instead of
 * reading input i.
 */
export interface Fused {
  readonly sink?: Port;
  readonly sources: ReadonlyMap<number, Port>;
}

/** A lowering that can also lower the op itself on parts of the tensors, each of which fits one binding. */
export interface BlockLowering<A> extends Omit<Lowering, 'fused' | 'source' | 'sink'> {
  /** Of the op, for errors. */
  readonly name: string;
  /**
   * Row-major scratch memory for what one part leaves to be combined; the next call with this shape and
   * purpose gives it again.
   */
  scratch(shape: readonly number[], dtype: Dtype, purpose?: string): Tensor;
  part(inputs: readonly Tensor[], outputs: readonly Tensor[], attrs: A): void;
}

/** Lowers an op whose tensors exceed one binding. */
export type Blocks<A> = (
  lowering: BlockLowering<A>,
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  attrs: A,
) => void;

export interface VjpContext<A> {
  /** Cotangents of the outputs; zeros are filled in for outputs that nothing used. */
  readonly grads: readonly Tensor[];
  /** Cotangent of the first output. */
  readonly g: Tensor;
  /** Inputs and outputs that `saves` lists; reading another one throws. */
  input(i: number): Tensor;
  output(i: number): Tensor;
  readonly specs: readonly Spec[];
  readonly attrs: A;
  /** Whether input i needs a gradient: skip work where it does not. */
  needs(i: number): boolean;
}

/** One cotangent for each input; null where there is none. */
export type Vjp<A> = (context: VjpContext<A>) => readonly (Tensor | null)[];

export interface Saves {
  readonly inputs?: readonly number[];
  readonly outputs?: readonly number[];
}

/** The record of an op: shape rule, lowering and derivative in one place. */
export interface Op<A> {
  readonly name: string | ((attrs: A) => string);
  /** Shapes and dtypes of the outputs; throws ShapeError for inputs that do not fit. */
  readonly infer: (inputs: readonly Spec[], attrs: A) => readonly Spec[];
  /** Kernels that fill the outputs. Not called when all outputs are empty. */
  readonly lower: (lowering: Lowering, inputs: readonly Tensor[], outputs: readonly Tensor[], attrs: A) => void;
  /**
   * Computes the op where a tensor exceeds one binding, mostly as `part`s of it; rules for families are in
   * blocks/. Without it `lower` gets such tensors as they are: elementwise kernels cut them, other kernels
   * refuse them.
   */
  readonly blocks?: Blocks<A>;
  /** Derivative rule, written in ops; the literal 'none' says that no gradient flows. */
  readonly vjp: Vjp<A> | 'none';
  /** What the derivative reads: everything else may be freed before backward. */
  readonly saves?: Saves | ((attrs: A) => Saves);
  /**
   * What an elementwise op of one output computes, so that fusion can compose it with others (see
   * elementwise.ts).
   */
  readonly elementwise?: (inputs: readonly Spec[], attrs: A, output: Spec) => ElementwiseForm;
  /**
   * Which elementwise work fusion may move into the op's kernels: after its first output, and before which
   * inputs.
   */
  readonly fuses?: {
    readonly epilogue?: boolean;
    readonly prologues?: readonly number[];
    /** The kernel passes over its inputs several times: only cheap work moves into its loads. */
    readonly repeats?: boolean;
  };
  /** Inputs that the op overwrites in place. */
  readonly mutates?: (inputs: readonly Tensor[], attrs: A) => readonly Tensor[];
}

/** An op that only changes how the elements are addressed: costs nothing until a kernel needs them moved. */
export interface ViewOp<A> {
  readonly name: string;
  /** The new addressing; throws ShapeError. */
  readonly view: (layout: Layout, attrs: A) => Layout;
  readonly vjp: Vjp<A>;
}

const records: (Op<unknown> | ViewOp<unknown>)[] = [];

/** Every record made so far, so that tests find the ops without cases. */
export function ops(): readonly (Op<unknown> | ViewOp<unknown>)[] {
  return records;
}

export function defineOp<A>(op: Op<A>): Op<A> {
  records.push(op as Op<unknown>);
  return op;
}

export function defineView<A>(op: ViewOp<A>): ViewOp<A> {
  records.push(op as ViewOp<unknown>);
  return op;
}

export function nameOf<A>(op: { readonly name: string | ((attrs: A) => string) }, attrs: A): string {
  return typeof op.name === 'string' ? op.name : op.name(attrs);
}
