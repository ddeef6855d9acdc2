import { acquire } from '../gpu/index.ts';
import type { Gpu, MemoryReport } from '../gpu/index.ts';

/**
 * The device behind the tape. Acquiring one is asynchronous and calling an op is not: until it is there, work waits in order.
 */
let gpu: Gpu | undefined;
let failure: unknown;
let starting: Promise<Gpu> | undefined;
let waiting: ((gpu: Gpu) => void)[] = [];

/** Runs work on the device, now if it is there, else as soon as it is, in the order of the calls. */
export function onDevice(work: (gpu: Gpu) => void): void {
  if (gpu) return work(gpu);
  if (failure !== undefined) throw failure;
  waiting.push(work);
  ready().catch(() => undefined); // thrown at the next op or read
}

/** The device, with all earlier work recorded on it. Rejects with the first failure of that work. */
export function ready(): Promise<Gpu> {
  starting ??= acquire().then(
    (acquired) => {
      gpu = acquired;
      try {
        for (let i = 0; i < waiting.length; i++) waiting[i]!(acquired);
      } catch (error) {
        failure = error;
        gpu = undefined;
        throw error;
      } finally {
        waiting = [];
      }
      return acquired;
    },
    (error: unknown) => {
      failure = error;
      throw error;
    },
  );
  return starting;
}

/** Memory of the tensors on the device; zeros before the first op has run. */
export function memory(): MemoryReport {
  return gpu?.memory() ?? { live: 0, peak: 0, reserved: 0, buffers: 0, byOp: {} };
}

/** Starts the measurement of `memory().peak` anew. */
export function resetPeakMemory(): void {
  gpu?.resetPeakMemory();
}

/** Resolves when everything computed so far has run on the device. */
export async function synchronize(): Promise<void> {
  await (await ready()).synchronize();
}
