import { toHalf } from '../common/half.ts';
import { Random } from '../common/random.ts';
import { median } from '../common/statistics.ts';
import type { Gpu } from '../gpu/device.ts';
import { timeDispatches } from '../gpu/timing.ts';
import type { Dtype } from './kernel.ts';

export interface TunedPlan {
  readonly name: string;
  /** Median time of the whole work, measured by the device. */
  readonly milliseconds: number;
}

/** Work of which there are several plans. */
export interface Tunable {
  /** The class of work that shares a plan. */
  readonly work: string;
  /** Times its plans, the fastest first. Throws where the device has no timestamps. */
  time(gpu: Gpu): Promise<TunedPlan[]>;
}

export interface TuneOptions {
  /** Told of each class of work when its plans were timed. */
  readonly report?: (work: string, plans: readonly TunedPlan[]) => void;
  /** Begins no further class after so long; the one at work ends. */
  readonly minutes?: number;
}

/**
 * Adds the fastest plan of each class of work that has none yet to the device's choices. Returns the path of
 * the file that keeps them; undefined where nothing was new.
 */
export async function tune(
  gpu: Gpu,
  all: readonly Tunable[],
  { report, minutes = Infinity }: TuneOptions = {},
): Promise<string | undefined> {
  const end = performance.now() + 60_000 * minutes;
  const found = new Map<string, string>();
  for (const { work, time } of all) {
    if (found.has(work) || gpu.target.choices.has(work)) continue;
    if (performance.now() > end) break;
    const plans = await time(gpu);
    found.set(work, plans[0]!.name);
    report?.(work, plans);
  }
  return found.size > 0 ? gpu.choose(found) : undefined;
}

const repeats = 5;
/** A plan whose first run takes this many times as long as the best so far is not run again. */
export const hopeless = 2;

/** Milliseconds of what `run` dispatches, the median of several runs after one that compiles. */
export async function medianTime(gpu: Gpu, run: () => void, best: number): Promise<number> {
  const time = async (): Promise<number> =>
    (await timeDispatches(gpu, run)).reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  await time();
  const runs = [await time()];
  while (runs.length < repeats && runs[0]! < hopeless * best) runs.push(await time());
  return median(runs);
}

/** Random numbers from -1 to 1, whose products draw the power of real ones; any bits without a type. */
export function noise(bytes: number, dtype?: Dtype): Uint8Array {
  const random = new Random(0);
  const length = Math.max(16, Math.ceil(bytes / 16) * 16);
  const block = 2 ** 12;
  const draw = (): number => 2 * random.uniform() - 1;
  const numbers =
    dtype === undefined
      ? Uint32Array.from({ length: block }, () => random.int(2 ** 32))
      : dtype === 'f16'
        ? Uint16Array.from({ length: block }, () => toHalf(draw()))
        : Float32Array.from({ length: block }, draw);
  const pattern = new Uint8Array(numbers.buffer);
  const made = new Uint8Array(length);
  for (let at = 0; at < length; at += pattern.length) made.set(pattern.subarray(0, length - at), at);
  return made;
}
