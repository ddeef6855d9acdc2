import {
  assign,
  cast,
  clone,
  concat,
  full,
  isGradEnabled,
  joined,
  noGrad,
  normal,
  slice,
  tensor,
  uniform,
  zeros,
} from '../autograd/index.ts';
import type { QuantizedTensor } from '../autograd/index.ts';
import { checkRoom, emptyTensor, isFloat, Tensor } from '../autograd/tensor.ts';
import { bytesOf } from '../kernels/kernel.ts';
import { sizeOf } from '../kernels/layout.ts';

/**
 * A tensor that a module learns. Its class, not `requiresGrad`, makes it a parameter, so frozen ones stay
 * parameters. It outlives the scopes that are open when it is made. Built from any f32 or f16 tensor: one
 * that shares its memory with others is copied.
 *
 * @example
 * new Parameter(zeros(4, 8)).requiresGrad; // true
 */
export class Parameter extends Tensor {
  constructor(values: Tensor) {
    if (!isFloat(values.dtype))
      throw new Error(
        `a parameter must be f32 or f16, got ${values.dtype}; convert with to('f32') or make it a buffer`,
      );
    const own = withOwnMemory(values);
    super(own.storage, own.dtype, own);
    this.requiresGrad = true;
    this.keep();
  }

  /** The weight that a layer computes with in the place of this one's elements: see `PackedParameter`. */
  get quantized(): QuantizedTensor | undefined {
    return undefined;
  }

  protected override sharesGrad(gradient: Tensor): boolean {
    const others = joints.get(this)?.parts.filter((part) => part !== this);
    return others ? others.some(({ grad }) => grad?.storage === gradient.storage) : super.sharesGrad(gradient);
  }
}

/** The joint parameter that a parameter is a part of. */
const joints = new WeakMap<Tensor, JointParameter>();

/**
 * Parameters that lie side by side, row after row, as one: what an optimizer updates in their place, so that
 * they cost no more than a single parameter. Its gradient is theirs, one behind the other.
 */
class JointParameter extends Tensor {
  readonly parts: readonly Parameter[];
  #operand: { readonly tensor: Tensor; readonly conditions: string } | undefined;

  constructor(parts: readonly Parameter[]) {
    const whole = noGrad(() => joined(parts))!;
    super(whole.storage, whole.dtype, whole);
    this.parts = parts;
  }

  /** The parts still lie where this parameter is. */
  get isInPlace(): boolean {
    let at = this.offset;
    return this.parts.every((part) => {
      const fits = part.storage === this.storage && part.offset === at;
      at += part.size;
      return fits;
    });
  }

