import { scope, zeros } from '../../autograd/index.ts';
import { overwrite } from '../../autograd/create.ts';
import type { Tensor } from '../../autograd/index.ts';
import { updateHalfCopies } from '../../autograd/autocast.ts';
import { collectGradients } from '../../autograd/ops/collect.ts';
import { prepareStep } from '../../autograd/ops/prepare-step.ts';
import type { PrepareOptions } from '../../autograd/ops/prepare-step.ts';
import { checkPair, updatePackedParameters, updateParameters } from '../../autograd/ops/update.ts';
import { controlQuads, resultAt, slotsAt } from '../../kernels/multi-tensor/prepare.ts';
import { hyperSize } from '../../kernels/multi-tensor/rule.ts';
import type { UpdateRule } from '../../kernels/multi-tensor/rule.ts';
import { arrange, Bundle } from './chunks.ts';
import type { Chunk } from './chunks.ts';

/** What a step may be told, see `Optimizer.step`. */
export type DeviceStep = Pick<PrepareOptions, 'gradScale' | 'maxNorm' | 'skipNonFinite' | 'scaler' | 'keepScale'>;

/** Parameters with one set of hyperparameters. */
interface GroupState {
  readonly parameters: readonly Tensor[];
  readonly chunks: readonly Chunk[];
  /** Number of the group's first parameter. */
  readonly first: number;
}

/**
 * All that an optimizer keeps on the device. One small tensor, `control`, holds what changes from step to
 * step: hyperparameters (written by the host when they change), what the last step decided, numbers of
 * updates. The steps themselves are the same dispatches every time, so a recorded one can be replayed.
 */
export class OptimizerState {
  readonly parameters: readonly Tensor[];
  private readonly groups: readonly GroupState[];
  private readonly rule: UpdateRule;
  private readonly control: Tensor;
  private readonly hyper: Float32Array;
  private written: Float32Array | undefined;

  /** `half`: also keep f16 copies of the parameters up to date. */
  constructor(groups: readonly (readonly Tensor[])[], rule: UpdateRule, { half = false } = {}) {
    this.rule = rule;
    this.parameters = groups.flat();
    let first = 0;
    this.groups = groups.map((parameters) => {
      const group = { parameters, first, chunks: arrange(parameters, first, rule.state.length, half) };
      first += parameters.length;
      return group;
    });
    this.hyper = new Float32Array(hyperSize * groups.length);
    this.control = zeros([controlQuads(this.layout), 4]).keep();
  }

  private get layout() {
    return { groups: this.groups.length, parameters: this.parameters.length };
  }

  /** Sets a group's hyperparameters. They reach the device with `writeHyper`. */
  setHyper(group: number, values: Readonly<Record<string, number>>): void {
    this.rule.hyper.forEach((name, i) => (this.hyper[group * hyperSize + i] = values[name]!));
  }

  /** Writes the hyperparameters, if any changed, after the steps taken so far. */
  writeHyper(): void {
    if (this.written?.every((value, i) => Object.is(value, this.hyper[i]))) return;
    this.written = this.hyper.slice();
    overwrite(this.control, this.written);
  }

  /** Updates that each parameter of a group has had, f32: a view of the device's numbers. */
  counts(group: number): Tensor {
    const { first, parameters } = this.groups[group]!;
    const at = slotsAt(this.layout) + first;
    return this.control.slice([at, at + parameters.length], 0);
  }

  /**
   * What the last step found, views of the device's numbers: see `Optimizer.gradNorm` and
   * `Optimizer.skipped`.
   */
  get result(): { readonly norm: Tensor; readonly skipped: Tensor } {
    const at = resultAt(this.layout);
    return { norm: this.control.slice(at, 0), skipped: this.control.slice(at, 1) };
  }

  /**
   * What is remembered for the elements of a group's parameters, in an order that depends on the parameters
   * alone.
   */
  tensors(group: number): readonly Tensor[] {
    return this.groups[group]!.chunks.map(({ state }) => state);
  }

  /** One of the numbers remembered for each parameter's elements, as tensors of the parameters' shapes. */
  arraysOf(name: string): Map<Tensor, Tensor> {
    const index = this.rule.state.indexOf(name);
    const found = new Map<Tensor, Tensor>();
    for (const { parameters, starts, state } of this.groups.flatMap(({ chunks }) => chunks)) {
      parameters.forEach((x, i) => {
        const quads = state.slice([starts[i]!, starts[i]! + Math.ceil(x.size / 4)], [4 * index, 4 * index + 4]);
        found.set(
          x,
          quads
            .reshape([-1])
            .slice([0, x.size])
            .reshape([...x.shape]),
        );
      });
    }
    return found;
  }

  /** Updates the parameters that have a gradient, and their state, in place. */
  step({ gradScale, maxNorm, skipNonFinite, scaler, keepScale }: DeviceStep): void {
    using _ = scope();
    const { rule, layout, control } = this;
    for (const x of this.parameters) if (x.grad) checkPair(rule.name, x, x.grad);
    const places = this.#places();
    const sums = maxNorm !== undefined || skipNonFinite || scaler !== undefined;
    // Where no sums are taken, only what is copied needs to be looked at.
    const looked = this.parameters.filter((x) => x.grad && (sums || places.has(x)));
    const collected = collectGradients(
      looked.map((x) => x.grad!),
      { places: looked.map((x) => places.get(x)), sums },
    );
    prepareStep(control, {
      rule,
      layout,
      counts: this.groups.map(({ parameters }) => parameters.length),
      active: this.parameters.map((x) => x.grad !== undefined),
      collected,
      gradScale,
      maxNorm,
      skipNonFinite,
      scaler,
      keepScale,
    });
    this.groups.forEach(({ chunks }, group) => {
      for (const chunk of chunks) {
        const { parameters, starts, slots, state, copies } = chunk;
        const moved = parameters.flatMap((x, i) =>
          x.grad ? [{ x, g: x.grad, start: starts[i]!, slot: slots[i]! }] : [],
        );
        if (moved.length === 0) continue;
        const where = { rule, layout, group, control, state, copies };
        const update = (): void =>
          chunk instanceof Bundle
            ? updatePackedParameters(where, chunk, collected.tensor, places.get(parameters[0]!)!)
            : updateParameters(where, moved);
        if (copies) updateHalfCopies(copies, update);
        else update();
      }
    });
  }

  /** Where the gradients of small parameters are copied to, in quads: all bundles one after the other. */
  #places(): ReadonlyMap<Tensor, number> {
    const places = new Map<Tensor, number>();
    let begin = 0;
    for (const { chunks } of this.groups) {
      for (const bundle of chunks) {
        if (!(bundle instanceof Bundle)) continue;
        bundle.check(this.rule.name);
        bundle.parameters.forEach((x, i) => places.set(x, begin + bundle.starts[i]!));
        begin += bundle.quads;
      }
    }
    return places;
  }
}
