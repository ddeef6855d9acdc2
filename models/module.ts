import { assign, clone, guarded, isCapturing, noGrad, setAnomalyLabel } from '../autograd/index.ts';
import type { Tensor } from '../autograd/index.ts';
import { Tensor as TensorClass } from '../autograd/tensor.ts';
import { describeReport, matchState } from './io/state-dict.ts';
import type { LoadReport } from './io/state-dict.ts';
import { describePath, locate, showShape, snakeCase } from './names.ts';
import { castParameter, ModuleBuffer, Parameter } from './parameter.ts';

/**
 * Sees a module's arguments before its forward runs. May return a list of arguments to run it with instead.
 */
export type ForwardPreHook = (module: Module, args: readonly unknown[]) => unknown;

/**
 * Sees a module's arguments and output after its forward. What it returns, unless undefined, replaces the
 * output.
 */
export type ForwardHook = (module: Module, args: readonly unknown[], output: unknown) => unknown;

export interface HookOptions {
  /** Appears in errors thrown inside the hook; no other hook of the module has it. Default: `hook 1`, ... */
  readonly name?: string;
  /**
   * It is taken off before the function that puts it on ends: where that one is compiled, no later call looks
   * for the hook outside of it. Default false.
   */
  readonly temporary?: boolean;
}

/** A registered hook. */
export interface HookHandle {
  readonly name: string;
  /** Takes the hook off. A second call does nothing. */
  remove(): void;
}

const hookNumbers = new WeakMap<object, number>();
let hooksSeen = 0;

/** A number of a hook, which it keeps: registered again under its name it is the same hook. */
function numberOf(hook: object): number {
  const number = hookNumbers.get(hook) ?? ++hooksSeen;
  hookNumbers.set(hook, number);
  return number;
}

/** Hooks of one kind by name, in the order they were registered. */
class Hooks<H extends object> implements Iterable<readonly [name: string, hook: H]> {
  readonly #list: { readonly name: string; readonly hook: H; readonly isCaptured: boolean }[] = [];
  #count = 0;

  get isEmpty(): boolean {
    return this.#list.length === 0;
  }

  /** The same for the same hooks, else another. Those that a compiled function puts on do not count. */
  get state(): string {
    const outside = this.#list.filter(({ isCaptured }) => !isCaptured);
    return outside.map(({ name, hook }) => `${name} #${numberOf(hook)}`).join(', ');
  }