  /**
   * All rows as an operand, through which gradients flow to the parts: the same tensor each time, so that the
   * gradients of several uses meet before they are shared out.
   */
  operand(): Tensor {
    const flags = isGradEnabled() ? this.parts.map((part) => Number(part.requiresGrad)).join('') : '';
    const conditions = `${this.offset} ${flags}`;
    if (this.#operand?.conditions !== conditions || this.#operand.tensor.storage !== this.storage)
      this.#operand = { tensor: joined(this.parts)!, conditions };
    return this.#operand.tensor;
  }

  override get requiresGrad(): boolean {
    return this.parts.every((part) => part.requiresGrad);
  }

  override set requiresGrad(value: boolean) {
    for (const part of this.parts) part.requiresGrad = value;
  }

  override get grad(): Tensor | undefined {
    if (!this.isInPlace)
      throw new Error(
        `a parameter of shape [${this.parts[0]!.shape.join(', ')}] was taken over by an optimizer made later; ` +
          'step that one',
      );
    const own = this.parts.flatMap((part) => part.grad ?? []);
    if (own.length === 0) return undefined;
    if (own.length < this.parts.length)
      throw new Error(
        `of ${this.parts.length} parameters that lie side by side, the first of shape ` +
          `[${this.parts[0]!.shape.join(', ')}], only ${own.length} have a gradient; make the optimizer after ` +
          'freezing or replacing one of them',
      );
    const whole = noGrad(() => joined(own));
    if (whole) return whole;
    const gathered = noGrad(() => concat(own)).keep();
    this.clearGrad();
    this.grad = gathered;
    return gathered;
  }

  override set grad(value: Tensor | undefined) {
    let at = 0;
    for (const part of this.parts) {
      const rows: [number, number] = [at, (at += part.shape[0]!)];
      part.grad = value && noGrad(() => slice(value, rows));
    }
  }

  override clearGrad(): void {
    for (const part of this.parts) part.clearGrad();
  }

  override moveInto(home: Tensor, offset: number): void {
    super.moveInto(home, offset);
    let at = offset;
    for (const part of this.parts) {
      part.moveInto(home, at);
      at += part.size;
    }
  }
}

/**
 * Parameters that lie side by side in `home`, which is theirs from now on: the i-th has the next `rows[i]` of
 * its rows. They are parameters like any others; `joinedRows` gives them as one operand again.
 */
function parametersIn(home: Tensor, rows: readonly number[]): Parameter[] {
  const own = withOwnMemory(home).keep();
  const inner = own.shape.slice(1);
  let at = 0;
  const parts = rows.map((count) => {
    const part = new Parameter(emptyTensor([count, ...inner], own.dtype, 'parameter'));
    part.moveInto(own, at);
    at += part.size;
    return part;
  });
  const joint = new JointParameter(parts);
  for (const part of parts) joints.set(part, joint);
  return parts;
}

/**
 * Parameters that were made side by side, as one operand with all their rows, without a copy; undefined where
 * they were not, or one was replaced or has moved since.
 */
export function joinedRows(parts: readonly Tensor[]): Tensor | undefined {
  const joint = joints.get(parts[0]!);
  const isWhole = joint?.parts.length === parts.length && joint.parts.every((part, i) => part === parts[i]);
  return isWhole && joint.isInPlace ? joint.operand() : undefined;
}

/**
 * A list of parameters for an optimizer: those that lie side by side and are all in the list are one. A
 * parameter whose neighbours are not gets memory of its own.
 */
export function joinParameters(list: readonly Tensor[]): Tensor[] {
  const given = new Set(list);
  return list.flatMap((x) => {
    const joint = joints.get(x);
    if (!joint) return [x];
    const isWhole = joint.isInPlace && joint.parts.every((part) => given.has(part) && part.requiresGrad);
    if (isWhole) return joint.parts[0] === x ? [joint] : [];
    if (x.storage.bytes > x.size * bytesOf(x.dtype)) x.moveInto(noGrad(() => clone(x)).keep(), 0);
    return [x];
  });
}

/**
 * A parameter in another type; `made` remembers what became of others, so that ties stay, and neighbours stay
 * side by side.
 */
export function castParameter(x: Parameter, dtype: 'f16' | 'f32', made: Map<Parameter, Parameter>): Parameter {
  if (x.dtype === dtype || x.quantized) return x;
  const joint = joints.get(x);
  if (!made.has(x)) {
    const before = joint?.isInPlace ? joint.parts : [x];
    const whole = noGrad(() => cast(before.length > 1 ? joint! : x, dtype));
    const after =
      before.length > 1
        ? parametersIn(
            whole,
            before.map(({ shape }) => shape[0]!),
          )
        : [new Parameter(whole)];
    after.forEach((part, i) => {
      part.requiresGrad = before[i]!.requiresGrad;
      made.set(before[i]!, part);
    });
  }
  return made.get(x)!;
}

/**
 * A tensor that belongs to a module's state but is not learned. One that is not persistent is left out of the
 * state dict, as position tables are. Plain tensors in fields are neither: they are caches of the module's
 * own.
 *
 * @example
 * new ModuleBuffer(arange(4), { persistent: false }).requiresGrad; // false
 */
export class ModuleBuffer extends Tensor {
  /** Whether it is part of the state dict. */
  persistent: boolean;

