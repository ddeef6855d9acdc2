import { memory, resetPeakMemory, synchronize } from '../../autograd/index.ts';
import type { Tensor } from '../../autograd/index.ts';
import { showBytes } from '../../common/memory.ts';
import type { Module } from '../../models/index.ts';
import type { TrainingStep } from './step.ts';

/** Bytes on the device while a model is trained, by what they are for. What was there before is left out. */
export interface StepMemory {
  /** The model's parameters, trained or not, packed ones as they are packed, and its buffers. */
  readonly weights: number;
  /** One number for each that is trained; with accumulation their sums besides. */
  readonly gradients: number;
  /** What the optimizer keeps: AdamW's two moments; averages; copies in half precision. */
  readonly moments: number;
  /** The rest of the most that a step had at once: what backward needs of forward, and room to work in. */
  readonly activations: number;
  /** All four: the most that a step had. */
  readonly total: number;
}

/** Steps that are looked at: the first is recorded, the others run as the rest will. */
const watched = 3;

const bytesOf = (tensors: Iterable<Tensor>): number =>
  [...new Set([...tensors].map(({ storage }) => storage))].reduce((sum, { bytes }) => sum + bytes, 0);

/** A model's bytes on the device. */
function weightBytes(model: Module): number {
  const packed = model.parameters().flatMap(({ quantized }) => {
    if (!quantized) return [];
    const { packed, scales, zeros, minimums } = quantized;
    return [packed, scales, zeros, minimums].filter((part) => part !== undefined);
  });
  return bytesOf([...model.parameters(), ...model.buffers(), ...packed]);
}

/** Measures the memory of the first steps of a training, by kind. */
export class MemoryWatch {
  readonly #model: Module;
  readonly #others: number;
  #steps = 0;
  #peak = 0;

  private constructor(model: Module, others: number) {
    this.#model = model;
    this.#others = others;
  }

  /** Before the first step is made: what is on the device besides the model is none of the training's. */
  static async of(model: Module): Promise<MemoryWatch> {
    await synchronize();
    return new MemoryWatch(model, memory().live - weightBytes(model));
  }

  /** Before each step, and behind it. */
  before(): void {
    if (this.#steps < watched) resetPeakMemory();
  }

  behind(): void {
    if (this.#steps++ < watched) this.#peak = Math.max(this.#peak, memory().peak);
  }

  /** Whether all steps that are looked at have run. */
  get isDone(): boolean {
    return this.#steps >= watched;
  }

  /** What was found; undefined before the first step. */
  report({ optimizer, sums }: Pick<TrainingStep, 'optimizer' | 'sums'>): StepMemory | undefined {
    if (this.#steps === 0) return undefined;
    const total = this.#peak - this.#others;
    const weights = weightBytes(this.#model);
    const size = optimizer.parameters.reduce((bytes, x) => bytes + 4 * x.size, 0);
    const gradients = size + bytesOf(sums);
    const moments = bytesOf(optimizer.snapshot().groups.flatMap(({ tensors }) => [...tensors]));
    return { weights, gradients, moments, activations: total - weights - gradients - moments, total };
  }
}

/**
 * The same in a line.
 *
 * @example
 * const memory = { weights: 1e6, gradients: 1e6, moments: 2e6, activations: 4e6, total: 8e6 };
 * console.log(describeMemory(memory));
 */
export const describeMemory = ({ total, ...kinds }: StepMemory): string =>
  `memory ${showBytes(total)} on the device: ` +
  Object.entries(kinds)
    .map(([kind, bytes]) => `${kind} ${showBytes(bytes)}`)
    .join(', ');
