import { timeDispatches, totalsByKernel } from '../../gpu/index.ts';
import type { Timing } from '../../gpu/timing.ts';
import { alignTable } from '../../common/text-table.ts';
import { ready } from '../runtime.ts';
import { ceilings } from './ceilings.ts';
import type { Ceilings } from './ceilings.ts';

/** The time that each kernel of a piece of work took. */
export interface Profile {
  /** Every dispatch in order, timed by the device. */
  readonly dispatches: readonly Timing[];
  readonly ceilings: Ceilings;
  /** By kernel, the most expensive first, as an aligned table. */
  toString(): string;
  /** The dispatches on a time line, in the JSON that chrome://tracing and Perfetto open. */
  chromeTrace(): string;
}

/**
 * Runs fn, compiled or not, with a timestamp before and after each of its dispatches (2048 at most). Returns
 * the time of each kernel, and its share of the best that the device can do. Call fn once before, because a
 * first call compiles its kernels.
 *
 *     console.log(`${await profile(() => step(x, y))}`);
 *
 * @example
 * const [a, b] = [rand(64, 64), rand(64, 64)];
 * const { dispatches } = await profile(() => matmul(a, b));
 * console.log(dispatches[0].name, dispatches[0].milliseconds);
 */
export async function profile(fn: () => unknown): Promise<Profile> {
  const gpu = await ready();
  const limits = await ceilings();
  await gpu.synchronize();
  const dispatches = await timeDispatches(gpu, fn);
  return {
    dispatches,
    ceilings: limits,
    toString: () => tableOf(dispatches, limits),
    chromeTrace: () => chromeTrace(dispatches, gpu.adapter.info.description),
  };
}

function tableOf(timings: readonly Timing[], limits: Ceilings): string {
  const total = timings.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const cells = totalsByKernel(timings).map(({ name, calls, milliseconds, flops, bytes }) => {
    const [flopRate, byteRate] = [flops / (milliseconds / 1000), bytes / (milliseconds / 1000)];
    const share = Math.max(flopRate / limits.flops, byteRate / limits.bandwidth);
    return [
      name,
      `${calls}`,
      milliseconds.toFixed(3),
      `${((100 * milliseconds) / total).toFixed(1)}%`,
      (flopRate / 1e9).toFixed(1),
      (byteRate / 1e9).toFixed(1),
      `${(100 * share).toFixed(0)}%`,
    ];
  });
  const header = ['kernel', 'calls', 'ms', 'share', 'GFLOP/s', 'GB/s', 'of ceiling'];
  const [flopRate, byteRate] = [limits.flops / 1e9, limits.bandwidth / 1e9].map((rate) => rate.toFixed(1));
  const best = `ceilings: ${flopRate} GFLOP/s (matmul), ${byteRate} GB/s (copy)`;
  const table = alignTable(header, cells, new Set([1, 2, 3, 4, 5, 6]));
  return `${table}\n${timings.length} dispatches, ${total.toFixed(3)} ms; ${best}`;
}

function chromeTrace(timings: readonly Timing[], device: string): string {
  const name = { name: 'thread_name', ph: 'M', pid: 1, tid: 1, args: { name: device } };
  const events = timings.map(({ name: kernel, start, milliseconds, flops, bytes }) => ({
    name: kernel,
    ph: 'X',
    pid: 1,
    tid: 1,
    ts: 1000 * start,
    dur: 1000 * milliseconds,
    args: { flops, bytes },
  }));
  return JSON.stringify({ displayTimeUnit: 'ms', traceEvents: [name, ...events] });
}
