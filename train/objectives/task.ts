import { tensor } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';

/** Numbers of a batch as they are on the host: i32 for tokens and labels, f32 for weights. */
export interface HostArray {
  readonly data: Int32Array | Float32Array;
  readonly shape: readonly number[];
}

/** One batch on the host, before it is sent to the device. */
export interface HostBatch<Name extends string = string> {
  readonly arrays: Readonly<Record<Name, HostArray>>;
  /**
   * For each part of the loss, the number of labels that its mean is over: what batches are weighed by when
   * they are put together.
   */
  readonly counts: Readonly<Record<string, number>>;
  /** Tokens that the model reads, padding left out. */
  readonly tokens: number;
  /** Numbers about the batch that logs and curves show: `{ reward: 0.4 }`. */
  readonly measures?: Readonly<Record<string, number>>;
}

/** A batch's arrays on the device, by the same names. */
export type DeviceBatch<Name extends string = string> = Readonly<Record<Name, Tensor>>;

/** How a batch is cut into examples that do not depend on one another. */
export interface ExampleLayout {
  /**
   * For each part of the loss, an array of as many elements other than -100 as its mean is over, or so many
   * times that for each example: `{ lm: 'labels' }`.
   */
  readonly labels: Readonly<Record<string, string>>;
  /** Rows of each array that are one example, one after another; default 1. */
  readonly together?: number;
  /**
   * Sets of rows, one below another, that the first array has: 2 where better answers stand above worse ones.
   */
  readonly sets?: number;
}

/**
 * A task to train on: batches by number, and the loss of one. A batch is a pure function of the task's seed
 * and the batch's number, random corruption included, and of the model's weights where it `followsModel`. So
 * one number tells where a run stands in its data, and other batches can be made ahead of time.
 */
export interface TrainingTask {
  /** "masked-lm", as reports show it. */
  readonly name: string;
  /** Quantity and unit of the loss, as its curve names them; default "cross-entropy, nats". */
  readonly lossLabel?: string;
  /** Batch `index`, from 0 up without end. */
  batch(index: number): HostBatch | Promise<HostBatch>;
  /**
   * The mean loss of each part (a scalar each), under the names that `counts` has. Runs inside a compiled
   * function: tensors in, tensors out, nothing read.
   */
  losses(batch: DeviceBatch): Readonly<Record<string, Tensor>>;
  /** The model makes its batches, of texts that it writes: each is made when the step before is over. */
  readonly followsModel?: boolean;
  /**
   * How a batch is cut for several processes; absent where the loss of an example depends on the others of
   * its batch, so that only whole batches are shared out.
   */
  readonly examples?: ExampleLayout;
  /** Parts among those of `losses` that are measures of the step, and not trained on. */
  readonly measures?: readonly string[];
  /** Batches that make one pass over the data. */
  readonly batchesPerEpoch: number;
}

/**
 * Sends a batch to the device.
 *
 * @example
 * const arrays = { x: { data: Float32Array.of(1, 2), shape: [2] } };
 * const { x } = toDevice({ arrays, counts: { loss: 2 }, tokens: 2 });
 * x; // [1, 2]
 */
export function toDevice<Name extends string>({ arrays }: HostBatch<Name>): DeviceBatch<Name> {
  const sent = Object.entries<HostArray>(arrays).map(
    ([name, { data, shape }]) => [name, tensor(data, { shape: [...shape] })] as const,
  );
  return Object.fromEntries(sent) as DeviceBatch<Name>;
}