  constructor(values: Tensor, { persistent = true }: { readonly persistent?: boolean } = {}) {
    const own = withOwnMemory(values);
    super(own.storage, own.dtype, own);
    this.persistent = persistent;
    this.keep();
  }
}

function withOwnMemory(values: Tensor): Tensor {
  const whole =
    values.isContiguous && values.offset === 0 && values.size * bytesOf(values.dtype) === values.storage.bytes;
  return whole && !values.node ? values : noGrad(() => clone(values));
}

/** Makes the first values of a parameter. The random ones draw from the stream that `manualSeed` sets. */
export type Initializer = (shape: readonly number[]) => Tensor;

/**
 * @example
 * zerosInit([2]); // [0, 0]
 */
export const zerosInit: Initializer = (shape) => zeros(shape);
/**
 * @example
 * onesInit([2]); // [1, 1]
 */
export const onesInit: Initializer = (shape) => full(shape, 1);

/**
 * Normal with mean 0: Transformers' `initializer_range` is its deviation.
 *
 * @example
 * parameter([4, 8], normalInit(0.02)).shape; // [4, 8]
 */
export const normalInit =
  (std: number): Initializer =>
  (shape) =>
    normal(shape, { std });

/**
 * Even in [-bound, bound).
 *
 * @example
 * parameter([4, 8], uniformInit(0.1)).shape; // [4, 8]
 */
export const uniformInit =
  (bound: number): Initializer =>
  (shape) =>
    uniform(shape, { low: -bound, high: bound });

/**
 * Even with variance 2 / (in + out) for a weight [out, in] (Glorot and Bengio 2010).
 *
 * @example
 * parameter([4, 8], xavierUniformInit).shape; // [4, 8]
 */
export const xavierUniformInit: Initializer = (shape) => uniformInit(Math.sqrt(6 / (shape[0]! + shape[1]!)))(shape);

/**
 * As `init`, with one row of zeros: the embedding of the padding token.
 *
 * @example
 * zeroRowInit(onesInit, 0)([2, 2]); // [[0, 0], [1, 1]]
 */
export const zeroRowInit =
  (init: Initializer, row: number): Initializer =>
  (shape) => {
    const table = init(shape);
    assign(slice(table, row), zeros(shape.slice(1)));
    return table;
  };

let postponed: Map<Parameter, Initializer> | undefined;
let counted: ((shape: readonly number[]) => void) | undefined;

/**
 * A new parameter. Inside `postponeInit` it gets its values only when asked for.
 *
 * @example
 * parameter([2], zerosInit); // [0, 0]
 */
export function parameter(shape: readonly number[], init: Initializer): Parameter {
  counted?.(shape);
  if (!postponed) return new Parameter(init(shape));
  const made = new Parameter(emptyTensor(shape, 'f32', 'parameter'));
  postponed.set(made, init);
  return made;
}

/**
 * A table that `fill` computes on the host, in no file: positions as sines, say. It stays bare while
 * parameters are counted.
 */
export function hostTable(
  shape: readonly number[],
  fill: (values: Float32Array) => void,
  { persistent = false }: { readonly persistent?: boolean } = {},
): ModuleBuffer {
  counted?.(shape);
  checkRoom('table', shape, 'f32', true);
  if (counted) return new ModuleBuffer(emptyTensor(shape, 'f32', 'table'), { persistent });
  const values = new Float32Array(sizeOf(shape));
  fill(values);
  return new ModuleBuffer(tensor(values, { shape }), { persistent });
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
  counted?.(shape);
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

/** Whether a module is being built only for its parameters to be counted. */
export function isCounting(): boolean {
  return counted !== undefined;
}

/**
 * Builds a module without memory for its parameters and shows `visit` the shape of each before it is made.
 * What `visit` throws ends the building.
 */
export function countParameters(
  build: () => { buffers(): Iterable<ModuleBuffer> },
  visit: (shape: readonly number[]) => void,
): void {
  const outer = counted;
  counted = visit;
  try {
    const { module } = postponeInit(build);
    for (const buffer of module.buffers()) buffer.storage.free();
  } finally {
    counted = outer;
  }
}
