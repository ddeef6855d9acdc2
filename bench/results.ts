import type { Cost } from '../gpu/index.ts';
import type { Outcome } from './measure.ts';
import { isOwn } from './rows/row.ts';
import type { AnyRow } from './rows/row.ts';
import type { Summary } from './sample.ts';

/** One of our modes on one row, as --json writes it. */
export interface Result {
  readonly name: string;
  readonly shape: string;
  readonly dtype: string;
  readonly variant: string;
  /** Milliseconds: the median of all samples, the least and the most; null where the run failed. */
  readonly ms: number | null;
  readonly min: number | null;
  readonly max: number | null;
  readonly gflops: number | null;
  readonly gbps: number | null;
  /**
   * Share of the ceiling it comes closest to, 0 to 1 (above 1 where the data fits the caches and the copy's
   * did not).
   */
  readonly ceiling: number | null;
  readonly bound: 'flops' | 'bytes' | null;
  readonly dispatches: number | null;
  /** Milliseconds of peers on WebGPU; null where one failed. */
  readonly peers: Readonly<Record<string, number | null>>;
  /** Milliseconds of libraries that use the processor without a driver. */
  readonly cpu: Readonly<Record<string, number | null>>;
  /** The fastest WebGPU peer's time over ours. */
  readonly ratio: number | null;
  /** The same of the least times: steadier where other work shares the machine. */
  readonly ratioOfMinima: number | null;
  /** The second process's time over the first's: how far figures of this run can be trusted. */
  readonly control: number | null;
  /** Why there are no figures, by runner. */
  readonly failures: Readonly<Record<string, string>>;
}

export interface Ceilings {
  readonly gflops: number;
  readonly gbps: number;
}

/** A measured row, before ceilings are known. */
export interface Measured {
  readonly row: AnyRow;
  readonly outcomes: readonly Outcome[];
}

const rates = (cost: Cost, ms: number): Ceilings => ({ gflops: cost.flops / ms / 1e6, gbps: cost.bytes / ms / 1e6 });

/** A row's own estimate where it has one, else what the kernels state. */
function costOf(row: AnyRow, outcome: Outcome): Cost {
  const stated = outcome.checked?.cost ?? { flops: 0, bytes: 0 };
  return isOwn(row) ? { flops: stated.flops, bytes: row.bytes ?? stated.bytes } : row;
}

/** The best matrix product and the best copy of a run. */
export function ceilingsOf(measured: readonly Measured[]): Ceilings {
  const best = (name: string, key: keyof Ceilings): number =>
    Math.max(
      0,
      ...measured
        .filter(({ row }) => row.name.startsWith(name))
        .flatMap(({ row, outcomes }) =>
          outcomes.flatMap((o) =>
            o.time && o.runner.kind === 'ours' ? [rates(costOf(row, o), o.time.median)[key]] : [],
          ),
        ),
    );
  return { gflops: best('matmul', 'gflops'), gbps: best('copy', 'gbps') };
}

/** A result for each of our modes that can do the row. */
export function resultsOf({ row, outcomes }: Measured, ceilings: Ceilings): Result[] {
  const times = (kind: string): Record<string, number | null> =>
    Object.fromEntries(
      outcomes
        .filter(({ runner }) => runner.kind === kind)
        .map(({ runner, time }) => [runner.name, time?.median ?? null]),
    );
  const peers = times('webgpu');
  const best = (key: 'median' | 'min'): number =>
    Math.min(...outcomes.flatMap(({ runner, time }) => (time && runner.kind === 'webgpu' ? [time[key]] : [])));
  const ratio = (time: Summary | undefined, key: 'median' | 'min'): number | null =>
    time && Number.isFinite(best(key)) ? best(key) / time[key] : null;
  const ours = outcomes.filter(({ runner, control }) => runner.kind === 'ours' && !control);
  const again = outcomes.find(({ control }) => control)?.time?.median;
  const failures = Object.fromEntries(
    outcomes.flatMap(({ runner, failure }) => (failure === undefined ? [] : [[runner.name, failure]])),
  );
  return ours.map((outcome, i) => {
    const { time, dispatches, runner } = outcome;
    const cost = costOf(row, outcome);
    const rate = time && rates(cost, time.median);
    const shares = rate && { flops: rate.gflops / ceilings.gflops, bytes: rate.gbps / ceilings.gbps };
    const bound = shares && (shares.flops > shares.bytes ? 'flops' : 'bytes');
    const share = shares && bound ? shares[bound] : null;
    return {
      name: row.name,
      shape: row.shape,
      dtype: row.dtype,
      variant: isOwn(row) ? (row.variant ?? '') : runner.name,
      ms: time?.median ?? null,
      min: time?.min ?? null,
      max: time?.max ?? null,
      gflops: rate?.gflops ?? null,
      gbps: rate?.gbps ?? null,
      ceiling: share !== null && Number.isFinite(share) ? share : null,
      bound: bound ?? null,
      dispatches: dispatches ?? null,
      peers,
      cpu: times('cpu'),
      ratio: ratio(time, 'median'),
      ratioOfMinima: ratio(time, 'min'),
      control: i === 0 && again !== undefined && time ? again / time.median : null,
      failures,
    };
  });
}
