import { refuseWhileCapturing } from '../../autograd/context.ts';
import type { Tensor } from '../../autograd/index.ts';
import { checkNumber, checkOptions, refuseUnknown } from './options.ts';
import type { Ranges } from './options.ts';

/** A parameter, with its name or without, as `model.parameters()` and `model.namedParameters()` give them. */
type Given = Tensor | readonly [name: string, parameter: Tensor];

/** What an optimizer is made for: parameters, or groups of them. */
export type Parameters<Options> = Iterable<Given> | readonly ParameterGroup<Options>[];

/** Parameters that share options; what a group leaves out is taken from the optimizer's defaults. */
export type ParameterGroup<Options> = Partial<Options> & {
  readonly params: Iterable<Given>;
  /** Learning rate that schedules multiply; default `lr`. */
  readonly initialLr?: number;
};

/**
 * One of an optimizer's groups. Every option can be changed at any time, outside of compiled functions, and
 * holds from the next step on, in replayed steps too: `optimizer.paramGroups[1].weightDecay = 0`.
 */
export type ParamGroup<Options> = { -readonly [K in keyof Options]: Options[K] } & {
  readonly params: readonly Tensor[];
  /** Learning rate that schedules multiply. Setting `lr` changes it in proportion. */
  initialLr: number;
};

/** Everything that resuming needs besides the parameters: numbers of updates, and tensors of moments. */
export interface OptimizerSnapshot {
  readonly groups: readonly { readonly steps: Tensor; readonly tensors: readonly Tensor[] }[];
}

/** Which options there are, and what is refused of them. */
export interface Rules<Options> {
  readonly defaults: NoInfer<Options>;
  /** Of options that are not just numbers from 0 on. */
  readonly ranges?: Ranges<NoInfer<Options>>;
  /** Throws for options that do not go together. */
  readonly check?: (options: Options) => void;
}

/**
 * Groups of parameters with options and learning rates: everything of an optimizer but how it updates.
 *
 * @example
 * const layer = new Linear(4, 2);
 * const optimizer = new SGD([{ params: [layer.weight], lr: 0.1 }, { params: [layer.bias!], lr: 0.2 }]);
 * optimizer.paramGroups.map(({ lr }) => lr); // [0.1, 0.2]
 */
export abstract class GroupedOptimizer<Options extends { lr: number }> {
  /**
   * The groups, as PyTorch's `param_groups`: `optimizer.paramGroups[0].lr = 0.1` holds in replayed
   * steps too.
   */
  readonly paramGroups: readonly ParamGroup<Options>[];
  /** The parameters that are updated, of all groups. */
  abstract readonly parameters: readonly Tensor[];
  protected readonly name: string;
  /** The options of each group as they are now. */
  protected readonly options: readonly (Options & { initialLr: number })[];
  readonly #names = new Map<Tensor, string>();

