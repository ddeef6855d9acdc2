import { debugLevel, debugOp } from '../gpu/index.ts';
import type { Layout } from '../kernels/layout.ts';
import { announce, callerOutside, context, withinSync } from './context.ts';
import { execute } from './lower/lower.ts';
import { formOf, valuesOf, namedOf, nameOf, placesOf } from './op.ts';
import type {
  Cotangents,
  Edge,
  Entry,
  Form,
  GradNode,
  Kept,
  Like,
  Op,
  SavedTensors,
  Saver,
  Saves,
  Spec,
  Tensors,
  ViewOp,
  VjpContext,
} from './op.ts';
import { relieve } from './storage.ts';
import { emptyTensor, isFloat, Tensor } from './tensor.ts';

/** Returns the input of this name; undefined where it was not given. */
export function inputNamed({ inputForm, inputs }: Entry, name: string): Tensor | undefined {
  return namedOf(inputForm, inputs)[name] as Tensor | undefined;
}

let position = 0;

/**
 * Appends one application to the tape: casts and checks its inputs, runs it (while `compile` captures,
 * records it), and links it into the graph that backward walks. Returns the outputs by name.
 */
export function apply<I extends Tensors, O extends Tensors, A>(op: Op<I, O, A>, given: I, attrs: A): O {
  const { autocast, grad, recorder, region } = context();
  const name = nameOf(op, attrs);
  const inputForm = formOf(given);
  let inputs: readonly Tensor[] = valuesOf(given);
  if (autocast && op.autocast) {
    const rule = typeof op.autocast === 'function' ? op.autocast(attrs) : op.autocast;
    if (rule) inputs = autocast.cast(rule === 'f32' ? rule : placesOf(inputForm, rule), inputs);
  }
  for (const x of inputs) checkAlive(name, x);
  const named = (autocast ? namedOf(inputForm, inputs) : given) as Like<I, Spec>;
  const specs = op.infer(named, attrs) as Record<string, Spec | Spec[]>;
  const outputForm = formOf(specs);
  const outputs = valuesOf(specs).map(({ shape, dtype }) => emptyTensor(shape, dtype, name));
  const overwritten = op.mutates && placesOf(inputForm, op.mutates);
  const entry: Entry = {
    name,
    op: op as unknown as Op,
    inputs,
    outputs,
    inputForm,
    outputForm,
    attrs,
    position: position++,
    mutates: overwritten ? inputs.filter((_, i) => overwritten[i]) : [],
    region,
  };
  if (debugLevel > 0) debugOp(recorder ? 'capture' : 'op', name, inputs, outputs, callerOutside());
  if (recorder) recorder.append(entry);
  else {
    relieve();
    execute(entry);
  }
  for (const { storage } of entry.mutates) {
    storage.version++;
    storage.host = undefined;
  }
  if (op.vjp !== 'none' && grad && inputs.some((x) => x.requiresGrad)) {
    const saves = typeof op.saves === 'function' ? op.saves(attrs) : op.saves;
    const node = new Node(
      entry,
      save(
        { tensors: inputs, reads: placesOf(inputForm, saves?.inputs) },
        { tensors: outputs, reads: placesOf(outputForm, saves?.outputs) },
      ),
    );
    outputs.forEach((y, i) => link(y, node, i));
  }
  announce(entry);
  return namedOf(outputForm, outputs) as O;
}

/** Appends a view: the result shares the storage of `home`, which is x or a copy of it. */
export function applyView<A>(op: ViewOp<A>, x: Tensor, attrs: A, home: Tensor = x): Tensor {
  checkAlive(op.name, x);
  const y = new Tensor(home.storage, home.dtype, op.view(x, attrs));
  if (debugLevel > 0) debugOp('view', op.name, [x], [y], callerOutside());
  if (!isTracked([x])) return y;
  const vjp: Op['vjp'] = ({ g, specs }) => ({ x: op.vjp({ g, spec: specs.x as Spec, attrs }) });
  track({ name: op.name, op: { vjp }, ...oneOf(x, y), attrs }, save(nothing, nothing));
  return y;
}

/**
 * A view of tensors that lie side by side in one storage; `vjp` shares a gradient out among them. It is part
 * of no checkpoint's region, so that one view may serve several forward passes: their gradients then meet
 * before they are shared out.
 */
export function applyJoin<A>(
  name: string,
  x: readonly Tensor[],
  layout: Layout,
  attrs: A,
  vjp: (context: VjpContext<{ x: readonly Tensor[] }, { y: Tensor }, A>) => Cotangents<{ x: readonly Tensor[] }>,
): Tensor {
  for (const part of x) checkAlive(name, part);
  const y = new Tensor(x[0]!.storage, x[0]!.dtype, layout);
  if (isTracked(x)) track({ name, op: ruleOf(vjp), ...oneOf(x, y), attrs }, holdTensors(nothing, nothing));
  return y;
}

/** Views of parts of x as one application: `vjp` gets the cotangents of all of them. */
export function applySplit<A>(
  name: string,
  x: Tensor,
  layouts: readonly Layout[],
  attrs: A,
  vjp: (context: VjpContext<{ x: Tensor }, { y: readonly Tensor[] }, A>) => Cotangents<{ x: Tensor }>,
): Tensor[] {
  checkAlive(name, x);
  const y = layouts.map((layout) => new Tensor(x.storage, x.dtype, layout));
  if (isTracked([x])) track({ name, op: ruleOf(vjp), ...oneOf(x, y), attrs }, save(nothing, nothing));
  return y;
}

