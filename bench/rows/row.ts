import type * as autograd from '../../autograd/index.ts';
import type { Gpu } from '../../gpu/index.ts';
import type * as optim from '../../train/optim/index.ts';
import type { HostArrays } from './data.ts';
import type { Ops } from './ops.ts';

/**
 * Gradient descent, the same for every library: plain SGD, or Adam with betas 0.9 and 0.999 and epsilon 1e-8.
 */
export interface Training {
  readonly optimizer: 'sgd' | 'adam';
  readonly lr: number;
}

/** Tensors by name. */
export type Named<T> = Readonly<Record<string, T>>;

interface Title {
  readonly name: string;
  /** Which of several kernels. */
  readonly variant?: string;
  /** For people: 512x512x512. */
  readonly shape: string;
  readonly dtype: 'f32' | 'f16';
}

/** One line of the table that is measured for us and for peers. */
export interface Row extends Title {
  /** Estimated work of one run; for a training step, three times the forward's. */
  readonly flops: number;
  readonly bytes: number;
  /** Fed at every run. */
  readonly inputs: () => HostArrays;
  /** Stays on the device: a model's parameters. */
  readonly weights: () => HostArrays;
  readonly program: <T>(ops: Ops<T>, inputs: Named<T>, weights: Named<T>) => T;
  /** The program's result is a loss, and a run is a step of training. */
  readonly training?: Training;
  /**
   * To be run op by op in a library that would else trace and fuse it: what is measured is the cost of a
   * call.
   */
  readonly eager?: boolean;
  /** Elements of the result. */
  readonly size: number;
  /** Element i of the result in float64. Without it the library's own result is the reference. */
  readonly reference?: (inputs: HostArrays) => (i: number) => number;
  /** Largest accepted difference, relative to max(1, |expected|). */
  readonly tolerance: number;
  /** Measured twice, in two processes: must read about 1.0x. */
  readonly control?: boolean;
  /** Our own class to be measured instead of the program. */
  readonly model?: 'mlp' | 'gpt' | 'bert';
}

/** Makes rows of our own kernels; passed in, so that peers' processes do not load it. */
export interface Kit {
  readonly tf: typeof autograd;
  readonly optim: typeof optim;
  readonly gpu: Gpu;
}

/** A line for our own kernels only. Results are not compared: test/ does that. */
export interface OwnRow extends Title {
  /** Prepares a case and returns what is timed. Work as the dispatches state it, unless given. */
  readonly own: (kit: Kit) => () => unknown;
  readonly bytes?: number;
}

export type AnyRow = Row | OwnRow;

export const isOwn = (row: AnyRow): row is OwnRow => 'own' in row;
