import {
  addAssign,
  assign,
  autocast,
  compile,
  concat,
  noGrad,
  reshape,
  scope,
  zeros,
  zerosLike,
} from '../../autograd/index.ts';
import type { Compiled, Tensor } from '../../autograd/index.ts';
import type { Module } from '../../models/index.ts';
import { AdamW, decayGroups, GradScaler } from '../optim/index.ts';
import { toDevice } from '../objectives/task.ts';
import type { DeviceBatch, HostBatch, TrainingTask } from '../objectives/task.ts';
import { addUp, weigh } from './replicas.ts';
import type { Replicas, Weighed } from './replicas.ts';
import type { TrainerOptions } from './settings.ts';

/** Batches may come in many lengths, each with a program of its own. */
const settings = { maxPrograms: 32, log: () => undefined };

/** Numbers of a step that are read back. */
export interface StepValues {
  /** Each part's mean over all its labels of the step. */
  readonly losses: Readonly<Record<string, number>>;
  /** The same of parts that are not trained on. */
  readonly measures: Readonly<Record<string, number>>;
  readonly gradNorm: number;
  readonly skipped: boolean;
  /** Loss scale of mixed precision. */
  readonly scale: number | undefined;
  /** Whether one of several processes has been asked to stop. */
  readonly stop?: boolean;
}

type Backward = Compiled<[batch: DeviceBatch, weights: Readonly<Record<string, Tensor>>], Tensor>;

/**
 * One optimizer step, compiled: forward, backward, clipping and AdamW as one list of dispatches for each
 * shape of batch. With accumulation each batch's gradients are added to sums that the step then uses; a
 * batch's part of the loss weighs as much as it has labels, so that the gradient is that of all batches as
 * one. Where several processes train together, each adds up the gradients of its share of the batches, and
 * the sums of all are added before the step.
 */
export class TrainingStep {
  readonly optimizer: AdamW;
  readonly scaler: GradScaler | undefined;
  private readonly task: TrainingTask;
  private readonly options: TrainerOptions;
  private readonly whole: Backward;
  private readonly first: Backward;
  private readonly more: Backward;
  /** The optimizer's step, by how many parameters have had gradients, which only become more. */
  private readonly updates = new Map<number, Compiled<[], Tensor>>();
  private readonly replicas: Replicas | undefined;
  /** Of gradients, where several batches are a step. */
  readonly sums: readonly Tensor[];
  /** Numbers of the parameters that have had a gradient. */
  readonly #used = new Set<number>();