  protected constructor(name: string, params: Parameters<Options>, options: Partial<Options>, rules: Rules<Options>) {
    refuseWhileCapturing(name, 'make the optimizer outside of the compiled function, it keeps state from call to call');
    this.name = name;
    const known = [...Object.keys(rules.defaults), 'params', 'initialLr'];
    const defaults = { ...rules.defaults, ...present(name, options, known) };
    const given = asGroups(name, params).map((group) => {
      const { params: members, ...own } = present(name, group, known);
      const list = [...new Set([...members].map((x) => (isNamed(x) ? this.#named(x) : x)))];
      const options = { ...defaults, ...own } as unknown as Options;
      return { list, options: Object.assign({ lr: options.lr, initialLr: options.lr }, options) };
    });
    const validate = (options: Options): void => {
      refuseChange(name);
      checkOptions(name, options, { ...rules.defaults, initialLr: 0 }, rules.ranges);
      rules.check?.(options);
    };
    for (const { list, options } of given) {
      validate(options);
      checkParams(name, list);
    }
    const all = given.flatMap(({ list }) => list);
    if (new Set(all).size !== all.length) throw new Error(`${name}: a parameter is in two groups`);
    this.options = given.map(({ options }) => options);
    this.paramGroups = given.map(({ list, options }) => groupOf(list, options, validate, () => this.sync()));
  }

  #named([name, x]: readonly [string, Tensor]): Tensor {
    this.#names.set(x, name);
    return x;
  }

  /** The name that a parameter was given with. */
  protected nameOf(x: Tensor): string | undefined {
    return this.#names.get(x);
  }

  /** Brings the options, which may have been changed, to the device. */
  protected abstract sync(): void;

  /** Forgets the gradients and frees their memory. */
  zeroGrad(): void {
    for (const x of this.parameters) x.clearGrad();
  }

  /**
   * Learning rate of the first group. Setting it, outside of compiled functions, sets those of all groups,
   * each in proportion to its `initialLr`: of groups made with rates 0.1 and 0.01, `optimizer.lr = 0.05`
   * makes 0.05 and 0.005. Reaches the device at once, so that replayed steps see it.
   */
  set lr(value: number) {
    const first = this.options[0]!.initialLr;
    if (first === 0 && this.options.length > 1)
      throw new Error(
        `${this.name}: the first group's initialLr is 0, so that other rates have no proportion to it; ` +
          "set each group's lr",
      );
    this.setRates(this.options.map(({ initialLr }, i) => (i === 0 ? value : initialLr * (value / first))));
  }

  get lr(): number {
    return this.options[0]!.lr;
  }

  /** Sets each group's learning rate, as schedules do: `initialLr` stays. */
  setRates(rates: readonly number[]): void {
    refuseChange(this.name);
    rates.forEach((lr, i) => checkNumber(this.name, `lr of group ${i}`, lr));
    this.options.forEach((options, i) => (options.lr = rates[i]!));
    this.sync();
  }

  /** The state behind the parameters, for a checkpoint: the device's own tensors, not copies. */
  abstract snapshot(): OptimizerSnapshot;

  /** Takes up where a snapshot left off. The groups must hold the same parameters in the same order. */
  restore(snapshot: OptimizerSnapshot): void {
    const own = this.snapshot().groups;
    const shapes = ({ steps, tensors }: OptimizerSnapshot['groups'][number]): string =>
      [steps, ...tensors].map(({ shape }) => shape.join()).join(';');
    const fits =
      snapshot.groups.length === own.length && own.every((group, i) => shapes(group) === shapes(snapshot.groups[i]!));
    if (!fits)
      throw new Error(
        'optimizer: the saved state belongs to other parameters; resume with the model and options it was saved with',
      );
    own.forEach(({ steps, tensors }, i) => {
      const saved = snapshot.groups[i]!;
      steps.assign(saved.steps);
      tensors.forEach((x, k) => x.assign(saved.tensors[k]!));
    });
  }
}

const refuseChange = (name: string): void =>
  refuseWhileCapturing(name, 'set options outside of the compiled function; its calls see what is set');

function checkParams(name: string, list: readonly Tensor[]): void {
  if (list.length === 0) throw new Error(`${name}: a group has no parameters`);
  const frozen = list.find((x) => !x.requiresGrad);
  if (frozen)
    throw new Error(
      `${name}: a parameter of shape [${frozen.shape.join(', ')}] does not require a gradient; ` +
        'leave it out or set requiresGrad',
    );
}

const isNamed = (x: unknown): x is readonly [string, Tensor] => Array.isArray(x);

/** The options that are not undefined. Throws for one that is not `known`. */
function present<T extends object>(name: string, options: T, known: readonly string[]): T {
  refuseUnknown(name, options, known);
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;
}

/** A list of parameters, or of groups, as groups. */
function asGroups<Options>(name: string, params: Parameters<Options>): readonly ParameterGroup<Options>[] {
  const list = [...(params as Iterable<Given | ParameterGroup<Options>>)];
  if (list.some((x) => !isNamed(x) && !('params' in x) && 'parameters' in x))
    throw new Error(`${name}: a group's parameters are named params, as in PyTorch: { params: [...], lr: 0.1 }`);
  const isGroup = (x: (typeof list)[number]): x is ParameterGroup<Options> => 'params' in x;
  if (list.length > 0 && list.every(isGroup)) return list;
  return [{ params: list as Given[] } as unknown as ParameterGroup<Options>];
}

/**
 * The group that users see of its `options`: what is set is checked first, and `changed` is called after.
 * A list, such as betas, is frozen: it is replaced as a whole.
 */
function groupOf<Options extends { lr: number }>(
  params: readonly Tensor[],
  options: Options & { initialLr: number },
  check: (options: Options) => void,
  changed: () => void,
): ParamGroup<Options> {
  const group = { params: Object.freeze([...params]) };
  for (const key of Object.keys(options) as (keyof typeof options & string)[]) {
    Object.defineProperty(group, key, {
      enumerable: true,
      get: () => options[key],
      set: (value: (typeof options)[typeof key]) => {
        const next = { ...options, [key]: Array.isArray(value) ? Object.freeze([...(value as unknown[])]) : value };
        if (key === 'lr') next.initialLr = options.lr > 0 ? options.initialLr * (next.lr / options.lr) : next.lr;
        check(next);
        Object.assign(options, next);
        changed();
      },
    });
  }
  return Object.preventExtensions(group) as ParamGroup<Options>;
}

/**
 * Parameters in two groups: with weight decay, and (biases, and the weights of norms, told by having one
 * axis) without, the usual practice for BERT.
 *
 * @example
 * const [decayed, others] = decayGroups(new Linear(4, 2).namedParameters(), 0.01);
 * [decayed.weightDecay, others.weightDecay]; // [0.01, 0]
 */
export function decayGroups(
  parameters: Iterable<readonly [name: string, parameter: Tensor]>,
  weightDecay: number,
): { params: Tensor[]; weightDecay: number }[] {
  const trained = [...parameters].filter(([, x]) => x.requiresGrad);
  const decays = ([name, x]: readonly [string, Tensor]): boolean => x.ndim > 1 && !/bias$|LayerNorm/.test(name);
  const groups = [
    { params: trained.filter(decays).map(([, x]) => x), weightDecay },
    { params: trained.filter((entry) => !decays(entry)).map(([, x]) => x), weightDecay: 0 },
  ];
  return groups.filter((group) => group.params.length > 0);
}
