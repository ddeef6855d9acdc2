import { graphicsRoom, machineRoom } from '../common/memory.ts';
import type { Room } from '../common/memory.ts';
import { acquire, init as openDevice } from '../gpu/index.ts';
import type { Gpu, InitOptions, MemoryReport } from '../gpu/index.ts';
import { prepareCollector } from '../common/collector.ts';

/**
 * The device that ops run on. To acquire it is asynchronous, to call an op is not: until the device is there,
 * work waits in order.
 */
let gpu: Gpu | undefined;
/** The same device, also during a pause. */
let known: Gpu | undefined;
let failure: unknown;
let starting: Promise<Gpu> | undefined;
let waiting: ((gpu: Gpu) => void)[] = [];
/** Whether work is dropped; see `withoutDevice`. */
let absent = false;

/**
 * Runs work on the device, now or as soon as the device is there, in the order of the calls. What it throws
 * now is thrown to the caller; what it throws later goes to `failed`, so that it stays with the tensors that
 * it belongs to.
 */
export function onDevice(work: (gpu: Gpu) => void, failed: (error: unknown) => void): void {
  if (absent) return;
  if (gpu) return work(gpu);
  if (failure !== undefined) throw failure;
  waiting.push((acquired) => {
    try {
      work(acquired);
    } catch (error) {
      failed(error);
    }
  });
  if (!starting) ready().catch(nothing); // thrown at the next op or read
}

/**
 * Calls `start` after the work recorded so far, and lets later work wait, in order, until its promise
 * resolves: for kernels that are compiled side by side. What it rejects with goes to `failed`.
 */
export function pauseFor(start: (gpu: Gpu) => Promise<unknown>, failed: (error: unknown) => void): void {
  onDevice((acquired) => {
    gpu = undefined;
    starting = start(acquired)
      .catch(failed)
      .then(() => resume(acquired));
  }, failed);
}

/**
 * Runs fn, which must be synchronous, without a device: tensors have shapes and no memory, and ops compute
 * nothing (as on PyTorch's device "meta"). For programs that are lowered for another device than this one; to
 * read or use such a tensor outside is an error of the caller's.
 */
export function withoutDevice<T>(fn: () => T): T {
  const before = absent;
  absent = true;
  try {
    return fn();
  } finally {
    absent = before;
  }
}

/** Whether work runs at once: false while the device is being acquired, or paused. */
export function isRunning(): boolean {
  return gpu !== undefined;
}

/**
 * The device, with all earlier work recorded on it. Rejects where there is none.
 *
 * @example
 * const { target } = await ready();
 * console.log(target.kind, target.f16);
 */
export function ready(): Promise<Gpu> {
  starting ??= open().then(resume, fail);
  return starting;
}

async function open(): Promise<Gpu> {
  const [acquired] = await Promise.all([acquire(), prepareCollector()]);
  return acquired;
}

/**
 * Opens the device, once, before the first tensor is made. A program needs it only for options, and to learn
 * here and not at its first read-back that there is no device: ops called before wait for it in order.
 */
export async function init(options: InitOptions = {}): Promise<void> {
  await openDevice(options);
  await ready();
}

function fail(error: unknown): never {
  failure = error;
  throw error;
}

const nothing = (): void => undefined;

/** Runs the work that has waited. Where it pauses, the rest goes on waiting. */
function resume(acquired: Gpu): Gpu | Promise<Gpu> {
  gpu = known = acquired;
  while (gpu && waiting.length > 0) {
    const batch = waiting;
    waiting = [];
    for (let i = 0; i < batch.length; i++) {
      const work = batch[i]!;
      batch[i] = nothing; // whose tensors may then be collected
      work(acquired);
      if (gpu) continue;
      waiting = [...batch.slice(i + 1), ...waiting];
      break;
    }
  }
  return gpu ?? starting!;
}

/** Name of the device's adapter; `webgpu` while it is not known yet. */
export function deviceName(): string {
  if (!known) return 'webgpu';
  const { device, description, vendor } = known.adapter.info;
  return device || description || vendor || 'webgpu';
}

/** The memory that tensors have, at most: before the device is known, that of any that may be there. */
export function tensorRoom(): Room {
  return !absent && known && known.target.kind !== 'discrete' ? machineRoom : graphicsRoom;
}

/**
 * Memory of the tensors on the device; zeros before the first op has run.
 *
 * @example
 * const x = zeros(1000, 1000);
 * await x.data();
 * memory().live >= 4e6; // true
 */
export function memory(): MemoryReport {
  return known?.memory() ?? { live: 0, peak: 0, reserved: 0, buffers: 0, byOp: {} };
}

/**
 * Gives memory that no tensor uses back to the driver, as torch.cuda.empty_cache does: for other programs on
 * the device. Tensors need not call it; memory is also given back where there is no other.
 *
 * @example
 * emptyCache();
 */
export function emptyCache(): void {
  known?.emptyCache();
}

/**
 * Starts the measurement of `memory().peak` anew.
 *
 * @example
 * resetPeakMemory();
 * await rand(1000, 1000).sum().item();
 * console.log(memory().peak);
 */
export function resetPeakMemory(): void {
  known?.resetPeakMemory();
}

/**
 * Resolves when everything computed so far has run on the device.
 *
 * @example
 * const start = performance.now();
 * matmul(rand(64, 64), rand(64, 64));
 * await synchronize();
 * console.log(performance.now() - start);
 */
export async function synchronize(): Promise<void> {
  await (await ready()).synchronize();
}
