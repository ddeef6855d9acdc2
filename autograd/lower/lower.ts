import type { Dispatch, Target } from '../../gpu/index.ts';
import type { Operand } from '../../kernels/layout.ts';
import { remembered } from '../../kernels/remember.ts';
import type { Kernel } from '../../kernels/remember.ts';
import { formOf, valuesOf, namedOf, nameOf } from '../op.ts';
import type { Bound, BoundTo, Entry, Fused, Like, Lowering, Op, Spec, Tensors } from '../op.ts';
import { isRunning, onDevice } from '../runtime.ts';
import { show } from '../shapes.ts';
import { emptyTensor, Tensor } from '../tensor.ts';
import { copyTo, sinkInto, sinkOf, sourceOf } from './elementwise.ts';
import { lowerInParts, onto } from './split.ts';
import { bindingOf, isBindable, windowed } from './window.ts';

/** Takes each dispatch, with its tensors in binding order. */
export type Emit = (dispatch: Dispatch, tensors: readonly Tensor[]) => void;

export interface LowerOptions {
  /** See Environment. */
  readonly remembers: boolean;
  readonly target: Target;
  readonly emit: Emit;
  /** Elementwise work that fusion put around the op; nothing in immediate mode. */
  readonly fused?: Fused;
}

type Application = Pick<Entry, 'op' | 'inputs' | 'outputs' | 'inputForm' | 'outputForm' | 'attrs'>;

/**
 * Lowers one application of an op, immediate or compiled: the way from the tape to kernels. Returns the
 * scratch tensors it made, whose memory is free afterwards.
 */
export function lowerEntry(entry: Application, { remembers, target, emit, fused }: LowerOptions): Tensor[] {
  const temporaries: Tensor[] = [];
  lowerApplication(entry, { remembers, target, emit, temporaries }, fused, false);
  return temporaries;
}

/** Runs one application on the device: immediate mode. */
export function execute(entry: Entry): void {
  if (entry.outputs.length > 0 && entry.outputs.every((y) => y.size === 0)) return;
  // Work that waits for the device must find its inputs where they are now: leaves may move meanwhile
  // (Tensor.moveInto).
  const here = isRunning() ? entry : { ...entry, inputs: entry.inputs.map((x) => x.detach()) };
  onDevice(
    (gpu) => {
      const { target } = gpu;
      const temporaries = lowerEntry(here, {
        target,
        remembers: true,
        emit(dispatch, tensors) {
          const bindings = tensors.map((t) => bindingOf(entry.name, t, t.storage.memoryOn(gpu), target));
          gpu.dispatch(dispatch, bindings, () => describeOp(entry.name, entry.inputs));
        },
      });
      for (const t of temporaries) t.storage.free();
    },
    (error) => {
      for (const { storage } of [...entry.outputs, ...entry.mutates]) storage.fail(error);
    },
  );
}

/** An op and what it was given, for errors: `add of f32 [2, 3] and bool [3]`. */
export function describeOp(name: string, inputs: readonly Spec[]): string {
  return [name, inputs.map(({ dtype, shape }) => `${dtype} ${show(shape)}`).join(' and ')].filter(Boolean).join(' of ');
}

export interface Environment {
  /** Whether kernels made before are looked up: captures ask once, for long expressions of their own. */
  readonly remembers: boolean;
  readonly target: Target;
  readonly emit: Emit;
  readonly temporaries: Tensor[];
}

/** What an op sees of a part of it: where along its axes that begins, and where its results go. */
type PartOf = Pick<Fused, 'sink'> & {
  readonly starts?: ReadonlyMap<string, { readonly start: number; readonly whole: number }>;
};

/** What an op reads by name and stores first, with what fusion put around it. */
interface Operands extends PartOf, Partial<Pick<Fused, 'sources'>> {
  readonly named: Readonly<Record<string, Tensor>>;
  readonly first: Tensor;
}

/** As lowerEntry; `accumulate` adds to what the first output holds. */
function lowerApplication(
  application: Application,
  environment: Environment,
  fused: Fused | undefined,
  accumulate: boolean,
): void {
  const { op, inputs, outputs, inputForm, outputForm, attrs } = application;
  const { target } = environment;
  // Tensors too large for one binding of which the op sees a small part are bound in windows.
  const fitted = inputs.map((x) => (isBindable(x, target) ? x : (windowed(x, target) ?? x)));
  if (!op.axes || [...fitted, ...outputs].every((x) => isBindable(x, target))) {
    const sink = accumulate ? onto('sum', outputs[0]!) : fused?.sink;
    return lowerOn(environment, application, fused, fitted, outputs, { sink });
  }
  const axes = op.axes(namedOf(inputForm, fitted) as Like<Tensors, Spec>, attrs);
  const takesSink = op.fuses?.epilogue ?? false;
  const whole = { axes, inputs: fitted, outputs, inputForm, outputForm, takesSink, accumulate };
  const base = lowering(nameOf(op, attrs), environment);
  lowerInParts(base, whole, (part) => lowerOn(environment, application, fused, part.inputs, part.outputs, part));
}

