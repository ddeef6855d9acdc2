import { refuseWhileCapturing } from '../../autograd/context.ts';
import type { Tensor } from '../../autograd/index.ts';
import { joinParameters } from '../../models/parameter.ts';
import type { RuleName } from '../../kernels/multi-tensor/rules.ts';
import type { GradScaler } from './grad-scaler.ts';
import { OptimizerState } from './state.ts';

/** Parameters that share options; what a group leaves out is taken from the optimizer's defaults. */
export type ParameterGroup<Options> = Partial<Options> & { readonly parameters: Iterable<Tensor> };

interface Group<Options> {
  readonly options: Options;
  readonly parameters: readonly Tensor[];
}

export interface StepOptions {
  /** An f32 scalar tensor that the gradients are multiplied by on the way, see `clipCoefficient`. */
  readonly gradScale?: Tensor;
  /**
   * Scales the gradients down so that the norm of all of them together does not exceed this, as PyTorch's
   * clip_grad_norm_.
   */
  readonly maxNorm?: number;
  /** Leave all parameters as they are where a gradient is infinite or NaN, see `skipped`. */
  readonly skipNonFinite?: boolean;
  /**
   * Gradients are of a loss that this scaler scaled: they are divided by its scale, and a step with an
   * infinite or NaN gradient is skipped.
   */
  readonly scaler?: GradScaler;
}

/** What resuming needs besides the parameters: numbers of updates, and tensors of moments. */
export interface OptimizerSnapshot {
  readonly groups: readonly { readonly steps: Tensor; readonly tensors: readonly Tensor[] }[];
}

/** How an optimizer works on the device. */
interface Method {
  readonly rule: RuleName;
  /** Also keep f16 copies of the parameters, for mixed precision. */
  readonly halfCopies?: boolean;
}

/**
 * Gradient descent over groups of parameters. Subclasses say what one update is. Hyperparameters and numbers
 * of updates lie on the device, nothing is read back, and every step is the same dispatches. Small parameters
 * are moved into one buffer, so that they are updated together: make the optimizer before anything that holds
 * on to their memory.
 */
export abstract class Optimizer<Options extends { lr: number }> {
  readonly groups: readonly Group<Options>[];
  protected readonly state: OptimizerState;

  protected constructor(
    name: string,
    parameters: Iterable<Tensor> | readonly ParameterGroup<Options>[],
    defaults: Options,
    { rule, halfCopies }: Method,
  ) {
    refuseWhileCapturing(name, 'make the optimizer outside of the compiled function, it keeps state from call to call');
    this.groups = asGroups(parameters).map(({ parameters: members, ...options }) => {
      const list = joinParameters([...new Set(members)]);
      const frozen = list.find((x) => !x.requiresGrad);
      if (list.length === 0) throw new Error(`${name}: a group has no parameters`);
      if (frozen)
        throw new Error(
          `${name}: a parameter of shape [${frozen.shape.join(', ')}] does not require a gradient; leave it out or set requiresGrad`,
        );
      const merged = { ...defaults, ...options } as Options;
      if (!(merged.lr >= 0)) throw new RangeError(`${name}: the learning rate must not be negative, got ${merged.lr}`);
      return { options: merged, parameters: list };
    });
    const all = this.parameters;
    if (new Set(all).size !== all.length) throw new Error(`${name}: a parameter is in two groups`);
    this.state = new OptimizerState(
      this.groups.map((group) => group.parameters),
      rule,
      { half: halfCopies },
    );
    this.sync();
  }

  /** A group's options as the rule's numbers. */
  protected abstract hyper(options: Options): number[];

  get parameters(): readonly Tensor[] {
    return this.groups.flatMap(({ parameters }) => parameters);
  }

  /** Updates every parameter that has a gradient. */
  step({ gradScale, maxNorm, skipNonFinite = false, scaler }: StepOptions = {}): void {
    if (maxNorm !== undefined && !(maxNorm > 0))
      throw new RangeError(`step: maxNorm must be above 0, got ${maxNorm}; leave it out to clip nothing`);
    this.sync();
    this.state.step({ gradScale, maxNorm, skipNonFinite, scaler });
  }

  /**
   * The last step's norm of all gradients together, unscaled and not yet clipped: a scalar on the device.
   * Only of steps with maxNorm, skipNonFinite or a scaler.
   */
  get gradNorm(): Tensor {
    return this.state.result.norm;
  }

  /** 1 if the last step changed nothing, since a gradient was infinite or NaN: a scalar on the device. */
  get skipped(): Tensor {
    return this.state.result.skipped;
  }

  /** Forgets the gradients and frees their memory. */
  zeroGrad(): void {
    for (const x of this.parameters) x.clearGrad();
  }

  /**
   * Learning rate of each group; schedules set it, outside of compiled functions. Reaches the device at once,
   * so that replayed steps see it.
   */
  set lr(value: number) {
    for (const { options } of this.groups) options.lr = value;
    this.sync();
  }

  get lr(): number {
    return this.groups[0]!.options.lr;
  }

  /** The state behind the parameters, for a checkpoint: the device's own tensors, not copies. */
  snapshot(): OptimizerSnapshot {
    return { groups: this.groups.map((_, i) => ({ steps: this.state.counts(i), tensors: this.state.tensors(i) })) };
  }

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

  /** Brings the options, which may have been changed, to the device. */
  private sync(): void {
    this.groups.forEach(({ options }, i) => this.state.setHyper(i, this.hyper(options)));
    this.state.writeHyper();
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