  add(hook: H, { name = `hook ${this.#count + 1}`, temporary = false }: HookOptions): HookHandle {
    if (this.#list.some((other) => other.name === name))
      throw new Error(`a hook named "${name}" is registered already; remove it first or give another name`);
    const entry = { name, hook, isCaptured: temporary && isCapturing() };
    this.#count++;
    this.#list.push(entry);
    const remove = (): void => {
      const at = this.#list.indexOf(entry);
      if (at >= 0) this.#list.splice(at, 1);
    };
    return { name, remove };
  }

  /** A hook may take off itself or others while they run. */
  *[Symbol.iterator](): Iterator<readonly [name: string, hook: H]> {
    for (const { name, hook } of [...this.#list]) yield [name, hook];
  }
}

export type Member = Parameter | ModuleBuffer | Module;

/** Modules whose forward is running, outermost first. */
const running: Module[] = [];
setAnomalyLabel(() => describePath(running));

/**
 * A part of a model: a plain class whose fields are parameters, buffers, further modules, or arrays of them.
 * A field's name, in snake_case, is its key in the state dict; elements of arrays are numbered (`layer.0`).
 *
 * Subclasses define `forward`, and modules are used by calling it: `this.linear.forward(x)`. PyTorch's
 * modules are called like functions instead, which runs hooks around `forward`. Here no object can be called,
 * so the constructor puts that around the instance's `forward` itself: a forward that calls `super.forward`
 * still runs the hooks once. Errors thrown inside say where in the model.
 *
 * @example
 * class Scale extends Module {
 *   readonly factor = new Parameter(ones(3));
 *   override forward(x: Tensor): Tensor {
 *     return x.mul(this.factor);
 *   }
 * }
 * [...new Scale().namedParameters()].map(([name]) => name); // ['factor']
 */
export class Module {
  /** Keys for fields whose name does not give them, `{ ln1: 'ln_1' }`. */
  static readonly keys: Readonly<Record<string, string>> = {};

  #training = true;
  #recomputes = false;
  readonly #preHooks = new Hooks<ForwardPreHook>();
  readonly #hooks = new Hooks<ForwardHook>();
  readonly #call: unknown;

  constructor() {
    const forward = this.forward as (...args: unknown[]) => unknown;
    const call = (...args: unknown[]): unknown => this.#run(forward, args);
    this.#call = call;
    Object.defineProperty(this, 'forward', { value: call, writable: true, configurable: true });
  }

  /**
   * Dropout is active. Set by `train` and `eval`; a compiled function that asked for it is captured anew when
   * it has changed.
   */
  get training(): boolean {
    return guarded(`training of a ${this.constructor.name}`, () => this.#training);
  }

  set training(value: boolean) {
    this.#training = value;
  }

  /** Set by `gradientCheckpointingEnable`; `runLayers` asks each layer. Guarded as `training` is. */
  get gradientCheckpointing(): boolean {
    return guarded(`gradient checkpointing of a ${this.constructor.name}`, () => this.#recomputes);
  }

  /** Computes the module's output. */
  forward(..._args: never[]): unknown {
    throw new Error(`${this.constructor.name} has no forward; call its parts`);
  }

  #run(forward: (...args: unknown[]) => unknown, args: readonly unknown[]): unknown {
    running.push(this);
    let hook = '';
    try {
      if (isCapturing()) this.#guardParts();
      if (!this.isHooked) return forward.apply(this, args as unknown[]);
      for (const [name, run] of this.#preHooks) {
        hook = name;
        const replaced = run(this, args) ?? args;
        if (!Array.isArray(replaced)) throw new Error('a pre-hook returns a list of arguments or undefined');
        args = replaced;
      }
      hook = '';
      let output = forward.apply(this, args as unknown[]);
      for (const [name, run] of this.#hooks) {
        hook = name;
        output = run(this, args, output) ?? output;
      }
      return output;
    } catch (error) {
      throw locate(error, running, hook);
    } finally {
      running.pop();
    }
  }

  /** Lets a compiled function be captured anew when a part of this module was replaced by another. */
  #guardParts(): void {
    const lists = [this, ...Object.values(this).filter((value) => Array.isArray(value))] as Record<string, unknown>[];
    const held = lists.flatMap((owner) =>
      Object.entries(owner).flatMap(([key, part]) =>
        part instanceof Module || part instanceof Parameter ? [{ owner, key, part }] : [],
      ),
    );
    const unchanged = (): boolean => held.every(({ owner, key, part }) => owner[key] === part);
    guarded(`every part of a ${this.constructor.name} being the one captured`, unchanged);
  }

  /**
   * Whether calling `forward` does more than the class says: there are hooks, or it was replaced. A compiled
   * function that asked for it is captured anew when called with other hooks than it was captured with.
   */
  get isHooked(): boolean {
    const state = (): string => {
      const before = this.#preHooks.state && `before: ${this.#preHooks.state}`;
      const replaced = this.forward === this.#call ? '' : 'another forward';
      return `[${[before, this.#hooks.state, replaced].filter(Boolean).join('; ')}]`;
    };
    if (isCapturing()) guarded(`the list of hooks of a ${this.constructor.name}`, state);
    return !this.#preHooks.isEmpty || !this.#hooks.isEmpty || this.forward !== this.#call;
  }

  /**
   * Calls `hook` before each forward, after the hooks registered earlier; as in PyTorch. In a compiled
   * function hooks run while it is captured: what they compute with tensors is part of it.
   */
  registerForwardPreHook(hook: ForwardPreHook, options: HookOptions = {}): HookHandle {
    return this.#preHooks.add(hook, options);
  }

  /** Calls `hook` after each forward; otherwise as `registerForwardPreHook`. */
  registerForwardHook(hook: ForwardHook, options: HookOptions = {}): HookHandle {
    return this.#hooks.add(hook, options);
  }

  /** Own tensors and modules by key, in the order of the fields. */
  protected members(): [string, Member][] {
    const { keys } = this.constructor as typeof Module;
    return Object.entries(this).flatMap(([field, value]: [string, unknown]) => {
      const key = keys[field] ?? snakeCase(field);
      const items: [string, unknown][] = Array.isArray(value)
        ? value.map((item, i) => [`${key}.${i}`, item])
        : [[key, value]];
      return items.filter((item): item is [string, Member] => this.#isMember(field, item[1]));
    });
  }

  #isMember(field: string, value: unknown): boolean {
    if (value instanceof Parameter || value instanceof ModuleBuffer || value instanceof Module) return true;
    if (value instanceof TensorClass && value.requiresGrad && !value.node) {
      throw new Error(
        `${this.constructor.name}.${field} requires a gradient but is no Parameter, so it would not be trained; ` +
          'use new Parameter(tensor)',
      );
    }
    if (heldBy(value).some((item) => item instanceof Module || item instanceof Parameter)) {
      throw new Error(
        `${this.constructor.name}.${field} holds modules or parameters in an object, a Map or a list of lists, where ` +
          'they would not be trained or saved; give each a field, or put them in one array',
      );
    }
    return false;
  }

  /** Everything below under each of its names: own tensors first, then the modules with theirs. */
  *#descend(prefix = '', above: readonly Module[] = []): Generator<[string, Member]> {
    if (above.includes(this)) return; // a field that refers back up
    const members = this.members();
    for (const [key, member] of members) if (!(member instanceof Module)) yield [prefix + key, member];
    for (const [key, member] of members) {
      if (!(member instanceof Module)) continue;
      yield [prefix + key, member];
      yield* member.#descend(`${prefix}${key}.`, [...above, this]);
    }
  }

  #named<T extends Member>(kind: abstract new (...args: never[]) => T): [string, T][] {
    const seen = new Set<unknown>();
    return [...this.#descend()].filter((entry): entry is [string, T] => {
      const fresh = entry[1] instanceof kind && !seen.has(entry[1]);
      seen.add(entry[1]);
      return fresh;
    });
  }