/** Lowers an op on these tensors: its own, or parts of them. */
function lowerOn(
  environment: Environment,
  { op, inputForm, outputForm, attrs }: Application,
  fused: Fused | undefined,
  ins: readonly (Tensor | undefined)[],
  outs: readonly Tensor[],
  { sink, starts }: PartOf,
): void {
  const named = namedOf(inputForm, ins) as Record<string, Tensor>;
  const operands = { named, first: outs[0]!, sources: fused?.sources, sink, starts };
  op.lower(lowering(nameOf(op, attrs), environment, operands), named, namedOf(outputForm, outs) as Tensors, attrs);
}

/**
 * What an op is lowered with. Methods, since tsx names each function that is kept in a variable or property,
 * which took a tenth of an op's time in immediate mode.
 */
export function lowering(name: string, environment: Environment, operands?: Operands): Lowering {
  const base: Lowering = {
    name,
    target: environment.target,
    temporary(shape, dtype) {
      const t = emptyTensor(shape, dtype, name);
      environment.temporaries.push(t);
      return t;
    },
    copy(x) {
      const y = base.temporary(x.shape, x.dtype);
      copyTo(base, x, y);
      return y;
    },
    contiguous(x) {
      return x.isContiguous ? x : base.copy(x);
    },
    emit(kernel, bound, attrs) {
      emitKernel(environment, kernel, bound, attrs);
    },
    run(op, inputs, outputs, attrs, { accumulate = false } = {}) {
      const application = {
        op: op as unknown as Op,
        inputs: valuesOf<Tensor>(inputs),
        outputs: valuesOf<Tensor>(outputs),
        inputForm: formOf(inputs),
        outputForm: formOf(outputs),
        attrs,
      };
      lowerApplication(application, environment, undefined, accumulate);
    },
    source(input, plain) {
      if (!operands) throw new Error(`${name}: no operands here`);
      return operands.sources?.get(input) ?? plain ?? sourceOf(operands.named[input]!);
    },
    sink() {
      if (!operands) throw new Error(`${name}: no operands here`);
      const { sink, first } = operands;
      return sink ?? (isFromZero(first) ? sinkOf(first) : sinkInto(first));
    },
    part(axis) {
      return operands?.starts?.get(axis);
    },
  };
  return base;
}

/** Generates a kernel for operands and emits it, its bindings matched with tensors by name. */
function emitKernel<K extends object, A>(
  { target, emit, remembers }: Environment,
  kernel: Kernel<K, A>,
  given: BoundTo<K>,
  attrs: A,
): void {
  const bound = given as Readonly<Record<string, Tensor | readonly Tensor[] | Bound | undefined>>;
  const operands: Record<string, unknown> = {};
  for (const name in bound) {
    const value = bound[name];
    if (value instanceof Tensor) operands[name] = operandOf(value);
    else if (isBound(value)) operands[name] = value.elements;
    else if (value !== undefined) operands[name] = value.map(operandOf);
  }
  const dispatch = remembers ? remembered(kernel, operands as K, attrs, target) : kernel(operands as K, attrs, target);
  emit(
    dispatch,
    dispatch.names.map((name) => tensorNamed(name, bound)),
  );
}

const isFromZero = ({ isContiguous, offset }: Tensor): boolean => isContiguous && offset === 0;

const operandOf = ({ shape, strides, offset, dtype }: Tensor): Operand => ({ shape, strides, offset, dtype });

function isBound(value: Tensor | readonly Tensor[] | Bound | undefined): value is Bound {
  return value !== undefined && 'elements' in value;
}

/**
 * Returns the tensor of a binding: `stats` is the operand of that name, `x2` the third of the list `x`,
 * `x_a0` and `x_y0` the first operand and output of the expressions `x`. `a0` and `y0` are those of
 * `elements`.
 */
function tensorNamed(
  name: string,
  bound: Readonly<Record<string, Tensor | readonly Tensor[] | Bound | undefined>>,
): Tensor {
  const own = bound[name];
  if (own instanceof Tensor) return own;
  let place = places.get(name);
  if (!place) places.set(name, (place = placeOf(name)));
  const { base, kind, number } = place;
  const list = base === '' ? bound[kind] : undefined;
  if (Array.isArray(list)) return (list as readonly Tensor[])[number]!;
  const expressions = bound[base === '' ? 'elements' : base];
  if (isBound(expressions)) return (kind === 'a' ? expressions.operands : expressions.outputs)[number]!;
  throw new Error(`the kernel binds ${name}, which it was not given`);
}

/** Names of bindings taken apart: few, asked for with every dispatch. */
const places = new Map<string, ReturnType<typeof placeOf>>();

function placeOf(name: string): { base: string; kind: string; number: number } {
  const [, base = '', kind = '', number = ''] = /^(?:(.*)_)?([a-z]*)(\d+)$/.exec(name) ?? [];
  return { base, kind, number: Number(number) };
}
