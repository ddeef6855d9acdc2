import { addAssign, assign, autocast, compile, concat, noGrad, reshape, scope, zeros } from '../../autograd/index.ts';
import type { Compiled, Tensor } from '../../autograd/index.ts';
import type { Module } from '../../models/index.ts';
import { AdamW, decayGroups, GradScaler } from '../optim/index.ts';
import { toDevice } from '../objectives/task.ts';
import type { DeviceBatch, HostBatch, TrainingTask } from '../objectives/task.ts';
import type { TrainerOptions } from './settings.ts';

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
}

type Weights = Readonly<Record<string, number>>;
type Backward = Compiled<[batch: DeviceBatch, weights: Readonly<Record<string, Tensor>>], Tensor>;

/**
 * One optimizer step, compiled: forward, backward, clipping and AdamW as one list of dispatches for each
 * shape of batch. With accumulation each batch's gradients are added to sums that the step then uses; a
 * batch's part of the loss weighs as much as it has labels, so that the gradient is that of all batches as
 * one.
 */
export class TrainingStep {
  readonly optimizer: AdamW;
  readonly scaler: GradScaler | undefined;
  private readonly task: TrainingTask;
  private readonly options: TrainerOptions;
  private readonly whole: Backward;
  private readonly first: Backward;
  private readonly more: Backward;
  private readonly update: Compiled<[], Tensor>;
  /** Of gradients, where several batches are a step. */
  readonly sums: readonly Tensor[];

  constructor(model: Module, task: TrainingTask, options: TrainerOptions) {
    const { learningRate: lr, betas, weightDecay, precision, ema, accumulate } = options;
    const mixed = precision === 'mixed';
    this.task = task;
    this.options = options;
    this.scaler = mixed ? new GradScaler() : undefined;
    const groups = decayGroups(model.namedParameters(), weightDecay);
    this.optimizer = new AdamW(groups, { lr, betas, ema, halfCopies: mixed });
    // Batches may come in many lengths, each with a program of its own.
    const settings = { maxPrograms: 32, log: () => undefined };
    this.whole = compile((batch, weights) => concat([this.#backward(batch, weights), this.#update()]), {
      name: 'training step',
      ...settings,
    });
    const { parameters } = this.optimizer;
    this.sums = accumulate === 1 ? [] : parameters.map(({ shape }) => zeros([...shape]).keep());
    const adding = (add: (sum: Tensor, g: Tensor) => void, name: string): Backward =>
      compile(
        (batch, weights) => {
          const losses = this.#backward(batch, weights);
          noGrad(() => parameters.forEach((x, i) => x.grad && add(this.sums[i]!, x.grad)));
          this.optimizer.zeroGrad();
          return losses;
        },
        { name, ...settings },
      );
    this.first = adding(assign, 'gradients of the first batch');
    this.more = adding(addAssign, 'gradients of another batch');
    this.update = compile(
      () => {
        parameters.forEach((x, i) => (x.grad = this.sums[i]!));
        return this.#update();
      },
      { name: 'optimizer step', ...settings },
    );
  }

  /** Starts a step over its batches on the device; what is returned reads its numbers back. */
  run(batches: readonly HostBatch[]): () => Promise<StepValues> {
    using _ = scope();
    this.#checkLabels(batches);
    const weights = weigh(batches);
    const names = Object.keys(weights[0]!);
    const results =
      batches.length === 1
        ? [this.whole(toDevice(batches[0]!), weights[0]!).keep()]
        : batches.map((batch, i) => (i === 0 ? this.first : this.more)(toDevice(batch), weights[i]!).keep());
    if (batches.length > 1) results.push(this.update().keep());
    return async () => {
      const read = (await Promise.all(results.map((x) => x.data()))).map((x) => Array.from(x, Number));
      for (const x of results) x.storage.free();
      const [gradNorm, skipped, scale] = read.at(-1)!.slice(batches.length === 1 ? names.length : 0);
      const losses = names.map((name, k) => {
        const parts = read.slice(0, batches.length).map((values, i) => values[k]! * weights[i]![name]!);
        return [name, parts.reduce((a, b) => a + b, 0)] as const;
      });
      const [measures, trained] = [true, false].map((watched) =>
        Object.fromEntries(losses.filter(([name]) => this.#isWatched(name) === watched)),
      );
      return { losses: trained!, measures: measures!, gradNorm: gradNorm!, skipped: skipped !== 0, scale };
    };
  }

  /**
   * Forward and backward of a step's batches without an update, as it would be run op by op, to look for what
   * made a NaN.
   */
  replay(batches: readonly HostBatch[]): void {
    using _ = scope();
    const weights = weigh(batches);
    batches.forEach((batch, i) => this.#backward(toDevice(batch), weights[i]!));
    this.optimizer.zeroGrad();
  }

  /**
   * The gradients of a step's batches by the parameters' names, before clipping: computed op by op beside the
   * step, with the random numbers that come next. The update is left to the step.
   */
  async gradients(model: Module, batches: readonly HostBatch[]): Promise<Map<string, Float32Array>> {
    const weights = weigh(batches);
    for (const [i, batch] of batches.entries()) {
      using _ = scope();
      this.#backward(toDevice(batch), weights[i]!);
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

/** The share of each batch in each part of the loss: its labels among those of all batches. */
function weigh(batches: readonly HostBatch[]): Weights[] {
  const names = Object.keys(batches[0]!.counts);
  const total = (name: string): number => batches.reduce((sum, { counts }) => sum + (counts[name] ?? 0), 0);
  const totals = new Map(names.map((name) => [name, total(name)]));
  return batches.map(({ counts }) =>
    Object.fromEntries(names.map((name) => [name, (counts[name] ?? 0) / Math.max(1, totals.get(name)!)])),
  );
}
