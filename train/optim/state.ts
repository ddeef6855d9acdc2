import { noGrad, scope, tensor, zeros } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { keepHalfCopy, updateHalfCopies } from '../../autograd/autocast.ts';
import { overwrite } from '../../autograd/create.ts';
import { packedQuads, packing } from '../../kernels/multi-tensor/collect.ts';
import { controlQuads, hyperSize, resultAt, slotsAt } from '../../kernels/multi-tensor/update.ts';
import type { UpdateRule } from '../../kernels/multi-tensor/update.ts';
import { checkPair, collectGradients, prepareStep, updatePackedParameters, updateParameters } from './step.ts';
import type { PrepareOptions } from './step.ts';

/** Options of a step, see `Optimizer.step`. */
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
   * The numbers that the last step found: views of the device's numbers: see `Optimizer.gradNorm` and
   * `Optimizer.skipped`.
   */
  get result(): { readonly norm: Tensor; readonly skipped: Tensor } {
    const at = resultAt(this.layout);
    return { norm: this.control.slice(at, 0), skipped: this.control.slice(at, 1) };
  }

  /**
   * Moments of the elements of a group's parameters, in an order that depends on the parameters
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
    // Read once: the gradient of parameters that lie side by side is put together when it is asked for.
    const grads = new Map<Tensor, Tensor>();
    for (const x of this.parameters) {
      const { grad } = x;
      if (!grad) continue;
      checkPair(rule.name, x, grad);
      grads.set(x, grad);
    }
    const places = this.#places();
    const sums = maxNorm !== undefined || Boolean(skipNonFinite) || scaler !== undefined;
    // Where no sums are taken, only what is copied needs to be looked at.
    const looked = [...grads.keys()].filter((x) => sums || places.has(x));
    const collected = collectGradients(
      looked.map((x) => grads.get(x)!),
      { places: looked.map((x) => places.get(x)), sums },
    );
    prepareStep(control, {
      rule,
      layout,
      counts: this.groups.map(({ parameters }) => parameters.length),
      active: this.parameters.map((x) => grads.has(x)),
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
        const moved = parameters.flatMap((x, i) => {
          const g = grads.get(x);
          return g ? [{ x, g, start: starts[i]!, slot: slots[i]! }] : [];
        });
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

// Parameters that are updated together

/**
 * Parameters up to this many elements (biases, norms, small models' weights) move into one buffer: copying
 * their gradients costs next to nothing.
 */
const smallSize = 2 ** 14;
/**
 * Parameters of one chunk, as many as one dispatch takes where 16 buffers can be bound: 2 each, beside
 * control, state and f16 copies.
 */
const pairs = (half: boolean): number => (half ? 6 : 7);
/** Bytes of one chunk's state: the smallest limit of a binding. */
const chunkBytes = 128 * 2 ** 20;

/** Parameters whose state lies in one tensor and that are updated together. */
class Chunk {
  readonly parameters: readonly Tensor[];
  /** The parameters' numbers in their optimizer. */
  readonly slots: readonly number[];
  /** Where each parameter's elements begin in the state, in quads of one of its arrays. */
  readonly starts: readonly number[];
  /** Quads of one array. */
  readonly quads: number;
  /** [quads, 4 arrays]: a quad of each array, alternately. */
  readonly state: Tensor;
  /** f16 copies [quads, 4] of the parameters. */
  readonly copies: Tensor | undefined;

  constructor(members: readonly Member[], arrays: number, half: boolean) {
    this.parameters = members.map(({ x }) => x);
    this.slots = members.map(({ slot }) => slot);
    let total = 0;
    this.starts = this.parameters.map(({ size }) => (total += packedQuads(size)) - packedQuads(size));
    this.quads = total;
    this.state = zeros([total, 4 * arrays]).keep();
    this.copies = half ? zeros([total, 4], { dtype: 'f16' }).keep() : undefined;
  }

  /** Fills the f16 copies, and lets `autocast` use them. Parameters must not move after this. */
  offerCopies(): this {
    const { copies } = this;
    if (copies) this.parameters.forEach((x, i) => keepHalfCopy(x, copies, 4 * this.starts[i]!));
    return this;
  }
}

/** Small parameters, moved into one buffer so that they take one binding together. */
class Bundle extends Chunk {
  /** [quads, 4]: the parameters, each from a multiple of 64 quads on, with zeros behind it. */
  readonly packed: Tensor;
  /** i32 [quads / 64]: the number of the parameter that the quads belong to. */
  readonly owners: Tensor;

  constructor(members: readonly Member[], arrays: number, half: boolean) {
    super(members, arrays, half);
    const { parameters, starts, slots } = this;
    this.packed = noGrad(() => collectGradients(parameters, { places: starts, sums: false })).tensor.keep();
    parameters.forEach((x, i) => x.moveInto(this.packed, 4 * starts[i]!));
    const owners = parameters.flatMap(({ size }, i) => new Array<number>(packedQuads(size) / packing).fill(slots[i]!));
    this.owners = tensor(owners, { dtype: 'i32' }).keep();
  }

  override offerCopies(): this {
    if (this.copies) keepHalfCopy(this.packed, this.copies, 0);
    return this;
  }

  /** Another optimizer made later moves the parameters into its own buffer. */
  check(name: string): void {
    if (this.parameters.some(({ storage }) => storage !== this.packed.storage))
      throw new Error(`${name}: a parameter was taken over by an optimizer made later; step that one`);
  }
}

interface Member {
  readonly x: Tensor;
  readonly slot: number;
}

/**
 * Cuts a group of parameters into what is updated together; they are numbered from `first` on. Depends on
 * their shapes alone.
 */
function arrange(parameters: readonly Tensor[], first: number, arrays: number, half: boolean): readonly Chunk[] {
  const members = parameters.map((x, i) => ({ x, slot: first + i }));
  const isSmall = ({ x }: Member): boolean => x.size > 0 && x.size <= smallSize;
  const small = members.filter(isSmall);
  const bundled = small.length > 1 ? small : [];
  const rest = members.filter((member) => !bundled.includes(member));
  return [
    ...runs(bundled, Infinity, arrays).map((run) => new Bundle(run, arrays, half)),
    ...runs(rest, pairs(half), arrays).map((run) => new Chunk(run, arrays, half)),
  ].map((chunk) => chunk.offerCopies());
}

/** Cuts a list after `most` members or `chunkBytes` of state. */
function runs(members: readonly Member[], most: number, arrays: number): Member[][] {
  const found: Member[][] = [];
  let used = Infinity;
  for (const member of members) {
    const bytes = 16 * arrays * packedQuads(member.x.size);
    if (used + bytes > chunkBytes || found.at(-1)!.length === most) {
      found.push([]);
      used = 0;
    }
    found.at(-1)!.push(member);
    used += bytes;
  }
  return found;
}
