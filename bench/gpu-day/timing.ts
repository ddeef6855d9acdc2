import { noGrad, ready, scope, synchronize } from '../../autograd/index.ts';
import { timeDispatches } from '../../gpu/index.ts';
import type { Cost } from '../../gpu/index.ts';
import { median } from '../../common/statistics.ts';
import { emit, sized } from './shared.ts';

export interface Timed {
  readonly ms: number;
  readonly min: number;
  readonly runs: number;
  /** Dispatches of one run, and the names of their kernels. */
  readonly dispatches: number;
  readonly kernels: string;
  /** Time stamps of the device, or a clock around many runs. */
  readonly by: 'timestamps' | 'clock';
}

/** Times fn on the device, compiled and warm: the median of as many runs as take about `seconds`. */
export async function time(fn: () => unknown, seconds = sized(0.15, 0.02)): Promise<Timed> {
  const gpu = await ready();
  const run = (): void => {
    using _ = scope();
    fn();
  };
  run();
  await synchronize();
  if (!gpu.device.features.has('timestamp-query')) return byClock(run, seconds);
  const sample = async (runs: number) =>
    timeDispatches(gpu, () => {
      for (let i = 0; i < runs; i++) run();
    });
  const first = await sample(2);
  const each = first.length / 2;
  if (each === 0) return byClock(run, seconds);
  const total = (timings: typeof first): number => timings.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const wanted = Math.ceil((1000 * seconds) / Math.max(total(first.slice(each)), 1e-3));
  const most = Math.min(200, Math.floor(2048 / each)); // of which all dispatches can be timed
  const runs = Math.max(1, Math.min(most, Math.max(sized(5, 3), wanted)));
  const timings = await sample(runs);
  const totals = Array.from({ length: runs }, (_, i) => total(timings.slice(i * each, (i + 1) * each)));
  const kernels = [...new Set(timings.slice(0, each).map(({ name }) => name))].join(' ');
  return { ms: median(totals), min: Math.min(...totals), runs, dispatches: each, kernels, by: 'timestamps' };
}

async function byClock(run: () => void, seconds: number): Promise<Timed> {
  const once = await clock(run, 2);
  const runs = Math.max(3, Math.min(500, Math.ceil((1000 * seconds) / once)));
  const times = [await clock(run, runs), await clock(run, runs), await clock(run, runs)];
  return { ms: median(times), min: Math.min(...times), runs: 3 * runs, dispatches: 0, kernels: '', by: 'clock' };
}

/** Milliseconds a run takes among `runs` in a row, until the device is done. */
export async function clock(run: () => void, runs: number): Promise<number> {
  const begun = performance.now();
  for (let i = 0; i < runs; i++) run();
  await synchronize();
  return (performance.now() - begun) / runs;
}

/** Times fn and writes the result, with rates where the work is known. */
export async function measure(key: string, type: string, work: Partial<Cost>, fn: () => unknown): Promise<void> {
  const timed = await time(fn);
  emit({ key, type, ...timed, ...rates(work, timed.ms) });
}

/** As `measure`, without gradients. */
export const measureForward = (key: string, type: string, work: Partial<Cost>, fn: () => unknown): Promise<void> =>
  measure(key, type, work, () => noGrad(fn));

/** TFLOP/s and GB/s of work that takes `ms` milliseconds. */
export const rates = ({ flops, bytes }: Partial<Cost>, ms: number) => ({
  ...(flops ? { tflops: flops / ms / 1e9 } : {}),
  ...(bytes ? { gbs: bytes / ms / 1e6 } : {}),
});