  /** Parameters with their keys; a tied one once, under its first key. */
  namedParameters(): [string, Parameter][] {
    return this.#named(Parameter);
  }

  parameters(): Parameter[] {
    return this.namedParameters().map(([, parameter]) => parameter);
  }

  namedBuffers(): [string, ModuleBuffer][] {
    return this.#named(ModuleBuffer);
  }

  buffers(): ModuleBuffer[] {
    return this.namedBuffers().map(([, buffer]) => buffer);
  }

  /** This module under the name '' and all below it, each once, parents first. */
  namedModules(): [string, Module][] {
    return [['', this], ...this.#named(Module).filter(([, module]) => module !== this)];
  }

  modules(): Module[] {
    return this.namedModules().map(([, module]) => module);
  }

  /** Number of elements of the parameters, tied ones once. */
  numParameters({ trainable = false }: { readonly trainable?: boolean } = {}): number {
    return this.parameters().reduce((count, p) => count + (trainable && !p.requiresGrad ? 0 : p.size), 0);
  }

  /** Switches dropout on (or off, with `false`) here and below. */
  train(mode = true): this {
    for (const module of this.modules()) module.training = mode;
    return this;
  }

  /** Switches dropout off here and below. */
  eval(): this {
    return this.train(false);
  }

  /**
   * From now on, in training, the layers of Transformers here and below keep only what goes into them, and
   * are computed once more in the backward pass: less memory, about a third more time, the same numbers
   * (Chen et al. 2016; see `checkpoint`). Adapters may be on them. Modules with layers of their own, which
   * `runLayers` does not run, call `checkpoint` themselves.
   */
  gradientCheckpointingEnable(): this {
    for (const module of this.modules()) module.#recomputes = true;
    return this;
  }

  gradientCheckpointingDisable(): this {
    for (const module of this.modules()) module.#recomputes = false;
    return this;
  }

  /** Freezes (`false`) or unfreezes the parameters here and below. */
  requiresGrad(value = true): this {
    for (const parameter of this.parameters()) {
      parameter.requiresGrad = value;
      if (!value) parameter.grad = undefined;
    }
    return this;
  }

  /**
   * Parameters and persistent buffers under all their keys, so a tied tensor several times: what a state may
   * name.
   */
  stateTensors(): Map<string, Tensor> {
    const state = new Map<string, Tensor>();
    for (const [key, x] of this.#descend()) {
      if (x instanceof Module || (x instanceof ModuleBuffer && !x.persistent)) continue;
      if (state.has(key) && state.get(key) !== x)
        throw new Error(`${this.constructor.name}: two fields give the key ${key}; rename one or set static keys`);
      state.set(key, x);
    }
    return state;
  }

  /**
   * Parameters and persistent buffers by key, a tied one once. The tensors are the module's own: clone what
   * must not change.
   */
  stateDict(): Map<string, Tensor> {
    const seen = new Set<Tensor>();
    return new Map([...this.stateTensors()].filter(([, t]) => !seen.has(t) && seen.add(t)));
  }

  /**
   * Copies a state into the parameters and buffers in place, converting types. With `strict` (default) a key
   * that is missing, unexpected or of another shape is an error, one line for each kind, and nothing is
   * changed; without, what fits is copied. A tied tensor may be given under any of its keys. Error: two of
   * them give different tensors.
   */
  loadStateDict(state: ReadonlyMap<string, Tensor>, { strict = true }: { readonly strict?: boolean } = {}): LoadReport {
    const { matches, report } = matchState(this.stateTensors(), state);
    const misfits = describeReport(report);
    if (strict && misfits.length > 0)
      throw new Error(misfits.map((line) => `loadStateDict into ${this.constructor.name}: ${line}`).join('\n'));
    for (const { source, again } of matches) {
      const other = again.find(({ key }) => !sameMemory(state.get(key)!, state.get(source)!));
      if (other)
        throw new Error(
          `loadStateDict into ${this.constructor.name}: ${source} and ${other.source} are tied here, the state has a ` +
            `tensor for each; leave one out, or keep both after untie('${other.key}')`,
        );
    }
    noGrad(() => {
      for (const { target, source } of matches) {
        const values = state.get(source)!;
        // A model's own state, loaded into itself, has nothing to copy.
        if (!sameMemory(target, values)) assign(target, values);
      }
    });
    return report;
  }

  /**
   * Gives the parameter under a key memory of its own, with the values that it has, where it was tied to
   * others: `model.untie('lm_head.weight')`. Make the optimizer afterwards. Errors: no parameter has this
   * key; its module is itself in several places.
   */
  untie(key: string): this {
    const at = key.lastIndexOf('.');
    const all = [...this.#descend()];
    const owner = at < 0 ? this : all.find(([name]) => name === key.slice(0, at))?.[1];
    const isOwner = owner instanceof Module;
    const fields = isOwner ? (owner as unknown as Record<string, unknown>) : {};
    const keys = isOwner ? (owner.constructor as typeof Module).keys : {};
    const field = Object.keys(fields).find((name) => (keys[name] ?? snakeCase(name)) === key.slice(at + 1));
    const shared = field === undefined ? undefined : fields[field];
    if (!(shared instanceof Parameter))
      throw new Error(`untie: ${this.constructor.name} has no parameter ${key}; see namedParameters()`);
    const places = all.filter(([, member]) => member === owner).map(([name]) => name);
    if (places.length > 1)
      throw new Error(`untie: ${key} is in one module under the names ${places.join(', ')}; make a module for each`);
    const own = new Parameter(noGrad(() => clone(shared)));
    own.requiresGrad = shared.requiresGrad;
    fields[field!] = own;
    return this;
  }

  /** Converts the parameters to f16 or f32. They become new tensors: make the optimizer afterwards. */
  to(dtype: 'f16' | 'f32'): this {
    const made = new Map<Parameter, Parameter>();
    const convert = (value: unknown): unknown =>
      value instanceof Parameter ? castParameter(value, dtype, made) : value;
    for (const module of this.modules()) {
      const fields = module as unknown as Record<string, unknown>;
      for (const [field, value] of Object.entries(fields)) {
        if (value instanceof Parameter) fields[field] = convert(value);
        else if (Array.isArray(value) && value.some((item) => item instanceof Parameter))
          fields[field] = value.map(convert);
      }
    }
    return this;
  }

  /** Settings shown after the class name in the summary. */
  extraRepr(): string {
    return '';
  }

  /** The tree of modules with the shapes of their tensors and their numbers of parameters. */
  toString(): string {
    return summarise(this.#outline(new Set()));
  }

  #outline(seen: Set<Member>): ModuleOutline {
    const members = this.members();
    const tensors = members.flatMap(([name, member]) => {
      if (member instanceof Module) return [];
      const tied = seen.has(member);
      seen.add(member);
      return [{ name, shape: member.shape, tied }];
    });
    const children = members.flatMap(([name, member]) =>
      member instanceof Module ? [[name, member.#outline(seen)] as const] : [],
    );
    const extra = this.extraRepr();
    return { title: this.constructor.name + (extra && `(${extra})`), tensors, count: this.numParameters(), children };
  }
}

/** What a plain object, a list, a Map or a Set holds. */
function heldBy(value: unknown): readonly unknown[] {
  if (typeof value !== 'object' || value === null) return [];
  if (value instanceof Map || value instanceof Set) return [...value.values()];
  return Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype ? Object.values(value) : [];
}

const sameMemory = (a: Tensor, b: Tensor): boolean => a.storage === b.storage && a.offset === b.offset;

/** The facts about a module that a summary shows. */
interface ModuleOutline {
  /** Class and settings, such as `Linear(384, 1536)`. */
  readonly title: string;
  /** Own tensors: name, shape, and whether it was listed before (tied). */
  readonly tensors: readonly { readonly name: string; readonly shape: readonly number[]; readonly tied: boolean }[];
  /** Parameters here and below, each counted once. */
  readonly count: number;
  readonly children: readonly (readonly [name: string, outline: ModuleOutline])[];
}

interface Row {
  readonly label: string;
  readonly tensors: string;
  readonly count: string;
}

/**
 * A module as an indented tree: name, class, shapes of its own tensors, number of parameters, in aligned
 * columns. A run of equal children, such as the layers of a Transformer, is shown once.
 */
function summarise(outline: ModuleOutline): string {
  const rows = rowsOf('', outline, 0);
  const width = (pick: (row: Row) => string): number => Math.max(...rows.map((row) => pick(row).length));
  const [labels, tensors, counts] = [width((row) => row.label), width((row) => row.tensors), width((row) => row.count)];
  return rows
    .map((row) =>
      `${row.label.padEnd(labels)}  ${row.tensors.padEnd(tensors)}  ${row.count.padStart(counts)}`.trimEnd(),
    )
    .join('\n');
}

function rowsOf(name: string, { title, tensors, count, children }: ModuleOutline, depth: number): Row[] {
  const shapes = tensors.map((t) => `${t.name} ${showShape(t.shape)}${t.tied ? ' (tied)' : ''}`).join(', ');
  const own = {
    label: `${'  '.repeat(depth)}${name === '' ? '' : `${name}: `}${title}`,
    tensors: shapes,
    count: count.toLocaleString('en-US'),
  };
  return [own, ...groups(children).flatMap(([label, child]) => rowsOf(label, child, depth + 1))];
}

function groups(children: ModuleOutline['children']): [string, ModuleOutline][] {
  const result: [string, ModuleOutline][] = [];
  for (let start = 0; start < children.length;) {
    const [name, first] = children[start]!;
    const key = JSON.stringify(first);
    let end = start + 1;
    while (end < children.length && JSON.stringify(children[end]![1]) === key) end++;
    const times = end - start;
    // Only numbered children are alike by design; two equal layers with names of their own are shown each.
    const numbered = times > 1 && /^\d+$/.test(name.split('.').at(-1)!);
    if (numbered)
      result.push([
        `${name}-${children[end - 1]![0].split('.').at(-1)!}`,
        { ...first, title: `${times} x ${first.title}, each` },
      ]);
    else for (const child of children.slice(start, end)) result.push([child[0], child[1]]);
    start = end;
  }
  return result;
}

/** What has a mode, as modules do. */
export interface HasMode {
  readonly training: boolean;
  train(mode?: boolean): unknown;
  eval(): unknown;
}

/**
 * Switches a module's dropout off until the end of the block, and puts its mode back, whatever happens:
 *
 *     using _mode = evalMode(model);
 *
 * @example
 * const dropout = new Dropout(0.5);
 * {
 *   using _mode = evalMode(dropout);
 *   console.log(dropout.forward(ones(2))); // ones
 * }
 * dropout.training; // true
 */
export function evalMode(module: HasMode): Disposable {
  const { training } = module;
  module.eval();
  return { [Symbol.dispose]: () => void module.train(training) };
}
