import { guarded, within } from '../../autograd/context.ts';
import { overwrite } from '../../autograd/create.ts';
import { addAssign, assign, mul, scope, slice, tensor, zeros } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { clipCoefficient } from './clip.ts';
import { GroupedOptimizer } from './groups.ts';
import type { OptimizerSnapshot, Parameters, Rules } from './groups.ts';
import { checkStep } from './optimizer.ts';
import type { StepOptions } from './optimizer.ts';
import { checkPair, globalNorm } from './step.ts';

/** An update written in ops, for methods that look at a parameter as a whole, such as at its rows. */
export interface TensorMethod<
  Options,
  H extends string,
  S extends string,
  C extends keyof Options,
> extends Rules<Options> {
  readonly name: string;
  /**
   * Options that choose what an update does, read on the host; where one changes, a compiled step is captured
   * anew.
   */
  readonly choices: readonly C[];
  /** Says why this method cannot update a parameter, and what to do with it; undefined where it can. */
  readonly accept?: (parameter: Tensor) => string | undefined;
  /** Numbers for the update, made of a group's options. They lie on the device. */
  readonly hyper: (options: Options) => Readonly<Record<H, number>>;
  /** Shapes of what is remembered for a parameter, from zeros on. */
  readonly state: (shape: readonly number[], options: Options) => { readonly [K in S]?: readonly number[] };
  /**
   * Returns the parameter's new value, and assigns to the state. `hyper` and `step`, the number of the update
   * from 1 on, are f32 scalars on the device; `choices` are read on the host.
   */
  readonly update: (
    given: {
      readonly param: Tensor;
      readonly grad: Tensor;
      readonly step: Tensor;
      readonly hyper: Readonly<Record<H, Tensor>>;
      readonly state: { readonly [K in S]?: Tensor };
    },
    choices: Readonly<Pick<Options, C>>,
  ) => Tensor;
}

/** The state of a group, on the device. */
interface GroupState {
  readonly hyper: Tensor;
  /** Numbers of updates of each parameter. */
  readonly steps: Tensor;
  /** The moments of each parameter, by name. */
  readonly moments: readonly Map<string, Tensor>[];
}

/**
 * Gradient descent whose update is made of ops, a few for each parameter. Hyperparameters and numbers of
 * updates lie on the device, so that replayed steps see what is changed. Parameters stay where they are:
 * those that lie side by side are updated each by itself.
 */
export abstract class TensorOptimizer<
  Options extends { lr: number },
  H extends string,
  S extends string,
  C extends keyof Options & string,
> extends GroupedOptimizer<Options> {
  readonly parameters: readonly Tensor[];
  readonly #method: TensorMethod<Options, H, S, C>;
  readonly #groups: readonly GroupState[];

  protected constructor(
    params: Parameters<Options>,
    options: Partial<Options>,
    method: TensorMethod<Options, H, S, C>,
  ) {
    super(method.name, params, options, method);
    this.#method = method;
    this.parameters = this.paramGroups.flatMap(({ params }) => params);
    for (const [i, x] of this.parameters.entries()) {
      const why = method.accept?.(x);
      if (why !== undefined)
        throw new Error(`${method.name}: ${this.nameOf(x) ?? `parameter ${i}`} is [${x.shape.join(', ')}], ${why}`);
    }
    this.#groups = this.paramGroups.map(({ params }, i) => ({
      hyper: zeros([Object.keys(method.hyper(this.options[i]!)).length]).keep(),
      steps: zeros([params.length]).keep(),
      moments: params.map(() => new Map<string, Tensor>()),
    }));
    this.sync();
  }

  /** Writes the hyperparameters, and makes the state that the options ask for now. */
  protected sync(): void {
    this.#groups.forEach(({ hyper, moments }, i) => {
      const options = this.options[i]!;
      overwrite(hyper, Float32Array.from(Object.values<number>(this.#method.hyper(options))));
      this.paramGroups[i]!.params.forEach(({ shape }, k) => {
        const wanted = Object.entries<readonly number[] | undefined>(this.#method.state(shape, options));
        for (const [name, lengths] of wanted)
          if (lengths && !moments[k]!.has(name)) moments[k]!.set(name, zeros(lengths).keep());
      });
    });
  }

  /**
   * Updates every parameter that has a gradient. Of the options it takes `gradScale` and `maxNorm`: it cannot
   * skip a step, as loss scaling would need.
   */
  step(options: StepOptions = {}): void {
    checkStep(this.name, options);
    const { gradScale, maxNorm, ...others } = options;
    const [refused] = Object.entries(others).find(([, value]) => value !== undefined && value !== false) ?? [];
    if (refused !== undefined)
      throw new Error(`${this.name}: step takes gradScale and maxNorm, not ${refused}; leave it out, or use AdamW`);
    using _ = scope();
    within({ grad: false, autocast: undefined }, () => {
      const active = this.parameters.filter((x) => x.grad);
      if (active.length === 0) return;
      for (const x of active) checkPair(this.name, x, x.grad!);
      const factor = maxNorm === undefined ? gradScale : clipped(active, maxNorm, gradScale);
      this.#groups.forEach((_, i) => this.#stepGroup(i, factor));
    });
  }

  #stepGroup(group: number, factor: Tensor | undefined): void {
    const { hyper, steps, moments } = this.#groups[group]!;
    const { params } = this.paramGroups[group]!;
    const options = this.options[group]!;
    const chosen = (): Pick<Options, C> => {
      const found: Partial<Pick<Options, C>> = {};
      for (const key of this.#method.choices) found[key] = options[key];
      return found as Pick<Options, C>;
    };
    const read = (): string => JSON.stringify([chosen(), moments.map((state) => [...state.keys()])]);
    guarded(`an option of ${this.name}`, read);
    const choices = chosen();
    const names = Object.keys(this.#method.hyper(options));
    const scalars = Object.fromEntries(names.map((name, i) => [name, slice(hyper, i)])) as Record<H, Tensor>;
    addAssign(steps, tensor(params.map(({ grad }) => Number(grad !== undefined))));
    params.forEach((param, i) => {
      if (!param.grad) return;
      const grad = factor ? mul(param.grad, factor) : param.grad;
      const state = Object.fromEntries(moments[i]!) as { [K in S]?: Tensor };
      assign(param, this.#method.update({ param, grad, step: slice(steps, i), hyper: scalars, state }, choices));
    });
  }

  snapshot(): OptimizerSnapshot {
    return {
      groups: this.#groups.map(({ steps, moments }) => ({
        steps,
        tensors: moments.flatMap((state) => [...state.values()]),
      })),
    };
  }
}

/** The factor of gradients whose norm, times `gradScale`, is not to exceed `maxNorm`. */
function clipped(active: readonly Tensor[], maxNorm: number, gradScale: Tensor | undefined): Tensor {
  const norm = globalNorm(active.map((x) => x.grad!));
  if (!gradScale) return clipCoefficient(norm, maxNorm);
  return mul(gradScale, clipCoefficient(mul(norm, gradScale.abs()), maxNorm));
}