/** What `forward` makes of x with no gradient of its own, as one application with the derivative `vjp`. */
export function applyFunction(
  name: string,
  x: readonly Tensor[],
  forward: () => readonly Tensor[],
  saves: Saves<{ x: readonly Tensor[] }, { y: readonly Tensor[] }>,
  vjp: (
    context: VjpContext<{ x: readonly Tensor[] }, { y: readonly Tensor[] }, null>,
  ) => Cotangents<{ x: readonly Tensor[] }>,
): Tensor[] {
  for (const own of x) checkAlive(name, own);
  // Views, so that an input that comes back as an output stays what it was.
  const y = withinSync(name, { grad: false }, forward).map((own) => own.detach());
  if (isTracked(x)) {
    const keep = (tensors: readonly Tensor[], saved: boolean): Kept => ({ tensors, reads: tensors.map(() => saved) });
    const saved = save(keep(x, saves.inputs?.includes('x') ?? false), keep(y, saves.outputs?.includes('y') ?? false));
    track({ name, op: ruleOf(vjp), ...oneOf(x, y), attrs: null }, saved);
  }
  return y;
}

const isTracked = (x: readonly Tensor[]): boolean => context().grad && x.some((own) => own.requiresGrad);

/** Inputs under the name x and outputs under the name y, each a tensor or a list. */
function oneOf(x: Tensor | readonly Tensor[], y: Tensor | readonly Tensor[]) {
  const list = (own: Tensor | readonly Tensor[]): readonly Tensor[] => (own instanceof Tensor ? [own] : own);
  const form = (name: string, own: Tensor | readonly Tensor[]): Form => [
    [name, own instanceof Tensor ? undefined : own.length],
  ];
  return { inputs: list(x), outputs: list(y), inputForm: form('x', x), outputForm: form('y', y) };
}

const ruleOf = <I, O, A>(vjp: (context: VjpContext<I, O, A>) => Cotangents<I>): Pick<Op, 'vjp'> =>
  ({ vjp }) as unknown as Pick<Op, 'vjp'>;

/** Links the outputs of what is no op on the tape into the graph that backward walks. */
function track(application: Omit<Application, 'position'>, saved: SavedTensors): void {
  const node = new Node({ ...application, position: position++ }, saved);
  application.outputs.forEach((y, i) => link(y, node, i));
}

const nothing: Kept = { tensors: [], reads: [] };

function save(inputs: Kept, outputs: Kept): SavedTensors {
  return (context().saver ?? holdTensors)(inputs, outputs);
}

function link(y: Tensor, node: GradNode, index: number): void {
  if (!isFloat(y.dtype)) return;
  y.node = node;
  y.outputIndex = index;
}

function checkAlive(op: string, x: Tensor): void {
  if (!(x instanceof Tensor)) {
    const [what, mend] =
      (x as unknown) instanceof Promise ? ['a promise', 'await it'] : [`a ${typeof x}`, 'make it one with tensor()'];
    throw new TypeError(`${op}: an input is ${what} and not a tensor; ${mend}`);
  }
  if (x.storage.isFreed) {
    throw new Error(
      `${op}: an input of shape [${x.shape.join(', ')}] was freed when its scope ended; ` +
        'call keep() on it inside the scope',
    );
  }
}

// The graph that backward walks

type Application = Pick<Entry, 'name' | 'inputs' | 'outputs' | 'inputForm' | 'outputForm' | 'attrs' | 'position'> & {
  readonly op: Pick<Op, 'vjp'>;
};

class Node implements GradNode {
  readonly name: string;
  readonly position: number;
  readonly op: Pick<Op, 'vjp'>;
  readonly attrs: unknown;
  readonly inputForm: Form;
  readonly outputForm: Form;
  readonly edges: readonly (Edge | undefined)[];
  readonly inputSpecs: readonly Spec[];
  readonly outputSpecs: readonly Spec[];
  private saved: SavedTensors | undefined;

  constructor(application: Application, saved: SavedTensors) {
    this.name = application.name;
    this.position = application.position;
    this.op = application.op;
    this.attrs = application.attrs;
    this.inputForm = application.inputForm;
    this.outputForm = application.outputForm;
    this.edges = application.inputs.map(edgeTo);
    this.inputSpecs = application.inputs.map(specOf);
    this.outputSpecs = application.outputs.map(specOf);
    this.saved = saved;
  }

  get(kind: 'input' | 'output', place: number): Tensor {
    if (!this.saved) {
      throw new Error(
        `${this.name}: backward a second time through a graph that was freed; pass retainGraph: true the first time`,
      );
    }
    return this.saved.get(kind, place, this.name);
  }

  release(): void {
    this.saved = undefined;
  }
}

/** Holds the tensors themselves, and refuses those that were written to in place since. */
export const holdTensors: Saver = (inputs, outputs) => {
  const hold = ({ tensors, reads }: Kept) =>
    tensors.map((tensor, i) => (reads[i] ? { tensor, version: tensor.storage.version } : undefined));
  const held = { input: hold(inputs), output: hold(outputs) };
  const saver = {
    held,
    get(kind: 'input' | 'output', place: number, op: string): Tensor {
      const saved = held[kind][place];
      if (!saved) throw new Error(`${op}: its derivative reads ${kind} ${place}, which its record does not save`);
      if (saved.tensor.storage.version !== saved.version) {
        throw new Error(
          `${op}: ${kind} ${place}, needed for its gradient, was changed in place since; ` +
            'clone() it first or change it after backward',
        );
      }
      return saved.tensor;
    },
  };
  return saver;
};

function edgeTo(x: Tensor): Edge | undefined {
  if (x.node) return { node: x.node, output: x.outputIndex };
  return x.requiresGrad ? { leaf: x } : undefined;
}

function specOf({ shape, dtype }: Spec): Spec {
  return { shape, dtype };
}
