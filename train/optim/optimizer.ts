import { OptimizerState } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import type { Step } from '../../autograd/ops/update.ts';

/** Parameters that share options; what a group leaves out is taken from the optimizer's defaults. */
export type ParameterGroup<Options> = Partial<Options> & { readonly parameters: Iterable<Tensor> };

interface Group<Options> {
  readonly options: Options;
  readonly state: OptimizerState;
  /** Updates each parameter has had. */
  readonly steps: Map<Tensor, number>;
}

/** What resuming needs besides the parameters. */
export interface OptimizerSnapshot {
  readonly groups: readonly { readonly steps: readonly number[]; readonly tensors: readonly Tensor[] }[];
}

/** Gradient descent over groups of parameters. Subclasses say what one update is. */
export abstract class Optimizer<Options extends { lr: number }> {
  readonly groups: readonly Group<Options>[];

  /** `arrays`: numbers remembered for each element. */
  protected constructor(
    name: string,
    parameters: Iterable<Tensor> | readonly ParameterGroup<Options>[],
    defaults: Options,
    arrays: number,
  ) {
    this.groups = asGroups(parameters).map(({ parameters: members, ...options }) => {
      const list = [...new Set(members)];
      const frozen = list.find((x) => !x.requiresGrad);
      if (list.length === 0) throw new Error(`${name}: a group has no parameters`);
      if (frozen)
        throw new Error(
          `${name}: a parameter of shape [${frozen.shape.join(', ')}] does not require a gradient; leave it out or set requiresGrad`,
        );
      const merged = { ...defaults, ...options } as Options;
      if (!(merged.lr >= 0)) throw new RangeError(`${name}: the learning rate must not be negative, got ${merged.lr}`);
      return { options: merged, state: new OptimizerState(list, arrays), steps: new Map(list.map((x) => [x, 0])) };
    });
    const all = this.groups.flatMap(({ state }) => state.parameters);
    if (new Set(all).size !== all.length) throw new Error(`${name}: a parameter is in two groups`);
  }

  protected abstract update(options: Options, step: number): Step;

  get parameters(): readonly Tensor[] {
    return this.groups.flatMap(({ state }) => state.parameters);
  }

  /**
   * Updates every parameter that has a gradient. `gradScale`: a scalar tensor that the gradients are multiplied by on the way, see `clipCoefficient`.
   */
  step({ gradScale }: { readonly gradScale?: Tensor } = {}): void {
    for (const { options, state, steps } of this.groups) {
      // Parameters that were without a gradient for a while have had fewer updates, hence another bias correction.
      const byStep = new Map<number, Tensor[]>();
      for (const x of state.parameters) {
        if (!x.grad) continue;
        const next = steps.get(x)! + 1;
        steps.set(x, next);
        byStep.set(next, [...(byStep.get(next) ?? []), x]);
      }
      for (const [step, members] of byStep) {
        state.apply(this.update(options, step), new Map(members.map((x) => [x, x.grad!])), gradScale);
      }
    }
  }

  /** Forgets the gradients and frees their memory. */
  zeroGrad(): void {
    for (const x of this.parameters) x.clearGrad();
  }

  /** Learning rate of each group; schedules set it. */
  set lr(value: number) {
    for (const { options } of this.groups) options.lr = value;
  }

  get lr(): number {
    return this.groups[0]!.options.lr;
  }

  /** The state behind the parameters, for a checkpoint. */
  snapshot(): OptimizerSnapshot {
    return { groups: this.groups.map(({ state, steps }) => ({ steps: [...steps.values()], tensors: state.tensors })) };
  }

  /** Takes up where a snapshot left off. The groups must hold the same parameters in the same order. */
  restore(snapshot: OptimizerSnapshot): void {
    const fits =
      snapshot.groups.length === this.groups.length &&
      this.groups.every(({ state, steps }, i) => {
        const saved = snapshot.groups[i]!;
        const shapes = (tensors: readonly Tensor[]): string => tensors.map(({ shape }) => shape.join()).join(';');
        return saved.steps.length === steps.size && shapes(saved.tensors) === shapes(state.tensors);
      });
    if (!fits)
      throw new Error(
        'optimizer: the saved state belongs to other parameters; resume with the model and options it was saved with',
      );
    this.groups.forEach(({ state, steps }, i) => {
      const saved = snapshot.groups[i]!;
      state.tensors.forEach((x, k) => x.assign(saved.tensors[k]!));
      state.parameters.forEach((x, k) => steps.set(x, saved.steps[k]!));
    });
  }
}

function asGroups<Options>(
  parameters: Iterable<Tensor> | readonly ParameterGroup<Options>[],
): ParameterGroup<Options>[] {
  const list = [...(parameters as Iterable<Tensor | ParameterGroup<Options>>)];
  const isGroup = (x: Tensor | ParameterGroup<Options>): x is ParameterGroup<Options> => 'parameters' in x;
  if (list.length > 0 && list.every(isGroup)) return list;
  return [{ parameters: list as Tensor[] } as unknown as ParameterGroup<Options>];
}