  constructor(model: Module, task: TrainingTask, options: TrainerOptions, replicas?: Replicas) {
    const { learningRate: lr, betas, weightDecay, precision, ema, accumulate } = options;
    const mixed = precision === 'mixed';
    this.task = task;
    this.options = options;
    this.replicas = replicas;
    this.scaler = mixed ? new GradScaler() : undefined;
    const groups = decayGroups(model.namedParameters(), weightDecay);
    this.optimizer = new AdamW(groups, { lr, betas, ema, halfCopies: mixed });
    this.whole = compile((batch, weights) => concat([this.#backward(batch, weights), this.#update()]), {
      name: 'training step',
      ...settings,
    });
    const { parameters } = this.optimizer;
    this.sums = replicas
      ? replicas.sumsOf(parameters)
      : accumulate === 1
        ? []
        : parameters.map(({ shape }) => zeros([...shape]).keep());
    const adding = (add: (sum: Tensor, g: Tensor) => void, name: string, isFirst: boolean): Backward =>
      compile(
        (batch, weights) => {
          const losses = this.#backward(batch, weights);
          noGrad(() =>
            parameters.forEach(({ grad }, i) => {
              const sum = this.sums[i]!;
              if (grad) this.#used.add(i);
              if (grad) add(sum, grad);
              else if (isFirst) assign(sum, zerosLike(sum));
            }),
          );
          this.optimizer.zeroGrad();
          return losses;
        },
        { name, ...settings },
      );
    this.first = adding(assign, 'gradients of the first batch', true);
    this.more = adding(addAssign, 'gradients of another batch', false);
  }

  /** Starts a step over its batches on the device; what is returned reads its numbers back. */
  run(batches: readonly HostBatch[]): () => Promise<StepValues> {
    using _ = scope();
    this.#checkLabels(batches);
    const { replicas } = this;
    const parts = this.#partsOf(batches);
    const isWhole = batches.length === 1 && !replicas;
    const results = parts.map(({ batch, weights }, i) =>
      (isWhole ? this.whole : i === 0 ? this.first : this.more)(toDevice(batch), weights).keep(),
    );
    if (replicas) return () => this.#exchange(replicas, parts, results);
    if (!isWhole) results.push(this.#step());
    return async () => {
      const read = await readAll(results);
      const [{ weights }] = parts as [Weighed];
      return this.#values(lossesOf(parts, read), read.at(-1)!.slice(isWhole ? Object.keys(weights).length : 0));
    };
  }

  /** What this process does of a step's batches. */
  #partsOf(batches: readonly HostBatch[]): readonly Weighed[] {
    return this.replicas?.shareOf(this.task, batches) ?? weigh(batches);
  }

  /** The end of a step that other processes take part in. */
  async #exchange(replicas: Replicas, parts: readonly Weighed[], results: readonly Tensor[]): Promise<StepValues> {
    if (parts.length === 0) replicas.clear();
    const losses = lossesOf(parts, await readAll(results));
    const told = await replicas.exchange({ losses, used: [...this.#used] });
    told.used.forEach((i) => this.#used.add(i));
    const [numbers] = await readAll([this.#step()]);
    return { ...this.#values(told.losses, numbers!), stop: told.stop };
  }

  /** Updates the parameters by the sums of their gradients. */
  #step(): Tensor {
    let update = this.updates.get(this.#used.size);
    if (!update) {
      const { parameters } = this.optimizer;
      update = compile(
        () => {
          for (const i of this.#used) parameters[i]!.grad = this.sums[i]!;
          return this.#update();
        },
        { name: 'optimizer step', ...settings },
      );
      this.updates.set(this.#used.size, update);
    }
    return update().keep();
  }

  #values(losses: ReadonlyMap<string, number>, numbers: readonly number[]): StepValues {
    const [gradNorm, skipped, scale] = numbers;
    const [measures, trained] = [true, false].map((watched) =>
      Object.fromEntries([...losses].filter(([name]) => this.#isWatched(name) === watched)),
    );
    return { losses: trained!, measures: measures!, gradNorm: gradNorm!, skipped: skipped !== 0, scale };
  }

  /**
   * Forward and backward of a step's batches without an update, as it would be run op by op, to look for what
   * made a NaN.
   */
  replay(batches: readonly HostBatch[]): void {
    using _ = scope();
    for (const { batch, weights } of this.#partsOf(batches)) this.#backward(toDevice(batch), weights);
    this.optimizer.zeroGrad();
  }

  /**
   * The gradients of a step's batches by the parameters' names, before clipping: computed op by op beside the
   * step, with the random numbers that come next. The update is left to the step.
   */
  async gradients(model: Module, batches: readonly HostBatch[]): Promise<Map<string, Float32Array>> {
    for (const { batch, weights } of weigh(batches)) {
      using _ = scope();
      this.#backward(toDevice(batch), weights);
    }
    const scale = this.scaler ? await this.scaler.current.item() : 1;
    const found = new Map<string, Float32Array>();
    for (const [name, { grad }] of model.namedParameters())
      if (grad)
        found.set(
          name,
          Float32Array.from(await grad.data(), (x) => Number(x) / scale),
        );
    this.optimizer.zeroGrad();
    return found;
  }

  #isWatched(name: string): boolean {
    return this.task.measures?.includes(name) ?? false;
  }

  /** The mean over no labels is no number. */
  #checkLabels(batches: readonly HostBatch[]): void {
    for (const { counts } of batches) {
      const empty = Object.keys(counts).find((name) => !(counts[name]! > 0));
      if (empty !== undefined)
        throw new Error(
          `${this.task.name}: a batch has no label of "${empty}", hence no mean loss; ` +
            'give it more rows, or longer ones',
        );
    }
  }

  /** Leaves gradients of the weighed sum of all parts; returns the parts' means [P]. */
  #backward(batch: DeviceBatch, weights: Readonly<Record<string, Tensor | number>>): Tensor {
    const { scaler, task } = this;
    const losses = scaler ? autocast(() => task.losses(batch)) : task.losses(batch);
    const names = Object.keys(weights);
    const trained = names.filter((name) => !this.#isWatched(name));
    const total = trained.map((name) => partOf(losses, name, task).mul(weights[name]!)).reduce((a, b) => a.add(b));
    (scaler ? scaler.scale(total) : total).backward();
    return concat(names.map((name) => reshape(partOf(losses, name, task).detach(), [1])));
  }

  /** Returns [norm, whether skipped, scale]. */
  #update(): Tensor {
    const { optimizer, scaler } = this;
    const { maxGradNorm } = this.options;
    optimizer.step({ scaler, maxNorm: maxGradNorm > 0 ? maxGradNorm : undefined, skipNonFinite: 'onwards' });
    optimizer.zeroGrad();
    const values = [optimizer.gradNorm, optimizer.skipped, ...(scaler ? [scaler.current] : [])];
    return noGrad(() => concat(values.map((x) => reshape(x, [1]))));
  }
}

function partOf(losses: Readonly<Record<string, Tensor>>, name: string, task: TrainingTask): Tensor {
  const loss = losses[name];
  if (!loss)
    throw new Error(
      `${task.name}: batches count labels of "${name}", and the losses are ${Object.keys(losses).join(', ')}; ` +
        'name both alike',
    );
  return loss;
}

async function readAll(tensors: readonly Tensor[]): Promise<number[][]> {
  const read = await Promise.all(tensors.map((x) => x.data()));
  for (const x of tensors) x.storage.free();
  return read.map((values) => Array.from(values, Number));
}

/**
 * The losses of a step: of each part's means, which are read in the order of its weights, their weighed sum.
 */
function lossesOf(parts: readonly Weighed[], read: readonly (readonly number[])[]): Map<string, number> {
  return addUp(
    parts.flatMap(({ weights }, i) =>
      Object.entries(weights).map(([name, weight], k) => [name, read[i]![k]! * weight] as const),
    ),
  );
}
