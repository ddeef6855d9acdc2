import type { Cost } from '../gpu/index.ts';
import type { Round } from './sample.ts';

/** A request of the harness to a worker, one at a time. */
export type Request =
  | { readonly do: 'prepare'; readonly row: string }
  /** Runs `times` times; for a training step, reads the loss each time. */
  | { readonly do: 'check'; readonly times: number }
  | { readonly do: 'measure'; readonly round: Round }
  | { readonly do: 'profile' }
  | { readonly do: 'dispose' };

export interface Checked {
  /** Elements of the result at `sampleIndices(length)`, or the losses. */
  readonly values: readonly number[];
  readonly length: number;
  /** Pipelines made since the process began. */
  readonly pipelines: number;
  /** Work as our kernels state it, of the last run; undefined for others. */
  readonly cost?: Cost;
}

export interface Sampled {
  /** Milliseconds. */
  readonly samples: readonly number[];
  /** Dispatches of one run; 0 where the library has its own way to the device. */
  readonly dispatches: number;
}

export type Reply = { readonly value: unknown } | { readonly error: string };

/** At most about a thousand indices, spread evenly, with a step that is no multiple of usual widths. */
export function sampleIndices(length: number): number[] {
  const step = Math.max(1, Math.floor(length / 1000) | 1);
  return Array.from({ length: Math.ceil(length / step) }, (_, i) => i * step);
}
